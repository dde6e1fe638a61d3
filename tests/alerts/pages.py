"""Reading the page as a browser without JavaScript does."""

from html.parser import HTMLParser

from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from alerts.archive import Store
from alerts.gateway import Gateway
from alerts.links import Links
from alerts.metrics import ArchiveTotals, Metrics
from alerts.outbox import Outbox
from alerts.page.hosts import Hosts
from alerts.service import create_app
from alerts.webhook import webhook

PAGE = "http://desk.example:8080"
GRAFANA = "http://grafana.example"


class Elements(HTMLParser):
    """The elements of a page, with their attributes; the text of those that are asked for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.found if tag == "a" and "href" in attrs]

    def totals(self) -> dict[str, int]:
        return {str(a["data-total"]): int(a["data-value"] or -1) for _, a in self.found if "data-total" in a}


def client_of(store: Store, outbox: Outbox | None = None) -> TestClient:
    """A client of the page, which listens on box.example, and of the webhook."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    registry.register(ArchiveTotals(store))
    app = create_app(store, metrics, registry, Hosts("box.example", PAGE), GRAFANA)
    app.include_router(webhook(Gateway(store, outbox, Links(PAGE, GRAFANA), metrics, patience=0), metrics))
    return TestClient(app, base_url=PAGE, follow_redirects=False, raise_server_exceptions=False)


def page(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text
