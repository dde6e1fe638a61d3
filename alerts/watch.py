"""Watching news.spikes: without Prometheus, this is where alerts begin."""

import logging
import threading
import time

from alerts.evidence import PATIENCE
from alerts.gateway import Gateway
from alerts.metrics import Metrics
from alerts.outbox import OutboxError
from bus.errors import Fenced, LogFull, LogUnreachable, MessageError
from bus.log import Consumer, Entry, Log, Record
from bus.messages import DeadLetter, SpikeEvent, decode, encode, utcnow
from bus.topics import DEAD, SPIKES

logger = logging.getLogger(__name__)

GROUP = "alerts"

BATCH = 5
"""Events whose offsets are committed together: few, since each may wait for its stories."""

POLL_SECONDS = 0.5
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two attempts while log or outbox cannot be used: doubling, and within the group's session time."""


def watch_spikes(log: Log, gateway: Gateway, metrics: Metrics, stop: threading.Event) -> None:
    """Accept every event of news.spikes until ``stop`` is set: stored in the outbox first, its offset committed then.

    Raises:
        LogError: the log is corrupt, or the topic was deleted.
    """
    with log.consumer(GROUP, [SPIKES]) as consumer:
        pause = 0.0
        while not stop.wait(pause):
            try:
                _step(consumer, gateway, metrics)
            except Fenced:  # another process has the partition now, and recognises what is in the outbox they share
                continue
            except (OutboxError, LogUnreachable, LogFull) as error:
                if not pause:
                    logger.error("%s; the spikes wait on the log", error)
                pause = min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            else:
                pause = 0.0


def _step(consumer: Consumer, gateway: Gateway, metrics: Metrics) -> None:
    entries = consumer.poll(BATCH, POLL_SECONDS)
    if entries:
        with consumer.transaction() as transaction:
            dead = [letter for entry in entries if (letter := _accept(entry, gateway))]
            transaction.publish(dead)
        metrics.dead_letters.labels(GROUP).inc(len(dead))
    metrics.lag.labels(GROUP, SPIKES).set(sum(consumer.lag().values()))


def _accept(entry: Entry, gateway: Gateway) -> Record | None:
    """Hand one event to the gateway; a dead letter when it is none."""
    try:
        event = decode(entry.value, SpikeEvent)
    except MessageError as error:
        logger.error("%s offset %d: %s; put aside in %s", entry.topic, entry.offset, error, DEAD)
        letter = DeadLetter(
            stage=GROUP,
            error=str(error),
            value=entry.value,
            at=utcnow(),
            topic=entry.topic,
            partition=entry.partition,
            offset=entry.offset,
        )
        return Record(DEAD, entry.key, encode(letter))
    # The archive reads the same log: what is long on it need not be waited for.
    gateway.spike(event, patience=max(0.0, PATIENCE - (time.time() - entry.timestamp)))
    return None
