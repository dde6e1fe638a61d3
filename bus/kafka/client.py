"""What producers, consumers and the log share: options for kafka-python, and its errors in the log's own words."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from bus.errors import Fenced, LogError, LogFull, LogUnreachable, RecordTooLarge, UnknownTopic
from bus.log import Entry, Record, partition_of

FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.FencedInstanceIdError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.CommitFailedError,
)
"""What a broker answers to a member that is not, or not yet, in the group's present generation (KIP-447)."""

UNKNOWN = (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.UnknownTopicIdError)

BLOCK_MS = 8_000
"""How long a call waits for a broker before the log counts as unreachable; nothing is lost, the caller retries. It is
less than the ten seconds in which a role has to end."""

REQUEST_MS = 4_000
"""How long one request waits for its answer: a second one, to the broker that has taken over, still fits BLOCK_MS."""

TRANSACTION_MS = 6_000
"""After so long the broker aborts the transaction of a producer that died in it; until then readers wait behind it. A
transaction is sent when its batch is done, and takes well under a second. The broker looks for such ones every ten
seconds unless its ``transaction.abort.timed.out.transaction.cleanup.interval.ms`` says otherwise."""

BATCH_BYTES = 256 * 1024
"""A transaction goes out in few large requests; kafka-python's default of 16 kB costs half the throughput."""


@contextmanager
def translated(servers: Sequence[str], what: str) -> Iterator[None]:
    """kafka-python's errors as the log's own; the brokers and what was tried are named in each."""
    where = f"kafka:{','.join(servers)}: {what}"
    try:
        yield
    except FENCED as error:
        raise Fenced(f"{where}: {error}") from error
    except UNKNOWN as error:
        raise UnknownTopic(
            f"{where}: the topic does not exist; was it deleted? Starting a role creates it again"
        ) from error
    except kafka_errors.MessageSizeTooLargeError as error:
        raise RecordTooLarge(f"{where}: {error}") from error
    except kafka_errors.KafkaStorageError as error:
        raise LogFull(f"{where}: {error}; nothing of this transaction was written, free space on the broker") from error
    except (kafka_errors.RetriableError, kafka_errors.TransactionAbortedError) as error:
        raise LogUnreachable(f"{where}: {type(error).__name__}: {error}; does the broker run?") from error
    except kafka_errors.KafkaError as error:
        # A request of a transaction that got no answer comes as a bare KafkaError, whatever was the matter.
        kind = LogUnreachable if type(error) is kafka_errors.KafkaError else LogError
        raise kind(f"{where}: {type(error).__name__}: {error}") from error


def within(timeout_ms: float, what: str, call: Callable[[], object]) -> None:
    """Make a call of kafka-python that knows no time-out, and wait for it so many milliseconds at most.

    A call that takes longer is left behind in its thread, and ends when its client is closed.

    Raises:
        KafkaTimeoutError: it took longer.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(timeout_ms / 1000)
    if thread.is_alive():
        raise kafka_errors.KafkaTimeoutError(f"{what}: no answer within {timeout_ms / 1000:g} s")
    if failure:
        raise failure[0]


def entry_of(record: Any) -> Entry:
    """A consumed Kafka record as the log's entry; a foreign record without key or value has empty ones."""
    key = (record.key or b"").decode(errors="replace")
    return Entry(record.topic, record.partition, record.offset, key, record.value or b"", record.timestamp / 1000)


class TransactionalProducer:
    """A producer that writes batches of records atomically, and starts anew after any failure.

    Args:
        transactional_id: the name by which the broker fences an earlier producer of the same name.
        partitions: raises UnknownTopic for a topic that does not exist, of which the producer would wait to hear.
    """

    def __init__(
        self, servers: Sequence[str], options: dict[str, Any], transactional_id: str, partitions: Callable[[str], int]
    ) -> None:
        self._servers = servers
        self._options = options
        self._id = transactional_id
        self._partitions = partitions
        self._producer: KafkaProducer | None = None
        self._hangs = False
        """Whether a transaction that was given up may still be open on the broker, or be committed by it."""

    def begin(self) -> None:
        """Open a transaction."""
        if self._producer is None:
            self._producer = self._started()
        self._hangs = False
        self._producer.begin_transaction()

    def settle(self) -> None:
        """End a transaction that was given up on the broker too: until then its outcome is open, and readers wait."""
        if self._hangs:
            self._producer = self._started()
            self._hangs = False

    def _started(self) -> KafkaProducer:
        """A producer of this name; the broker aborts what an earlier one has left open."""
        producer = KafkaProducer(
            bootstrap_servers=list(self._servers),
            transactional_id=self._id,
            transaction_timeout_ms=TRANSACTION_MS,
            acks="all",
            linger_ms=5,
            batch_size=BATCH_BYTES,
            max_block_ms=BLOCK_MS,
            allow_auto_create_topics=False,
            **self._options,
        )
        try:
            producer.init_transactions()
        except BaseException:
            _throw_away(producer)
            raise
        return producer

    def send(self, records: Sequence[Record]) -> None:
        """Write records in the open transaction. Raises UnknownTopic before anything is sent."""
        assert self._producer is not None
        counts = {}
        for topic in {record.topic for record in records}:
            self._partitions(topic)
            counts[topic] = len(self._producer.partitions_for(topic))  # it refuses partitions that it has not heard of
        for record in records:
            future = self._producer.send(
                record.topic,
                key=record.key.encode(),
                value=record.value,
                partition=partition_of(record.key, counts[record.topic]),
            )
            if future.failed():  # it never became part of the transaction, whose commit would succeed without it
                raise future.exception

    def commit(self, offsets: dict[Any, Any] | None = None, group: Any = None) -> None:
        """Commit the open transaction, with a consumer's offsets in it when given."""
        producer = self._producer
        assert producer is not None
        if offsets:
            within(BLOCK_MS, "sending offsets", lambda: producer.send_offsets_to_transaction(offsets, group))
        within(BLOCK_MS, "committing", producer.commit_transaction)

    def abort(self) -> None:
        """Give the open transaction up, and the producer with it.

        A request that is still on its way, to a broker that is slow to answer, would else be sent again by the same
        producer and become part of its next transaction. A new producer of the name fences what the old one sends.
        """
        producer, self._producer = self._producer, None
        if producer is not None:
            self._hangs = True
            _throw_away(producer)

    def close(self) -> None:
        if self._producer is not None:
            _throw_away(self._producer)
            self._producer = None


def _throw_away(producer: KafkaProducer) -> None:
    """Close a producer whatever state it is in; what it had not committed, the broker aborts."""
    with suppress(kafka_errors.KafkaError):
        producer.close(timeout=1)
