"""``squall bench``: speed and memory of this machine, measured on the real parts; medians with their spread."""

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from bus.embedded import EmbeddedLog
from bus.errors import SquallError
from bus.log import Record
from bus.topics import ARTICLES, TALLIES, TopicSpec, news_topics
from squall.commands.context import bundle_of
from squall.demo import STREAM
from squall.settings import Settings

RECORDS = 100_000
RECORD_BYTES = 450
BATCH = 1_000
"""The log is measured with records as long as an article of the demo, a thousand a transaction."""

PIPELINE_ARTICLES = 30_000
"""The pipeline is measured on so many articles, so that its last poll does not count for more than it does in use."""

READY_SECONDS = 60.0
DEMO_SECONDS = 75.0
"""How long the demo runs before its memory is taken: past the surge, with every room at work."""

Benchmark = Callable[[Settings, Path, int], Iterator[str]]


def run(settings: Settings, names: Sequence[str], texts: Path | None, repeats: int) -> Iterator[str]:
    """Run benchmarks by name; lines to print as they come."""
    model = platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    yield f"machine: {os.cpu_count()} cores ({model}), {memory:.0f} GiB, {time.strftime('%F')}"
    for name in names:
        yield from BENCHMARKS[name](settings, texts or STREAM, repeats)


def summary(values: Sequence[float], digits: int = 0) -> str:
    """Median with least and most."""
    return f"{statistics.median(values):,.{digits}f} (from {min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _log(settings: Settings, texts: Path, repeats: int) -> Iterator[str]:
    writes, reads = [], []
    value = os.urandom(RECORD_BYTES)
    records = [Record("bench", f"key{i}", value) for i in range(RECORDS)]
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=".") as folder, EmbeddedLog(Path(folder) / "log.db") as log:
            log.create_topics([TopicSpec("bench", 4)])
            started = time.perf_counter()
            for i in range(0, RECORDS, BATCH):
                log.publish(records[i : i + BATCH])
            writes.append(RECORDS / (time.perf_counter() - started))
            with log.consumer("bench", ["bench"]) as consumer:
                started, read = time.perf_counter(), 0
                while read < RECORDS:
                    read += len(consumer.poll(BATCH, 1.0))
                    consumer.commit()
                reads.append(RECORDS / (time.perf_counter() - started))
    yield f"log: {summary(writes)} records/s written (bar 20,000), {summary(reads)} read and committed (bar 50,000)"


def _startup(settings: Settings, texts: Path, repeats: int) -> Iterator[str]:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "squall", "--help"], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    yield f"startup: squall --help {summary(seconds, 2)} s (bar 0.5)"


def _classifier(settings: Settings, texts: Path, repeats: int) -> Iterator[str]:
    from model.benchmark import classifier_against_transformers

    figures = classifier_against_transformers(_texts(texts), bundle_of(settings), settings.model_threads, repeats)
    ours, theirs = figures.classifier, figures.transformers
    yield (
        f"classifier: {ours.median:,.0f} articles/s (from {ours.least:,.0f} to {ours.most:,.0f}), transformers pipeline"
        f" {theirs.median:,.0f} (from {theirs.least:,.0f} to {theirs.most:,.0f}), on {figures.texts} texts and"
        f" {figures.threads} threads: {figures.times_faster:.2f} times (bar 4.5)"
    )


def _texts(file: Path) -> list[str]:
    from model.text import article_text

    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    return [article_text(line["title"], line.get("summary") or "") for line in lines]


def _pipeline(settings: Settings, texts: Path, repeats: int) -> Iterator[str]:
    from model.classifier import Classifier

    prepared = _texts(texts)
    copies = -(-PIPELINE_ARTICLES // len(prepared))
    prepared *= copies
    classifier = Classifier.load(bundle_of(settings), threads=settings.model_threads)
    classifier.classify(prepared[:256])
    alone, through = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        classifier.classify(prepared)
        alone.append(len(prepared) / (time.perf_counter() - started))
        through.append(_throughput(settings, texts, copies, len(prepared)))
    ratio = statistics.median(a / b for a, b in zip(through, alone, strict=True))
    yield (
        f"pipeline: replay -> log -> worker -> trends {summary(through)} articles/s, classifier alone {summary(alone)}"
        f" on {len(prepared)} articles: {ratio:.0%} of it (bar 85%)"
    )


def _throughput(settings: Settings, file: Path, copies: int, articles: int) -> float:
    """Articles a second from the first line replayed to the last tally in the trends, roles as processes."""
    from ingest.replay import replay

    with tempfile.TemporaryDirectory(dir=".") as folder, EmbeddedLog(Path(folder) / "log.db") as log:
        log.create_topics(news_topics())
        options: dict[str, object] = {"home": str(Path(folder).absolute()), "log": "sqlite:log.db", "metrics_port": "0"}
        options |= {"model": str(bundle_of(settings).absolute()), "model_threads": settings.model_threads}
        arguments = [f"--set={name}={value}" for name, value in options.items()]
        roles = [start_role(arguments, name) for name in ("worker", "trends")]
        try:
            wait_for(lambda: _joined(log), READY_SECONDS, "worker and trends to join")
            stream = _multiplied(file, copies, Path(folder))
            started = time.perf_counter()
            replay(log, [stream])
            wait_for(lambda: _drained(log, articles), 600.0, "the backlog to be done")
            return articles / (time.perf_counter() - started)
        finally:
            for role in roles:
                role.terminate()
            for role in roles:
                role.wait(15)


def _multiplied(file: Path, copies: int, folder: Path) -> Path:
    """The file so many times over, each copy under addresses of its own."""
    stream = folder / "stream.jsonl"
    with stream.open("wb") as out:
        for copy in range(copies):
            for line in file.read_bytes().splitlines():
                row = msgspec.json.decode(line)
                out.write(msgspec.json.encode(row | {"url": f"{row['url']}/{copy}"}) + b"\n")
    return stream


def start_role(options: Sequence[str], *command: str) -> "subprocess.Popen[bytes]":
    """A squall command as a process, its output thrown away."""
    null = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "squall", *options, *command], stdout=null, stderr=null)


def wait_for(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition. Raises SquallError when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SquallError(f"bench: waited {seconds:g} s in vain for {what}")
        time.sleep(0.1)  # looking costs the measured processes time


def _joined(log: EmbeddedLog) -> bool:
    return {"worker", "trends"} <= log.groups()


def _drained(log: EmbeddedLog, articles: int) -> bool:
    return sum(log.ends(ARTICLES)) >= articles and not log.lag("worker", ARTICLES) and not log.lag("trends", TALLIES)


def _memory(settings: Settings, texts: Path, repeats: int) -> Iterator[str]:
    demo = start_role([f"--set=page_port={settings.page_port}"], "up", "--demo")
    peak: dict[str, float] = {}
    try:
        deadline = time.monotonic() + DEMO_SECONDS
        while time.monotonic() < deadline and demo.poll() is None:
            for name, size in _resident(demo.pid).items():
                peak[name] = max(peak.get(name, 0.0), size)
            time.sleep(0.5)
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(15)
    if len(peak) < 6:
        raise SquallError("bench: squall up --demo did not start; run it by itself to see why")
    each = ", ".join(f"{name} {size:.0f}" for name, size in peak.items())
    total = sum(peak.values())
    yield f"memory: squall up --demo {total:.0f} MB in all (bar 1,500); peaks: {each} (bar 200, but worker)"


def _resident(pid: int) -> dict[str, float]:
    """Resident megabytes of the supervisor and its roles."""
    try:
        parent = psutil.Process(pid)
        found = {"supervisor": parent.memory_info().rss / 1e6}
        for child in parent.children():
            found[child.cmdline()[-1]] = child.memory_info().rss / 1e6
        return found
    except (psutil.NoSuchProcess, IndexError):
        return {}


BENCHMARKS: dict[str, Benchmark] = {
    "log": _log,
    "startup": _startup,
    "classifier": _classifier,
    "pipeline": _pipeline,
    "memory": _memory,
}
