"""The dead letters on ``news.dead``: which there are, and which a person has dealt with."""

from typing import NamedTuple

from bus.errors import ConfigError, MessageError
from bus.log import Entry, Log, Record
from bus.messages import DeadLetter, Settled, decode, encode, utcnow
from bus.topics import DEAD


class Filed(NamedTuple):
    """A dead letter as it stands on the log."""

    number: int
    """Its offset: by it a person names the letter."""
    key: str
    """The original key."""
    letter: DeadLetter | str
    """Or why it cannot be read."""
    settled: str
    """``requeued`` or ``dropped``; empty while nobody has dealt with it."""


def letters(log: Log) -> list[Filed]:
    """All dead letters that the log still holds, oldest first."""
    entries: list[Entry] = []
    settled: dict[int, str] = {}
    for entry in log.read(DEAD, 0):
        try:
            note = decode(entry.value, Settled)
            settled[note.settles] = note.how
        except MessageError:
            entries.append(entry)
    return [Filed(entry.offset, entry.key, _read(entry), settled.get(entry.offset, "")) for entry in entries]


def _read(entry: Entry) -> DeadLetter | str:
    try:
        return decode(entry.value, DeadLetter)
    except MessageError as error:
        return f"unreadable: {error}"


def letter(log: Log, number: int) -> Filed:
    """One dead letter. Raises ConfigError where there is none of that number."""
    for filed in letters(log):
        if filed.number == number:
            return filed
    raise ConfigError(f"no dead letter {number}; 'squall dead list' shows them")


def requeue(log: Log, number: int, value: bytes | None = None) -> str:
    """Write a letter's bytes, or mended ones, to its topic again; returns the topic.

    The record and the note that the letter is settled appear together or not at all.

    Raises:
        ConfigError: no such letter, one that cannot be read or never stood on a topic, one that holds a part of its
            bytes and no mended ones were given.
    """
    filed = letter(log, number)
    if isinstance(filed.letter, str):
        raise ConfigError(f"dead letter {number}: {filed.letter}; 'squall dead drop {number}' takes it off the list")
    original = filed.letter
    if not original.topic:
        raise ConfigError(
            f"dead letter {number} was never on a topic; push or replay it again from {original.origin},"
            f" and 'squall dead drop {number}'"
        )
    if value is None and original.length > len(original.value):
        raise ConfigError(
            f"dead letter {number} holds the first {len(original.value)} of {original.length} bytes; the record may"
            f" still stand at {original.topic}[{original.partition}]@{original.offset}: mend it and give --value FILE"
        )
    again = Record(original.topic, filed.key, original.value if value is None else value)
    log.publish([again, _note(filed, "requeued")])
    return original.topic


def drop(log: Log, number: int) -> None:
    """Note that nobody needs a letter any more; its bytes stay on the log until they are too old.

    Raises:
        ConfigError: no such letter.
    """
    log.publish([_note(letter(log, number), "dropped")])


def _note(filed: Filed, how: str) -> Record:
    return Record(DEAD, filed.key, encode(Settled(settles=filed.number, how=how, at=utcnow())))
