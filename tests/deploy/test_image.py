"""The image: its Dockerfile, what it copies, and the scripts in it."""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from alerts.archive import tables
from tests.dashboards import postgres_server
from tests.services.ports import free_port, missing

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HEALTHCHECK = ROOT / "deploy" / "healthcheck.py"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    assert hadolint.is_file(), "pip install 'squall[test]' brings it"
    done = subprocess.run([hadolint, DOCKERFILE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_bases_are_pinned_and_one_version() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-\w+", bases.pop())


def test_it_does_not_run_as_root() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)


def test_every_package_is_copied_and_none_is_kept_from_the_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources == packages | {"pyproject.toml", "README.md", "LICENSE", "deploy/healthcheck.py"}

    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == sources


def test_what_is_copied_exists() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source


def test_the_installed_package_has_every_file_that_the_checkout_has(tmp_path: Path) -> None:
    if find_spec("setuptools") is None:
        missing("no setuptools: pip install 'squall[test]' brings it")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    for room in rooms:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path)
    wanted = {
        str(file.relative_to(tmp_path)) for room in rooms for file in (tmp_path / room).rglob("*") if file.is_file()
    }

    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", "wheel"]
    build = [sys.executable, "-m", "pip", "wheel", ".", *options]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "wheel").glob("squall-*.whl")
    with ZipFile(wheel) as archive:
        assert not wanted - set(archive.namelist())


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"EXTRAS\S*?[=:] ?\"?([\w,]+)", DOCKERFILE.read_text()):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A role that answers every request with a status; gives its port."""

    class Role(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Role)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def healthy(port: int) -> bool:
    done = subprocess.run([sys.executable, HEALTHCHECK, str(port)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode == 0


def test_the_health_check_follows_the_roles_answer() -> None:
    with answering(200) as port:
        assert healthy(port)
    with answering(503) as port:
        assert not healthy(port)
    assert not healthy(free_port())


def test_the_reader_of_the_database_may_read_what_the_archive_makes_later_and_write_nothing() -> None:
    psql = shutil.which("psql") or missing("no psql: install Debian's package postgresql-client")
    with postgres_server.serving() as url:
        port = url.rpartition(":")[2].partition("/")[0]
        who = {"POSTGRES_USER": "squall", "POSTGRES_DB": "postgres", "READER_PASSWORD": "it's $ecret"}
        where = {"PGHOST": "127.0.0.1", "PGPORT": port, "PATH": f"{Path(psql).parent}:{os.environ['PATH']}"}
        subprocess.run(["sh", ROOT / "deploy/postgres/10-reader.sh"], env=who | where, check=True, capture_output=True)

        archive = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        tables.metadata.create_all(archive)
        archive.dispose()

        reader = create_engine(
            url.replace("postgresql://squall", "postgresql+psycopg://squall_reader"), isolation_level="AUTOCOMMIT"
        )
        with reader.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM articles")).scalar() == 0
        for statement in ("DELETE FROM spikes", "DROP TABLE labels", "CREATE TABLE mine (n int)"):
            with reader.connect() as connection, pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                connection.exec_driver_sql("SET default_transaction_read_only = off")
                connection.exec_driver_sql(statement)
        reader.dispose()
