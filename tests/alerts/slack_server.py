"""A stand-in for Slack: a real local HTTP server that answers what its script says, then 200 ok."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = int | str | tuple[int, str] | tuple[int, str, dict[str, str]]
"""A status; a status with body (and headers); or "reset" or "silence": no answer at all."""

SILENCE = 3.0
"""Seconds of "silence": longer than the time-out that the tests give the client."""


class SlackServer:
    """Keeps what it was sent, and what it took: requests that it answered with 200 and ok."""

    def __init__(self, script: Sequence[Answer]) -> None:
        self.script = list(script)
        self.requests: list[tuple[float, dict[str, Any]]] = []
        self.taken: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(stand_in.next_answer(body), body)

            def do_GET(self) -> None:
                """Where a redirect would lead: what is there is content with everything."""
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def _answer(self, answer: Answer, body: dict[str, Any]) -> None:
                if answer == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                if answer == "silence":
                    time.sleep(SILENCE)
                    return
                status, text, headers = _parts(answer)
                if (status, text) == (200, "ok"):
                    stand_in.taken.append(body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/T0/B0/secret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next_answer(self, body: dict[str, Any]) -> Answer:
        with self._lock:
            self.requests.append((time.monotonic(), body))
            return self.script.pop(0) if self.script else 200

    @property
    def texts(self) -> list[str]:
        """The texts of the messages that were taken, in order."""
        return [body["text"] for body in self.taken]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _parts(answer: Answer) -> tuple[int, str, dict[str, str]]:
    if isinstance(answer, tuple):
        return (*answer, {})[:3] if len(answer) == 2 else answer
    assert isinstance(answer, int), f"no such answer: {answer!r}"
    return answer, "ok" if answer == 200 else "error", {}


@contextmanager
def slack_server(*script: Answer) -> Iterator[SlackServer]:
    """A running stand-in with a script."""
    server = SlackServer(script)
    try:
        yield server
    finally:
        server.close()
