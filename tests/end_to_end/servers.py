"""Local HTTP servers for end-to-end tests: a news site with feeds, and one that stands for Slack."""

import json
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape


class _Server:
    """A loopback server in a thread; ended by leaving the block."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.get(self)

            def do_POST(self) -> None:
                outer.post(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def get(self, request: BaseHTTPRequestHandler) -> None:
        answer(request, 404, "text/plain", b"")

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        answer(request, 404, "text/plain", b"")

    def __enter__(self) -> Any:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


class NewsSite(_Server):
    """Serves one RSS feed for each source at ``/<source>.xml``; articles can be added while it runs.

    Args:
        shown: how many of a source's newest articles its feed shows.
    """

    def __init__(self, shown: int = 1_000) -> None:
        super().__init__()
        self._shown = shown
        self._items: dict[str, list[tuple[str, datetime]]] = {}

    def publish(self, source: str, title: str, at: datetime | None = None) -> None:
        self._items.setdefault(source, []).append((title, at or datetime.now(UTC)))

    def get(self, request: BaseHTTPRequestHandler) -> None:
        source = request.path.strip("/").removesuffix(".xml")
        if source not in self._items:
            answer(request, 404, "text/plain", b"no such feed")
            return
        items = "".join(
            f"<item><title>{escape(title)}</title><link>{self.url}/{source}/{number}</link>"
            f"<pubDate>{format_datetime(at)}</pubDate></item>"
            for number, (title, at) in list(enumerate(self._items[source]))[-self._shown :]
        )
        feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>{source}</title>{items}</channel></rss>'
        answer(request, 200, "application/rss+xml", feed.encode())


class Slack(_Server):
    """Stands for Slack's incoming webhooks, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self._times: list[float] = []

    def post(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self._times.append(time.time())
        self.messages.append(json.loads(body))
        answer(request, 200, "text/plain", b"ok")

    def texts(self) -> list[str]:
        """Each message as one text, blocks included."""
        return [json.dumps(message, ensure_ascii=False) for message in self.messages]

    def timed(self) -> list[tuple[float, dict[str, Any]]]:
        """Each message with the time at which it came."""
        return list(zip(self._times, self.messages, strict=False))
