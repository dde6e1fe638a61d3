"""The worker: articles in, scored articles and tallies out, each article exactly once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as CounterMetric

from bus.errors import MessageError
from bus.log import Entry, Log, Record
from bus.messages import OUTCOMES, Article, ScoredArticle, decode, encode, utcnow
from bus.signature import signatures
from bus.stage import Stage, dead_letter, latency, run_stage
from bus.topics import ARTICLES, SCORED, TALLIES
from model.classifier import Verdict
from model.language import detect
from model.text import article_text
from stream_worker.drift import Drift
from stream_worker.model import Model
from stream_worker.shadow import Shadow
from stream_worker.tallies import tally
from stream_worker.watchlist import Linker

GROUP = "worker"


class WorkerMetrics:
    """What the worker tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.scored = CounterMetric("squall_scored_total", "Articles by outcome.", ["outcome"], registry=registry)
        for outcome in OUTCOMES:
            self.scored.labels(outcome)
        sizes = (1, 4, 16, 64, 128, 256, 512, 1024, 4096)
        self.articles = Histogram("squall_batch_articles", "Articles in a batch.", buckets=sizes, registry=registry)
        budget = (64, 256, 1024, 4096, 16384, 65536)
        self.tokens = Histogram("squall_batch_tokens", "Tokens in a batch.", buckets=budget, registry=registry)
        self.seconds = Histogram(
            "squall_batch_seconds",
            "Seconds from poll to commit of a batch.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=registry,
        )
        self.latency = latency(registry)
        self.model = Gauge("squall_model_info", "The model that scores.", ["version", "device"], registry=registry)
        self.switches = CounterMetric("squall_model_switches_total", "Exchanges of the model.", registry=registry)
        self.drift = Drift(registry)


class Worker(Stage):
    """Scores articles: one batch is one forward pass, and one transaction.

    It has no state, so a batch that is polled again gives the same records again.
    """

    name = GROUP
    topics = (ARTICLES,)

    def __init__(
        self,
        models: Callable[[], Model],
        linker: Linker,
        metrics: WorkerMetrics,
        device: str,
        shadow: Shadow | None = None,
    ) -> None:
        self._models = models
        self._linker = linker
        self._metrics = metrics
        self._device = device
        self._model = models()
        metrics.model.labels(self._model.version, device).set(1)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._shadow = shadow
        self._batch: list[ScoredArticle] = []
        self._judged: tuple[list[str], list[Verdict]] = ([], [])
        self._started = 0.0
        self._tokens = 0

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        self._take_model()
        self._started, self._tokens = time.monotonic(), self._model.tokens
        articles, records = read_articles(entries)
        self._batch = self.score(articles)
        records += [Record(SCORED, scored.article.id, encode(scored)) for scored in self._batch]
        records += [Record(TALLIES, each.series, encode(each)) for each in tally(self._batch)]
        return records

    def _take_model(self) -> None:
        """Use what is in service now: between two batches, so that every article is judged by one version alone."""
        model = self._models()
        if model is not self._model:
            self._metrics.model.remove(self._model.version, self._device)
            self._metrics.model.labels(model.version, self._device).set(1)
            self._metrics.switches.inc()
            self._model = model

    def committed(self) -> None:
        now = utcnow()
        for outcome, count in Counter(scored.outcome for scored in self._batch).items():
            self._metrics.scored.labels(outcome).inc(count)
        latency = self._metrics.latency.labels("fetched_to_scored")
        for scored in self._batch:
            latency.observe((now - scored.article.fetched_at).total_seconds())
        texts, verdicts = self._judged
        self._metrics.drift.judged(self._model.version, self._model.reference, verdicts)
        if self._shadow:
            self._shadow.offer(self._model.version, texts, verdicts)
        self._metrics.tokens.observe(self._model.tokens - self._tokens)
        self._metrics.articles.observe(len(self._batch))
        self._metrics.seconds.observe(time.monotonic() - self._started)

    def score(self, articles: Sequence[Article]) -> list[ScoredArticle]:
        """The articles with the model's judgement, in their order; those it cannot read are marked unscored."""
        texts = [article_text(article.title, article.summary) for article in articles]
        likely = self._model.languages
        languages = [detect(text, article.language, likely) for text, article in zip(texts, articles, strict=True)]
        readable = [i for i, language in enumerate(languages) if language in self._model.languages]
        # The model leaves Python's lock to others while it computes: what needs no verdict is done meanwhile.
        read = [texts[i] for i in readable]
        judging = self._executor.submit(self._model.classify, read)
        entities = [self._linker.find(text) for text in texts]
        stories = signatures([article.title for article in articles])
        self._judged = (read, judging.result())
        verdicts = dict(zip(readable, self._judged[1], strict=True))
        now = utcnow()
        scored = []
        for i, article in enumerate(articles):
            verdict = verdicts.get(i)
            scored.append(
                ScoredArticle(
                    article=article,
                    scored_at=now,
                    language=languages[i],
                    model_version=self._model.version if verdict else "",
                    sentiment=verdict.sentiment if verdict else None,
                    topic=verdict.topic if verdict else None,
                    relevance=verdict.relevance if verdict else None,
                    unscored="" if verdict else f"language:{languages[i]}",
                    entities=entities[i],
                    signature=stories[i],
                )
            )
        return scored


def read_articles(entries: Sequence[Entry]) -> tuple[list[Article], list[Record]]:
    """The articles among the entries, and dead letters for what is none."""
    articles: list[Article] = []
    dead: list[Record] = []
    for entry in entries:
        try:
            articles.append(decode(entry.value, Article))
        except MessageError as error:
            dead.append(dead_letter(GROUP, entry, error))
    return articles, dead


def run(
    log: Log,
    models: Callable[[], Model],
    linker: Linker,
    *,
    batch: int,
    device: str,
    stop: threading.Event,
    registry: CollectorRegistry,
    shadow: Shadow | None = None,
) -> None:
    """Score articles until ``stop`` is set.

    Args:
        models: gives the model to use for the next batch.
        batch: most articles of one transaction.
        device: where the model runs, for the metrics.
        shadow: judges a sample too, to be compared.

    Raises:
        LogError: a topic was deleted or the log is corrupt.
    """
    worker = Worker(models, linker, WorkerMetrics(registry), device, shadow)
    if shadow:
        threading.Thread(target=shadow.run, args=(stop,), name="shadow", daemon=True).start()
    run_stage(log, worker, batch=batch, stop=stop, registry=registry)
