"""``squall doctor``: what is configured, what answers, what is missing."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bus.errors import SquallError
from squall.settings import METRICS_OFFSET, Settings

TIMEOUT = 3.0
"""Seconds that a service may take to answer."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    mark: str
    """``ok``, ``missing`` (optional, not configured), ``quiet`` (does not run now) or ``BROKEN``."""
    what: str
    text: str


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that the settings name; one broken thing hides no other."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(settings)
        except SquallError as error:
            findings.append(Finding("BROKEN", name, str(error)))
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    file = settings.file.absolute() if settings.file else "no squall.toml, all defaults"
    yield Finding("ok", "settings", f"{file}; paths start at {settings.home.absolute()}")


def _log(settings: Settings) -> Iterator[Finding]:
    from bus.topics import ARTICLES, DEAD
    from squall.commands.context import open_log

    if settings.log_file and not settings.log_file.exists():
        yield Finding("ok", "log", f"{settings.log}: made at the first start")
        return
    with open_log(settings) as log:
        articles, dead, lag = sum(log.ends(ARTICLES)), sum(log.ends(DEAD)), log.lag("worker", ARTICLES)
        yield Finding("ok", "log", f"{settings.log}: {articles} articles, {lag} not scored yet, {dead} dead letters")


def _model(settings: Settings) -> Iterator[Finding]:
    from model.classifier import Classifier
    from squall.commands.context import bundle_of

    folder = bundle_of(settings)
    classifier = Classifier.load(folder, device=settings.model_device, threads=settings.model_threads)
    languages = ", ".join(sorted(classifier.languages))
    yield Finding("ok", "model", f"{folder}: version {classifier.version}, {settings.model_device}, reads {languages}")


def _sources(settings: Settings) -> Iterator[Finding]:
    from ingest.sources import load_sources

    file = settings.path(settings.sources)
    if not file.is_file():
        yield Finding("missing", "sources", f"{file}: nothing is crawled; 'squall init' writes an example")
        return
    sources = load_sources(file)
    yield Finding("ok", "sources", f"{file}: {len(sources)} sources; 'squall sources check --fetch' asks each one")


def _watchlist(settings: Settings) -> Iterator[Finding]:
    from stream_worker.watchlist import load_watchlist

    file = settings.path(settings.watchlist)
    if not file.is_file():
        yield Finding("missing", "watchlist", f"{file}: no companies are watched; 'squall init' writes an example")
        return
    entities = load_watchlist(file)
    yield Finding("ok", "watchlist", f"{file}: {len(entities)} entities")


def _archive(settings: Settings) -> Iterator[Finding]:
    from alerts.archive.store import Store

    if settings.archive_file and not settings.archive_file.exists():
        yield Finding("ok", "archive", f"{settings.archive_file}: made at the first start")
        return
    with Store(settings.archive_url) as store:
        totals = store.read.totals()
    yield Finding("ok", "archive", f"{sum(totals.values())} articles stored")


def _push(settings: Settings) -> Iterator[Finding]:
    if settings.push_tokens:
        yield Finding("ok", "push", f"{len(settings.push_tokens)} tokens, port {settings.push_port}")
    else:
        yield Finding("missing", "push", "no push_tokens: the HTTP push endpoint is off")


def _slack(settings: Settings) -> Iterator[Finding]:
    if not settings.slack_webhook_url:
        yield Finding("missing", "slack", "no SQUALL_SLACK_WEBHOOK_URL: alerts show on the page and the terminal only")
    else:
        yield Finding("ok", "slack", "a webhook is set; 'squall alerts-test' posts a test message")


def _grafana(settings: Settings) -> Iterator[Finding]:
    if not settings.grafana_url:
        yield Finding("missing", "grafana", "no grafana_url: messages carry no dashboard link")
        return
    yield _probe("grafana", settings.grafana_url.rstrip("/") + "/api/health")


def _roles(settings: Settings) -> Iterator[Finding]:
    if settings.metrics_port:
        for name, offset in METRICS_OFFSET.items():
            yield _probe(name, f"http://{settings.metrics_host}:{settings.metrics_port + offset}/healthz")
    yield _probe("page", f"http://{settings.page_host}:{settings.page_port}/healthz")


def _probe(what: str, url: str) -> Finding:
    import httpx

    try:
        answer = httpx.get(url, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        return Finding("quiet", what, f"{url} does not answer ({type(error).__name__}); does it run?")
    mark = "ok" if answer.status_code == 200 else "BROKEN"
    return Finding(mark, what, f"{url} answers {answer.status_code}")


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "log": _log,
    "model": _model,
    "sources": _sources,
    "watchlist": _watchlist,
    "archive": _archive,
    "push": _push,
    "slack": _slack,
    "grafana": _grafana,
    "roles": _roles,
}
