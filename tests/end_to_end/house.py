"""Real processes of Squall for tests: roles on a log in a temporary folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from squall.settings import METRICS_OFFSET
from tests.services.ports import free_port

ROOT = Path(__file__).parents[2]


class House:
    """Runs squall commands with one set of settings; leaving the block ends them all.

    The page and the metrics get free ports; what a role prints goes to ``<role>.log`` in the folder.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.page_port, self.metrics_port = free_port(), free_port()
        if self.metrics_port > 65_000:
            self.metrics_port -= 1_000
        own = {"home": folder, "log": "sqlite:log.db", "archive": "sqlite:///archive.db", "outbox": "outbox.db"}
        own |= {"page_port": self.page_port, "metrics_port": self.metrics_port}
        self.settings = own | settings
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def ports(self) -> dict[str, int]:
        """Where each role serves its metrics."""
        return {name: self.metrics_port + offset for name, offset in METRICS_OFFSET.items()} | {
            "alerts": self.page_port
        }

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Start a command."""
        options = [f"--set={name}={value}" for name, value in self.settings.items()]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SQUALL_")}
        with (self.folder / f"{command[0]}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "squall", *options, *command],
                cwd=ROOT,
                env=clean | dict(environment or {}),
                stdout=output,
                stderr=output,
            )
        self._running.append(process)
        return process

    def run(self, *command: str, seconds: float = 300.0) -> None:
        """Run a command to its end; it must succeed."""
        process = self.start(*command)
        assert process.wait(seconds) == 0, self.said(command[0])

    def said(self, name: str) -> str:
        """What a command printed so far."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """kill -9."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._running.remove(process)

    def __enter__(self) -> "House":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
