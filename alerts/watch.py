"""Watching news.spikes: without Prometheus, this is where alerts begin."""

import threading
import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from alerts.evidence import PATIENCE
from alerts.gateway import Gateway
from alerts.outbox import OutboxError
from bus.errors import MessageError
from bus.log import Entry, Log, Record
from bus.messages import SpikeEvent, decode
from bus.stage import Stage, dead_letter, run_stage
from bus.topics import SPIKES

GROUP = "alerts"

BATCH = 5
"""Events whose offsets are committed together: few, since each may wait for its stories."""


class SpikeWatch(Stage):
    """Hands every spike event to the gateway, which stores it in the outbox before its offset is committed.

    Another process that takes the partition over recognises what is in the outbox they share.
    """

    name = GROUP
    topics = (SPIKES,)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        dead = []
        for entry in entries:
            try:
                event = decode(entry.value, SpikeEvent)
            except MessageError as error:
                dead.append(dead_letter(GROUP, entry, error))
                continue
            # The archive reads the same log: what is long on it need not be waited for.
            self._gateway.spike(event, patience=max(0.0, PATIENCE - (time.time() - entry.timestamp)))
        return dead

    def passes(self, error: Exception) -> bool:
        return isinstance(error, OutboxError)


def watch_spikes(log: Log, gateway: Gateway, stop: threading.Event, registry: CollectorRegistry) -> None:
    """Accept every event of news.spikes until ``stop`` is set.

    Raises:
        LogError: the log is corrupt, or the topic was deleted.
    """
    run_stage(log, SpikeWatch(gateway), batch=BATCH, stop=stop, registry=registry)
