"""Connections to the archive's database, and its errors in the archive's own words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from bus.errors import ArchiveError

BUSY_SECONDS = 30.0
"""How long a writer on SQLite waits for its turn; a batch takes milliseconds, a chunk of pruning some tens."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection: the role retries, and the page says that it waits."""

SILENCE_MS = 20_000
"""How long PostgreSQL may leave a packet unacknowledged (TCP_USER_TIMEOUT) before its connection counts as dead."""

WRITERS = 7_355_608
"""Key of the advisory lock that lets one PostgreSQL transaction at a time write counts; any own number will do."""


class Refused(ArchiveError):
    """Raised when the database works but cannot hold these values; trying them again would not help."""


def make_engine(url: str) -> Engine:
    """The engine for a SQLAlchemy URL. Nothing is connected yet.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.

    Raises:
        ArchiveError: the URL cannot be read, or is of another database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ArchiveError("archive: not a URL; expected sqlite:///FILE or postgresql://USER@HOST/DATABASE") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database:
        return _sqlite(parsed, Path(parsed.database))
    if kind == "postgresql":
        return _postgresql(parsed)
    raise ArchiveError(f"archive: expected sqlite:///FILE or postgresql://USER@HOST/DATABASE, got {shown(parsed)}")


def shown(url: URL) -> str:
    """The URL as people may see it: without its password."""
    return url.render_as_string(hide_password=True)


def _sqlite(url: URL, file: Path) -> Engine:
    file = file.absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"archive {file}: {error.strerror}; create the folder or set another archive") from error
    engine = create_engine(url.set(database=str(file)), connect_args={"timeout": BUSY_SECONDS})

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where `writing` says so, not where sqlite3 guesses
        connection.execute("PRAGMA journal_mode = WAL")
        # The log's offsets are committed after the archive's rows: a power cut must not undo the rows alone.
        connection.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "connect", connected)
    return engine


def _postgresql(url: URL) -> Engine:
    options = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENCE_MS, "application_name": "squall"}
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=options)
    except (ImportError, NoSuchModuleError) as error:
        raise ArchiveError(f"archive {shown(url)}: PostgreSQL needs 'pip install squall[postgres]'") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read from; each statement sees what is committed when it starts."""
    with _translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction, the only writing one in the whole database, rolled back when the block raises."""
    with _translated(engine), engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
        yield connection


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, OverflowError, UnicodeError) as error:
        raise _error(engine, error) from error
    except SQLAlchemyError as error:  # the pool's own, as a time-out
        raise ArchiveError(f"archive {shown(engine.url)}: {error}") from error


def _error(engine: Engine, error: Exception) -> ArchiveError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = " ".join(str(cause).split())
    where = f"archive {shown(engine.url)}: {text}"
    if "not a database" in text or "malformed" in text:
        return ArchiveError(f"{where}; restore it from a backup, or move it away to start with an empty archive")
    if "disk is full" in text:
        return ArchiveError(f"{where}; free space and it goes on")
    if "locked" in text:
        return ArchiveError(f"{where} for {BUSY_SECONDS:g} s; does another program hold it open?")
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return Refused(where)
    return ArchiveError(f"{where}; is the database running, with the address and rights that 'archive' states?")
