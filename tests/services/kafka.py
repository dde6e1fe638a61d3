"""A real Kafka broker from Maven Central's jars: KRaft, one process, loopback, data in a temporary folder."""

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
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=10000
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


class Broker:
    """A running broker.

    Args:
        folder: for its data and its output.
    """

    def __init__(self, folder: Path) -> None:
        port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        properties = folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=port, controller=controller, data=folder / "data"))
        java = ["java", "-Xmx512m", "-cp", f"{jars()}/*"]
        storage = [*java, "kafka.tools.StorageTool"]
        named = subprocess.run([*storage, "random-uuid"], capture_output=True, text=True, check=True)
        cluster = named.stdout.strip().splitlines()[-1]
        with (folder / "broker.log").open("wb") as log:
            format_ = [*storage, "format", "-t", cluster, "-c", str(properties)]
            subprocess.run(format_, stdout=log, stderr=log, check=True)
            self._process = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        wait_until(lambda: answers(port), 60, f"Kafka on port {port}, see {folder / 'broker.log'}")

    def pause(self) -> None:
        """Stop answering, as behind a cut network."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """Run a broker with its data in ``folder``."""
    running = Broker(folder)
    try:
        yield running
    finally:
        running.kill()
