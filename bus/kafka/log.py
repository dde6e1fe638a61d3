"""The Kafka log itself: topics, publishing, reading."""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from bus.errors import LogError
from bus.kafka.client import REQUEST_MS, UNKNOWN, TransactionalProducer, entry_of, translated
from bus.kafka.consumer import KafkaLogConsumer
from bus.log import Change, Entry, Log, Record, partition_change
from bus.topics import TopicSpec

METADATA_SECONDS = 30.0
"""How long a topic's number of partitions is remembered; partitions are added rarely, and by people."""

DEFAULTS: dict[str, Any] = {
    "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
    "request_timeout_ms": REQUEST_MS,
    "reconnect_backoff_max_ms": 1_000,
}
"""Where kafka-python's own (30 s each of the last two) would make a broker's death or return felt for half a minute."""

SESSION_SECONDS = 10.0
"""After so long without a heartbeat a member's partitions go to others: what a take-over after kill -9 costs."""

POLL_SECONDS = 300.0
"""After so long between two polls a member that still sends heartbeats counts as stuck; bounds a batch's time."""

READ_SECONDS = 20.0
"""How long a read waits for a broker, or behind an open transaction: longer than TRANSACTION_MS."""

COMPACT_SEGMENT_MS = 600_000
COMPACT_SEGMENT_BYTES = 64 * 2**20
"""When a compacted topic's segment is closed. The open one is never compacted, and with Kafka's defaults (a week, 1 GB)
a restart would read all of that."""

COORDINATOR_SECONDS = 15.0
"""How long a group's coordinator may take to come up on a new broker."""


class KafkaLog(Log):
    """A log on Kafka brokers.

    Args:
        servers: ``HOST:PORT`` of one broker or more.
        options: passed to kafka-python as they are (``security_protocol``, ``ssl_cafile``, ``sasl_mechanism``, ...).
        session_seconds: see SESSION_SECONDS; brokers refuse less than 6 by default.
        poll_seconds: see POLL_SECONDS; at least ``session_seconds``.
        member: a name that this process keeps over restarts and shares with no other: within the session a restart then
            moves no partitions (static membership, KIP-345). Without it a member that leaves is replaced at once.

    Raises:
        LogUnreachable: no broker answers.
    """

    commit_markers = 1

    def __init__(
        self,
        servers: Sequence[str],
        options: dict[str, Any],
        session_seconds: float = SESSION_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        member: str = "",
    ) -> None:
        self._member = member
        self._servers = list(servers)
        self._options = DEFAULTS | options
        self._timing = {
            "session_timeout_ms": int(session_seconds * 1000),
            "heartbeat_interval_ms": int(session_seconds * 1000 / 4),
            "max_poll_interval_ms": int(poll_seconds * 1000),
        }
        self._lock = threading.RLock()
        self._known: dict[str, tuple[float, int]] = {}
        with translated(self._servers, "connecting"):
            self._admin = KafkaAdminClient(bootstrap_servers=self._servers, **self._options)
        self._producer = self._new_producer("squall-publish")
        self._reader: KafkaConsumer | None = None

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        with self._lock, translated(self._servers, "creating topics"):
            existing = set(self._admin.list_topics())
            missing = {topic.name: _options(topic) for topic in topics if topic.name not in existing}
            if not missing:
                return
            try:
                self._admin.create_topics(missing, wait_for_metadata=True)
            except kafka_errors.TopicAlreadyExistsError:  # another role was faster
                self._admin.wait_for_topics(list(missing))

    def changes(self, topics: Iterable[TopicSpec]) -> list[Change]:
        found: list[Change] = []
        with self._lock, translated(self._servers, "looking at the topics"):
            existing = set(self._admin.list_topics())
            for topic in topics:
                if topic.name not in existing:
                    found.append(Change(topic.name, "topic", "missing", f"{topic.partitions} partitions"))
                    continue
                if partitions := partition_change(topic, self._look_up(topic.name), addable=True):
                    found.append(partitions)
                wanted: dict[str, str] = _options(topic)["configs"]
                resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, dict.fromkeys(wanted))
                now = self._admin.describe_configs([resource], config_filter="all")["topic"][topic.name]
                found += [
                    Change(topic.name, name, now[name]["value"], value)
                    for name, value in wanted.items()
                    if now[name]["value"] != value
                ]
        return found

    def apply(self, topics: Iterable[TopicSpec]) -> None:
        specs = {topic.name: topic for topic in topics}
        self.create_topics(specs.values())
        possible = [change for change in self.changes(specs.values()) if not change.obstacle]
        settings: dict[str, dict[str, str]] = {}
        with self._lock, translated(self._servers, "changing the topics"):
            for change in possible:
                if change.setting == "partitions":
                    self._admin.create_partitions({change.topic: int(change.wanted)})
                    self._known.pop(change.topic, None)
                else:
                    settings.setdefault(change.topic, {})[change.setting] = change.wanted
            resources = [ConfigResource(ConfigResourceType.TOPIC, name, values) for name, values in settings.items()]
            answers = self._admin.alter_configs(resources)["topic"] if resources else {}
        refused = [f"{name}: {answer}" for name, answer in answers.items() if answer != "OK"]
        if refused:
            raise LogError(f"kafka:{','.join(self._servers)}: settings refused: {'; '.join(refused)}")

    def delete_topic(self, topic: str) -> None:
        with self._lock, translated(self._servers, f"deleting topic {topic!r}"):
            self._known.pop(topic, None)
            self._admin.delete_topics([topic])

    def partitions(self, topic: str) -> int:
        with self._lock:
            at, count = self._known.get(topic, (0.0, 0))
            if time.monotonic() - at > METADATA_SECONDS or not count:
                count = self._look_up(topic)
                self._known[topic] = (time.monotonic(), count)
            return count

    def _look_up(self, topic: str) -> int:
        with translated(self._servers, f"topic {topic!r}"):
            (found,) = self._admin.describe_topics([topic])
            if found["error_code"]:
                error = kafka_errors.for_code(found["error_code"])
                raise error(topic) if error not in UNKNOWN else kafka_errors.UnknownTopicOrPartitionError(topic)
            return len(found["partitions"])

    def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        with self._lock, translated(self._servers, f"publishing {len(records)} records"):
            try:
                self._producer.begin()
                self._producer.send(records)
                self._producer.commit()
            except BaseException as error:
                self._producer.abort()
                if isinstance(error, UNKNOWN):
                    self._known.clear()
                raise

    def consumer(self, group: str, topics: Sequence[str]) -> KafkaLogConsumer:
        for topic in topics:
            self.partitions(topic)
        options = self._options | self._timing
        if self._member:
            options["group_instance_id"] = f"{group}-{self._member}"
        return KafkaLogConsumer(self._servers, options, self._new_producer(group), group, topics, self._look_up)

    def _new_producer(self, name: str) -> TransactionalProducer:
        return TransactionalProducer(self._servers, self._options, f"{name}-{uuid.uuid4().hex}", self.partitions)

    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Entry]:
        with self._lock, translated(self._servers, f"reading {topic}[{partition}]"):
            self._producer.settle()
        end = self.ends(topic)[partition]
        return self._read(topic, partition, start, end)

    def _read(self, topic: str, number: int, start: int, end: int) -> Iterator[Entry]:
        if start >= end:
            return
        partition = TopicPartition(topic, number)
        with translated(self._servers, f"reading {topic}[{number}]"):
            reader = self._new_reader("read_committed")
            try:
                reader.assign([partition])
                reader.seek(partition, max(start, reader.beginning_offsets([partition])[partition]))
                # The position passes the end over transaction markers too, which are never handed out. It waits for the
                # open transactions below the end, at most until the broker aborts those of a dead producer.
                at, moved = start, time.monotonic()
                while (position := reader.position(partition)) < end:
                    if position > at:
                        at, moved = position, time.monotonic()
                    elif time.monotonic() - moved > READ_SECONDS:
                        raise kafka_errors.KafkaTimeoutError(f"stands at offset {at} of {end} for {READ_SECONDS:g} s")
                    for record in reader.poll(timeout_ms=500).get(partition, ()):
                        if record.offset >= end:
                            return
                        yield entry_of(record)
            finally:
                reader.close()

    def _new_reader(self, isolation_level: str) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level=isolation_level,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=5_000,
            allow_auto_create_topics=False,
            **self._options,
        )

    def ends(self, topic: str) -> list[int]:
        count = self.partitions(topic)
        wanted = [TopicPartition(topic, number) for number in range(count)]
        with self._lock, translated(self._servers, f"ends of topic {topic!r}"):
            if self._reader is None:
                # The high watermark: the last stable offset lags behind commits whose markers are still being written,
                # and a state restored up to there could miss the last transaction of its previous owner.
                self._reader = self._new_reader("read_uncommitted")
            try:
                ends = self._reader.end_offsets(wanted)
            except BaseException:
                # It would ask the broker that has gone until its metadata are too old; a new one learns who leads now.
                self._reader.close()
                self._reader = None
                raise
            return [ends[partition] for partition in wanted]

    def lag(self, group: str, topic: str) -> int:
        ends = self.ends(topic)
        with self._lock, translated(self._servers, f"offsets of group {group!r}"):
            committed = self._committed(group)
        done = sum(offset.offset for partition, offset in committed.items() if partition.topic == topic)
        return int(sum(ends) - done)

    def _committed(self, group: str) -> dict[TopicPartition, Any]:
        """A group's offsets. A new broker creates the topic that holds them at the first question, and says so."""
        deadline = time.monotonic() + COORDINATOR_SECONDS
        while True:
            try:
                found: dict[TopicPartition, Any] = self._admin.list_group_offsets({group: None}).get(group, {})
                return found
            except (kafka_errors.CoordinatorNotAvailableError, kafka_errors.CoordinatorLoadInProgressError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def close(self) -> None:
        self._producer.close()
        if self._reader is not None:
            self._reader.close()
        self._admin.close()


def _options(topic: TopicSpec) -> dict[str, Any]:
    """A topic's settings in Kafka's words."""
    age = str(int(topic.retention_seconds * 1000))
    if topic.compacted:
        configs = {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": age,
            "max.compaction.lag.ms": str(2 * int(age)),
            "segment.ms": str(COMPACT_SEGMENT_MS),
            "segment.bytes": str(COMPACT_SEGMENT_BYTES),
        }
    else:
        configs = {"cleanup.policy": "delete", "retention.ms": age}
    return {"num_partitions": topic.partitions, "configs": configs}
