"""``squall dashboards``: build, check, and push to a small HTTP server that stands for Grafana's API."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards.build import write
from squall.cli import app
from tests.services.ports import free_port

TOKEN = "glsa_a-token-of-the-test"


class Grafana(ThreadingHTTPServer):
    """Takes dashboards as Grafana does: 401 without the token, else the uid; or what the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.saved: list[tuple[str, dict[str, Any]]] = []
        self.instead: tuple[int, str, str] | None = None
        """Status, content type and body of every answer, whatever is asked."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Grafana

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.instead:
            self._answer(*self.server.instead)
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, "application/json", '{"message": "Invalid API key"}')
        else:
            self.server.saved.append((self.path, body))
            answer = {"status": "success", "uid": body["dashboard"]["uid"], "url": "/d/squall/squall"}
            self._answer(200, "application/json", json.dumps(answer))

    def _answer(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    server = Grafana()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SQUALL_GRAFANA_TOKEN", TOKEN)
    monkeypatch.setenv("SQUALL_PAGE_URL", "https://squall.example.org/")


def run(*arguments: str) -> str:
    """Run a command; its output, or what it says when it fails."""
    result = CliRunner().invoke(app, ["dashboards", *arguments])
    return str(result.exception) if result.exception else result.output


def test_push_sends_the_committed_dashboard_with_the_page_of_the_settings(grafana: Grafana) -> None:
    assert run("push", "--url", grafana.url) == f"{grafana.url}/d/squall\n"

    ((path, body),) = grafana.saved
    assert path == "/api/dashboards/db"
    assert body["overwrite"] is True
    assert body["dashboard"]["uid"] == "squall"
    constants = [v["query"] for v in body["dashboard"]["templating"]["list"] if v["name"] == "page"]
    assert constants == ["https://squall.example.org"]


def test_push_goes_under_the_path_that_grafana_is_served_under(
    grafana: Grafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUALL_GRAFANA_URL", f"{grafana.url}/grafana")
    assert run("push") == f"{grafana.url}/grafana/d/squall\n"
    assert grafana.saved[0][0] == "/grafana/api/dashboards/db"


def test_a_refused_token_is_one_clear_line_that_hides_it(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUALL_GRAFANA_TOKEN", "glsa_wrong")
    said = run("push", "--url", grafana.url)
    assert said == f"{grafana.url}: Grafana refuses the token (401); grafana_token must be a service account's"


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (403, "application/json", '{"message": "Access denied"}', "Access denied (403): the token's service account"),
        (
            400,
            "application/json",
            '{"message": "Cannot save provisioned dashboard"}',
            "reads the dashboard from a file",
        ),
        (412, "application/json", '{"message": "version-mismatch"}', "Grafana answered 412: version-mismatch"),
        (500, "text/plain", "database is locked", "Grafana answered 500"),
        (200, "text/html", "<h1>Log in</h1>", "something answers there, but not as Grafana does"),
        (200, "application/json", "{", "not as Grafana does"),
    ],
)
def test_what_grafana_does_not_take_is_one_clear_line(
    grafana: Grafana, status: int, kind: str, body: str, said: str
) -> None:
    grafana.instead = (status, kind, body)
    answer = run("push", "--url", grafana.url)
    assert answer.startswith(grafana.url)
    assert said in answer
    assert "\n" not in answer


def test_nobody_listening_is_one_clear_line() -> None:
    port = free_port()
    said = run("push", "--url", f"http://127.0.0.1:{port}")
    assert said.startswith(f"http://127.0.0.1:{port}: Grafana does not answer")
    assert "grafana_url" in said


def test_an_address_without_scheme_is_named() -> None:
    assert run("push", "--url", "grafana:3000") == "'grafana:3000': grafana_url must start with http:// or https://"


def test_push_without_address_or_token_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "SQUALL_GRAFANA_URL" in run("push")
    monkeypatch.delenv("SQUALL_GRAFANA_TOKEN")
    assert "SQUALL_GRAFANA_TOKEN" in run("push", "--url", "http://127.0.0.1:1")


def test_build_and_check_agree(tmp_path: Path) -> None:
    assert run("build", "--folder", str(tmp_path)) == f"{tmp_path / 'squall.json'}\n"
    assert run("check", "--folder", str(tmp_path)) == "dashboards are current\n"


def test_check_names_what_is_not_current(tmp_path: Path) -> None:
    (path,) = write(tmp_path)
    path.write_text("{}")
    assert run("check", "--folder", str(tmp_path)) == f"not current: {path}; run 'squall dashboards build'"
