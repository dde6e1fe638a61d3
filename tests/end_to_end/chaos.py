"""What the chaos run is made of: a producer at a steady rate, faults, and a watch that sees when work goes on."""

import itertools
import random
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from bus.log import Log
from bus.messages import utcnow
from bus.topics import SCORED, TRENDS
from ingest.articles import Made, RawItem, make_article
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher, Stopped
from tests.end_to_end.house import House
from tests.end_to_end.streams import STREAM, rows
from tests.services.kafka import Broker

RATE = 20.0
"""Articles a second."""

LAP = timedelta(days=4)
"""By how much later the stream happens each time that it begins again."""


def articles() -> Iterator[Made]:
    """The demo's headlines, lap after lap, each lap later and under other addresses."""
    stream = rows(STREAM)
    for lap in itertools.count():
        for row in stream:
            at = datetime.fromisoformat(row["published_at"]) + lap * LAP
            item = RawItem(title=row["title"], url=f"{row['url']}?lap={lap}", published=at.isoformat())
            yield make_article(item, source=row["source"], fetched_at=utcnow(), language="en")


class Background(ABC):
    """Something that works in a thread of its own for as long as a block lasts."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @abstractmethod
    def _run(self) -> None:
        """Work until ``_stop`` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Producer(Background):
    """Publishes at a steady rate; while the log takes nothing it waits, and then goes on with what it owes."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._publisher = Publisher(log, IngestMetrics(CollectorRegistry()), self._stop)
        self.published: list[str] = []

    def _run(self) -> None:
        started, stream = time.monotonic(), articles()
        while not self._stop.wait(0.25):
            owed = int((time.monotonic() - started) * RATE) - len(self.published)
            batch = list(itertools.islice(stream, min(owed, 500)))
            try:
                self._publisher.publish(batch, "chaos")
            except Stopped:
                return
            self.published += [made.article.id for made in batch]


class Recovery(NamedTuple):
    """How a fault was overcome."""

    seconds: float
    last: str
    """The partitions that went on last."""


class Watch(Background):
    """Reads what workers and trends commit, and notes when each partition moved last."""

    def __init__(self, servers: list[str], partitions: int) -> None:
        super().__init__()
        self._wanted = [TopicPartition(topic, n) for topic in (SCORED, TRENDS) for n in range(partitions)]
        self._consumer = KafkaConsumer(
            bootstrap_servers=servers, isolation_level="read_committed", request_timeout_ms=5_000
        )
        self._written: dict[TopicPartition, float] = {}
        """When the newest record that was seen of a partition had been written."""

    def _run(self) -> None:
        self._consumer.assign(self._wanted)
        self._consumer.seek_to_beginning()
        while not self._stop.is_set():
            for partition, records in self._consumer.poll(timeout_ms=200).items():
                self._written[partition] = records[-1].timestamp / 1000

    def recovered(self, since: float, seconds: float) -> "Recovery":
        """How long it takes until every partition has shown something written after ``since``."""
        last: list[str] = []
        while time.time() < since + seconds:
            stuck = [f"{p.topic}[{p.partition}]" for p in self._wanted if self._written.get(p, 0) <= since]
            if not stuck:
                return Recovery(time.time() - since, ", ".join(last))
            last = stuck
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {', '.join(last)} to go on")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._consumer.close()


class Crew:
    """The roles under fire; one that ends is started again, as a supervisor would."""

    def __init__(self, house: House, roles: list[str]) -> None:
        self._house = house
        self._roles = {index: (role, house.start(role)) for index, role in enumerate(roles)}
        self.ended_alone = 0

    def pick(self, role: str) -> int:
        """One process of a role, at random."""
        return random.choice([index for index, (name, _) in self._roles.items() if name == role])

    def process(self, index: int) -> "subprocess.Popen[bytes]":
        return self._roles[index][1]

    def kill(self, index: int) -> None:
        """kill -9, and a new one at once."""
        role, process = self._roles[index]
        self._house.kill(process)
        self._roles[index] = (role, self._house.start(role))

    def look_after(self) -> None:
        """Start again what has ended by itself."""
        for index, (role, process) in self._roles.items():
            if process.poll() is not None:
                self.ended_alone += 1
                self._roles[index] = (role, self._house.start(role))

    @contextmanager
    def one_more(self, role: str) -> Iterator[None]:
        """Another process of a role, for a while."""
        process = self._house.start(role)
        yield
        process.terminate()
        process.wait(15)


class Fault(NamedTuple):
    """Something that happens to the house."""

    name: str
    inflict: Callable[[], None]


def faults(crew: Crew, brokers: list[Broker], session: float) -> list[Fault]:
    """Every kind of fault. Each ends by itself: what was stopped goes on, what was killed is started again."""

    def kill_broker() -> None:
        broker = random.choice(brokers)
        broker.kill()
        time.sleep(3)
        broker.start()

    def pause_broker() -> None:
        broker = random.choice(brokers)
        broker.pause()
        time.sleep(8)
        broker.resume()

    def zombie(role: str) -> None:
        process = crew.process(crew.pick(role))
        process.send_signal(signal.SIGSTOP)
        time.sleep(session + 3)
        process.send_signal(signal.SIGCONT)

    def rebalance() -> None:
        with crew.one_more("worker"):
            time.sleep(6)

    return [
        Fault("kill -9 of a worker", lambda: crew.kill(crew.pick("worker"))),
        Fault("kill -9 of a trends", lambda: crew.kill(crew.pick("trends"))),
        Fault("kill -9 of a broker", kill_broker),
        Fault("a worker stopped for longer than its session", lambda: zombie("worker")),
        Fault("a trends stopped for longer than its session", lambda: zombie("trends")),
        Fault("a broker paused for 8 s", pause_broker),
        Fault("one more worker for 6 s", rebalance),
    ]
