"""The addresses of the page."""

import ipaddress
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from alerts.archive.store import Store
from alerts.labels import as_csv
from alerts.links import series_path
from alerts.metrics import Metrics
from alerts.page.period import RequestError, read_period
from alerts.page.site import Site
from alerts.page.views import current, overview, series_view, spike_view
from model.labels import HEADS

MOST_FOUND = 100
"""Results of a search that are shown."""


def routes(store: Store, site: Site, metrics: Metrics, page_url: str) -> APIRouter:
    """The page's routes on a store.

    Args:
        page_url: how people reach the page; corrections are taken from its own origin only.
    """
    router = APIRouter()
    _reading(router, store, site)
    _labels(router, store, site, metrics, page_url)
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


def _labels(router: APIRouter, store: Store, site: Site, metrics: Metrics, page_url: str) -> None:
    @router.post("/labels")
    def correct(
        request: Request,
        article: str = Form(max_length=64),
        correction: str = Form(max_length=100),
        back: str = Form("/", max_length=2000),
    ) -> Response:
        if not same_origin(request, page_url):
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


def same_origin(request: Request, page_url: str) -> bool:
    """Whether a form was sent by this very page.

    Browsers state a form's origin; it must be the host that was asked. That host must be an address, localhost or the
    host of ``page_url``, so that a stranger's name which points here (DNS rebinding) is not taken for ours.
    """
    origin, host = urlsplit(request.headers.get("origin", "")), request.headers.get("host", "")
    if not host or origin.scheme not in ("http", "https") or origin.netloc.lower() != host.lower():
        return False
    name = (urlsplit(f"//{host}").hostname or "").lower()
    return name == "localhost" or name == urlsplit(page_url).hostname or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
