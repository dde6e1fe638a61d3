"""The supervisor: starts again what dies, ends everything, leaves no orphan."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import squall.supervisor
from squall.supervisor import Supervisor
from tests.services.ports import wait_until

OPTIONS = ["--set=log=sqlite:log.db", "--set=metrics_port=0"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Supervisor, threading.Event]]:
    options = [f"--set=home={tmp_path}", *OPTIONS]
    supervisor = Supervisor({name: [*options, name] for name in ("ingest", "trends")})
    stop = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    thread.start()
    wait_until(lambda: len(supervisor.pids()) == 2, 10, "two roles to start")
    yield supervisor, stop
    stop.set()
    thread.join(12)
    assert not thread.is_alive()


def test_a_role_that_is_killed_is_started_again(
    running: tuple[Supervisor, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squall.supervisor, "FIRST_BACKOFF", 0.1)
    supervisor, _ = running
    first = supervisor.pids()["trends"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.pids().get("trends") not in (None, first), 15, "trends to be started again")


def test_stopping_ends_every_process_in_time(running: tuple[Supervisor, threading.Event]) -> None:
    supervisor, stop = running
    pids = list(supervisor.pids().values())
    time.sleep(1.0)
    started = time.monotonic()
    stop.set()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 10, "the roles to end")
    assert time.monotonic() - started < 10


def test_roles_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    environment = os.environ | {"SQUALL_METRICS_PORT": "0", "SQUALL_PAGE_PORT": "0", "SQUALL_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "squall", "up"]
    up = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent = psutil.Process(up.pid)
    wait_until(lambda: len(parent.children()) == 5, 20, "five roles to start")
    children = parent.children()
    time.sleep(1.0)
    up.kill()
    up.wait()
    _, left = psutil.wait_procs(children, timeout=15)
    # An ended process stays as a zombie until init, which is now its parent, collects it.
    alive = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    for process in alive:
        process.kill()
    assert not alive
