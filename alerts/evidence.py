"""What stands behind a spike: its distinct stories from the archive, and links to look further."""

import logging
import threading
import time
from dataclasses import dataclass

from alerts.archive.store import Store
from alerts.links import Links
from alerts.stories import Story, group
from bus.errors import ArchiveError
from bus.messages import SpikeEvent

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after a spike's event within which the archive should have its articles; it lags by one at most as a rule."""

PAUSE = 0.1
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A spike's event with what stands behind it."""

    event: SpikeEvent
    stories: list[Story]
    page: str
    """Link to the spike on the page."""
    series: str
    """Link to the series on the page, at the spike's time."""
    dashboard: str
    """Link to Grafana at the same series and time; empty where there is no Grafana."""


def gather(
    store: Store, event: SpikeEvent, links: Links, *, patience: float = PATIENCE, stop: threading.Event
) -> Evidence:
    """The evidence for an event, as far as the archive has it.

    Waits for articles that the archive does not have yet, ``patience`` seconds at most; then, or without a database,
    it goes on with what is there: an alert without its stories is better than none.
    """
    wanted = list(dict.fromkeys(event.articles))
    deadline = time.monotonic() + patience
    found = []
    try:
        found = store.read.articles(wanted)
        while len(found) < len(wanted) and time.monotonic() < deadline and not stop.wait(PAUSE):
            found = store.read.articles(wanted)
    except ArchiveError as error:
        logger.error("spike %s is told without its stories: %s", event.id, error)
    end = event.closed_at or event.at
    return Evidence(
        event,
        group(found),
        page=links.spike(event.id),
        series=links.series(event.series, event.opened_at, end),
        dashboard=links.dashboard(event.series, event.opened_at, end),
    )


def wait_for_spike(
    store: Store, series: str, is_open: bool, *, patience: float = PATIENCE, stop: threading.Event
) -> SpikeEvent | None:
    """The spike of a series that opened last, waited for while the archive has none that is open, or closed, as wanted.

    After ``patience`` seconds it is whatever spike is the last one; None when there is none, or no database.
    """
    deadline = time.monotonic() + patience
    try:
        while True:
            spike = store.read.latest_spike(series)
            if spike and (spike.state != "closed") == is_open:
                return spike
            if time.monotonic() >= deadline or stop.wait(PAUSE):
                return spike
    except ArchiveError as error:
        logger.error("an alert about %s is told without its spike: %s", series, error)
        return None
