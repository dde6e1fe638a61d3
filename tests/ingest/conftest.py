"""Fixtures of the ingest room: an empty log, and a web server that runs tiny handlers."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bus.embedded import EmbeddedLog
from bus.log import Log
from bus.messages import Article, DeadLetter, decode
from bus.topics import ARTICLES, DEAD, news_topics

FEEDS = Path(__file__).parent / "feeds"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with EmbeddedLog(tmp_path / "log.db") as log:
        log.create_topics(news_topics())
        yield log


def articles_on(log: Log) -> list[Article]:
    return [decode(entry.value, Article) for entry in log.read_all(ARTICLES)]


def dead_on(log: Log) -> list[DeadLetter]:
    return [decode(entry.value, DeadLetter) for entry in log.read_all(DEAD)]


@pytest.fixture
def data_feeds() -> Path:
    """The folder of the twelve real feeds; a test that needs it is skipped where there is none, but never in CI."""
    folder = os.environ.get("SQUALL_DATA")
    if not folder:
        if os.environ.get("CI") == "true":
            pytest.fail("SQUALL_DATA is not set; it names the folder of the public data sets")
        pytest.skip("SQUALL_DATA is not set")
    return Path(folder) / "feeds"


class Website:
    """A web server on a loopback address whose pages are functions of the request."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.hits.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                try:
                    site.pages.get(self.path.partition("?")[0], not_found)(self)
                except OSError:  # the crawler hung up, which is what some tests are about
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # a busy machine must not turn connections away

        self._server = Server((address, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://{address}:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def requests(self, path: str) -> list[dict[str, str]]:
        """The headers of the requests for one path, in order."""
        return [headers for hit, headers in self.hits if hit == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(
    body: bytes = b"", status: int = 200, headers: dict[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """A page that always says the same."""

    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return page


not_found = answer(b"no such page", 404)
