"""The supervisor of ``squall up``: one process for each role, started again when it dies, ended in order.

Shutdown: every role gets SIGTERM at the same time, since none needs another one to stop; each finishes the transaction
at hand. What has not ended after :data:`STOP_SECONDS` is killed, which costs nothing either: uncommitted work is done
again at the next start. Should the supervisor itself be killed, the kernel sends its roles SIGTERM
(``PR_SET_PDEATHSIG``), so that no orphan is left.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""How long a role may take to stop."""

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0
"""Seconds before a role that died is started again: doubling."""

STEADY_SECONDS = 60.0
"""A role that has run for so long starts over with the first backoff."""

_PR_SET_PDEATHSIG = 1  # prctl(2)


def _die_with_parent() -> None:
    """Runs in the new process before the role does."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere an orphan must be stopped by hand
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class _Child:
    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = FIRST_BACKOFF
    due: float = 0.0


class Supervisor:
    """Keeps the processes of ``commands`` running until told to stop.

    Args:
        commands: for each name, the arguments after ``squall``.
    """

    def __init__(self, commands: dict[str, Sequence[str]]) -> None:
        self._children = [_Child(name, arguments) for name, arguments in commands.items()]

    def run(self, stop: threading.Event) -> None:
        """Start all, start again what dies, and end all when ``stop`` is set."""
        try:
            while not stop.is_set():
                for child in self._children:
                    self._look_after(child)
                stop.wait(0.2)
        finally:
            self._end()

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            if now - child.started > STEADY_SECONDS:
                child.backoff = FIRST_BACKOFF
            child.process, child.due = None, now + child.backoff
            logger.error("%s ended with status %d; starting it again in %g s", child.name, code, child.backoff)
            child.backoff = min(child.backoff * 2, LONGEST_BACKOFF)
        if now >= child.due:
            child.started = now
            child.process = subprocess.Popen(
                [sys.executable, "-m", "squall", *child.arguments],
                env={"SQUALL_LOG_LEVEL": "WARNING"} | os.environ,  # one terminal for all: what is well is not said
                # A Ctrl-C of the terminal goes to this process alone, which then ends the roles.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _end(self) -> None:
        running = [child for child in self._children if child.process is not None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("%s did not stop within %g s: killed", child.name, STOP_SECONDS)
                child.process.kill()
                child.process.wait()

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}
