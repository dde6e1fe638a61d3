"""Real Kafka from Maven Central's jars: KRaft, loopback, data in a temporary folder; one broker, or a cluster."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import answers, free_port, missing, wait_until

VERSION = "4.4.0"
JARS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "squall" / f"kafka-{VERSION}"

PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
default.replication.factor={brokers}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={brokers}
transaction.state.log.replication.factor={brokers}
transaction.state.log.min.isr={in_sync}
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=10000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def jars() -> Path:
    """The folder of Kafka's jars, fetched once by Maven and kept."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            missing(f"no {program}: a real Kafka broker needs Java and Maven")
    if not list(JARS.glob("kafka-server-*.jar")):
        pom = Path(__file__).parent / "pom.xml"
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        done = subprocess.run([*command, f"-DoutputDirectory={JARS}"], capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"Maven cannot fetch Kafka {VERSION}: {(done.stdout + done.stderr)[-500:]}")
    return JARS


def _java(*arguments: str) -> list[str]:
    return ["java", "-Xmx384m", "-cp", f"{jars()}/*", *arguments]


class Broker:
    """One broker, which is also a controller; it can be paused, killed and started again with its data."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; :meth:`wait` waits until it answers."""
        with (self._folder / "broker.log").open("ab") as output:
            command = _java("kafka.Kafka", str(self._folder / "server.properties"))
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> None:
        """Wait until it answers."""
        where = f"Kafka on port {self._port}, see {self._folder / 'broker.log'}"
        wait_until(lambda: answers(self._port), 60, where)

    def pause(self) -> None:
        """Stop answering, as behind a cut network."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()


@contextmanager
def cluster(folder: Path, brokers: int) -> Iterator[list[Broker]]:
    """Run brokers that hold every record on all of them and need a majority; data and output in ``folder``."""
    ports = [(free_port(), free_port()) for _ in range(brokers)]
    voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in enumerate(ports, start=1))
    named = subprocess.run(_java("kafka.tools.StorageTool", "random-uuid"), capture_output=True, text=True, check=True)
    identity = named.stdout.strip().splitlines()[-1]
    running: list[Broker] = []
    try:
        for node, (port, controller) in enumerate(ports, start=1):
            own = folder / f"broker-{node}"
            own.mkdir(parents=True)
            values = {"node": node, "voters": voters, "port": port, "controller": controller, "data": own / "data"}
            sizes = {"brokers": brokers, "in_sync": brokers // 2 + 1}
            (own / "server.properties").write_text(PROPERTIES.format(**values, **sizes))
            tool = _java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(own / "server.properties"))
            with (own / "broker.log").open("wb") as output:
                subprocess.run(tool, stdout=output, stderr=output, check=True)
            running.append(Broker(own, port))
            running[-1].start()
        for each in running:
            each.wait()
        yield running
    finally:
        for each in running:
            each.kill()


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """Run one broker with its data in ``folder``."""
    with cluster(folder, 1) as (one,):
        yield one
