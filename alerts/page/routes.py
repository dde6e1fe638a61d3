"""The addresses of the page."""

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from alerts.archive.store import Store
from alerts.labels import as_csv
from alerts.links import series_path
from alerts.metrics import Metrics
from alerts.page.hosts import same_origin
from alerts.page.period import RequestError, read_period
from alerts.page.site import Site
from alerts.page.views import current, open_spikes_view, overview, series_view, spike_view
from model.labels import HEADS

MOST_FOUND = 100
"""Results of a search that are shown."""


def routes(store: Store, site: Site, metrics: Metrics) -> APIRouter:
    """The page's routes on a store."""
    router = APIRouter()
    _reading(router, store, site)
    _labels(router, store, metrics)
    return router


def _reading(router: APIRouter, store: Store, site: Site) -> None:
    read = store.read

    @router.get("/")
    def start(request: Request, series: str = "") -> Response:
        if series:  # as the links of Grafana and Prometheus have it
            return RedirectResponse(series_path(series), 302)
        return site.render(request, "overview.html", {"view": overview(read)})

    @router.get("/series/{name:path}")
    def series(request: Request, name: str) -> Response:
        at = current(read)
        period = read_period(request.query_params, at)
        return site.render(request, "series.html", {"view": series_view(read, name, period, at)})

    @router.get("/spikes")
    def open_spikes(request: Request) -> Response:
        return site.render(request, "spikes.html", {"view": open_spikes_view(read)})

    @router.get("/spikes/{name:path}")
    def spike(request: Request, name: str) -> Response:
        event = read.spike(name)
        if event is None:
            raise HTTPException(404, f"There is no spike {name!r}; the archive may have dropped it by its age.")
        return site.render(request, "spike.html", {"view": spike_view(read, event)})

    @router.get("/articles/{name:path}")
    def article(request: Request, name: str) -> Response:
        found = read.articles([name])
        if not found:
            raise HTTPException(404, f"There is no article {name!r}; the archive may have dropped it by its age.")
        corrected = read.corrected([name])
        values = {"article": found[0], "corrected": corrected, "heads": HEADS, "now": current(read)}
        return site.render(request, "article.html", values)

    @router.get("/search")
    def search(request: Request, q: str = "") -> Response:
        found = read.search(q[:500], MOST_FOUND)
        corrected = read.corrected(article.id for article in found)
        values = {"found": found, "most": MOST_FOUND, "corrected": corrected, "now": current(read)}
        return site.render(request, "search.html", values)

    @router.get("/api/totals")
    def totals() -> dict[str, int | str | None]:
        counts, newest = read.totals(), read.newest()
        return {"articles": sum(counts.values()), **counts, "newest": newest.isoformat() if newest else None}


def _labels(router: APIRouter, store: Store, metrics: Metrics) -> None:
    @router.post("/labels")
    def correct(
        request: Request,
        article: str = Form(max_length=64),
        correction: str = Form(max_length=100),
        back: str = Form("/", max_length=2000),
    ) -> Response:
        if not same_origin(request.headers):
            raise HTTPException(403, "Corrections are taken from this page's own forms only; see docs/alerts.md.")
        head, _, new = correction.partition("=")
        if new not in HEADS.get(head, ()):
            raise RequestError(f"correction: expected HEAD=LABEL as the forms have it, got {correction[:60]!r}")
        if not store.correct(article, head, new):
            raise HTTPException(404, f"There is no article {article!r} with such a label.")
        metrics.labels.labels(head).inc()
        local = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
        return RedirectResponse(local, 303)

    @router.get("/labels.csv")
    def export() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="labels.csv"'}
        return Response("".join(as_csv(store.read.labels())), media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/robots.txt")
    def robots() -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")
