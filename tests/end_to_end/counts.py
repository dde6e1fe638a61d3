"""What stands on the log, counted: the same arithmetic for every end-to-end test."""

from collections import Counter

from bus.log import Log
from bus.messages import Tally, TrendState, decode
from bus.topics import ARTICLES, TALLIES, TRENDS


def caught_up(log: Log) -> bool:
    """Whether worker and trends have done all that is there."""
    return log.lag("worker", ARTICLES) == 0 and log.lag("trends", TALLIES) == 0


def tallied(log: Log) -> Counter[str]:
    """By series, the articles that all tallies together hold."""
    found: Counter[str] = Counter()
    for entry in log.read_all(TALLIES):
        tally = decode(entry.value, Tally)
        found[tally.series] += sum(counts.total for minute in tally.minutes for counts in minute.counts.values())
    return found


def states(log: Log) -> dict[str, TrendState]:
    """By series, the newest state."""
    found: dict[str, TrendState] = {}
    for number in range(log.partitions(TRENDS)):
        found |= {key: decode(entry.value, TrendState) for key, entry in log.latest(TRENDS, number).items()}
    return found


def totals(found: dict[str, TrendState]) -> dict[str, int]:
    """By series, the articles that the states hold."""
    return {name: sum(counts.total for counts in state.totals.values()) for name, state in found.items()}
