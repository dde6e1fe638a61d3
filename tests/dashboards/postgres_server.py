"""A real PostgreSQL on a free loopback port."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import answers, free_port, missing, wait_until


def _program(name: str) -> str:
    """Where a program of PostgreSQL is; Debian keeps the servers' out of PATH."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    return found or missing(f"no {name}: install Debian's package postgresql")


def _other_user() -> str | None:
    """Whom to run it as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


@contextmanager
def serving() -> Iterator[str]:
    """Run an empty PostgreSQL; gives a URL for SQLAlchemy."""
    initdb, postgres, user = _program("initdb"), _program("postgres"), _other_user()
    folder = Path(tempfile.mkdtemp(prefix="squall-postgres-"))  # pytest's own folders are closed to other users
    try:
        if user:
            shutil.chown(folder, user)
        data, port = folder / "data", free_port()
        options = ["-D", str(data), "-U", "squall", "--auth=trust", "--no-sync"]
        subprocess.run([initdb, *options], user=user, cwd="/", check=True, capture_output=True)
        command = [postgres, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        process = subprocess.Popen(command, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: answers(port), 20, f"PostgreSQL on port {port}")
            yield f"postgresql://squall@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # "fast": SIGTERM would wait for connections that a failed test left
            process.wait()
    finally:
        shutil.rmtree(folder)
