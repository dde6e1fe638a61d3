"""What waits on disk while the log takes nothing: by the time it is back, feeds have moved on.

One file for each batch, named by its turn. It is deleted when the log has its records; a crash in between publishes it
again, and what has been published once is recognised.
"""

import fcntl
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bus.errors import ConfigError
from bus.files import PARTIAL, write_whole
from bus.log import Record

ENDING = ".batch"
UNREADABLE = ".unreadable"

_logger = logging.getLogger(__name__)


class _Kept(Struct, array_like=True):
    """A record in a file."""

    topic: str
    key: str
    value: bytes


class Spool:
    """Batches of records in a folder, first in, first out, up to so many bytes. Safe to share between threads.

    Args:
        folder: of one ingest process alone; created when missing.
        limit: bytes of its files at most.

    Raises:
        ConfigError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._owner = (folder / "owner").open("w")
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"spool {folder}: another ingest process uses it; give each a folder of its own"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"spool {folder}: cannot be used: {error.strerror}; set spool, or spool_mb = 0"
            ) from error
        for rest in folder.glob(f"*{PARTIAL}"):  # a crash came before its batch was promised to anybody
            rest.unlink()
        self._sizes = {file: file.stat().st_size for file in sorted(folder.glob(f"*{ENDING}"))}
        self._next = 1 + max((int(file.stem) for file in self._sizes), default=0)
        self.keys = {record.key for file in list(self._sizes) for record in self._read(file)}
        """Keys of the records that wait."""

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        with self._lock:
            return sum(self._sizes.values())

    def close(self) -> None:
        """Let another process have the folder."""
        self._owner.close()

    def put(self, records: Sequence[Record]) -> bool:
        """Keep a batch; False where it does not fit, or the disk takes nothing more. When it returns it is durable."""
        content = msgspec.json.encode([_Kept(*record) for record in records])
        with self._lock:
            if self.bytes + len(content) > self._limit:
                return False
            file = self._folder / f"{self._next:012d}{ENDING}"
            try:
                write_whole(file, content)
            except OSError as error:
                _logger.error("spool %s: cannot be written: %s", self._folder, error)
                return False
            self._next += 1
            self._sizes[file] = len(content)
            self.keys.update(record.key for record in records)
            return True

    def oldest(self) -> tuple[Path, list[Record]] | None:
        """The batch whose turn it is; None when nothing waits. It stays until :meth:`drop`."""
        with self._lock:
            for file in list(self._sizes):
                if records := self._read(file):
                    return file, records
        return None

    def drop(self, file: Path, records: Sequence[Record]) -> None:
        """Forget a batch that the log has taken."""
        with self._lock:
            file.unlink(missing_ok=True)
            self._sizes.pop(file, None)
            self.keys.difference_update(record.key for record in records)

    def _read(self, file: Path) -> list[Record]:
        """The records of a file. One that is damaged is put aside, so that it holds up no other."""
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=list[_Kept])
            return [Record(each.topic, each.key, each.value) for each in kept]
        except (OSError, msgspec.DecodeError) as error:
            aside = file.with_suffix(UNREADABLE)
            _logger.error(
                "%s: not a batch of records (%s); kept as %s for a person to look at", file, error, aside.name
            )
            file.replace(aside)
            self._sizes.pop(file, None)
            return []
