"""Free ports, waiting for services, and what to do when one is missing."""

import os
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds; AssertionError names it when it does not in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def missing(what: str) -> NoReturn:
    """Skip the test for want of a service; under CI=true fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {what}", pytrace=False)
    pytest.skip(what)
