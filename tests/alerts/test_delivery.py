"""Slack, outbox and delivery: an accepted alert arrives once, in order, whatever Slack and the machine do."""

import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.delivery import Delivery
from alerts.metrics import Metrics
from alerts.outbox import Letter, Outbox, OutboxError
from alerts.slack import Slack, SlackRefused, SlackUnavailable
from bus.errors import ConfigError
from tests.alerts.slack_server import Answer, slack_server
from tests.services.ports import free_port, wait_until


def letter(name: str, kind: str = "opened") -> Letter:
    return Letter(f"key/{name}", kind, {"text": name, "blocks": []})


@contextmanager
def delivering(outbox: Outbox, url: str, registry: CollectorRegistry, *, pace: float = 0.01) -> Iterator[None]:
    stop = threading.Event()
    delivery = Delivery(outbox, Slack(url, timeout=1), Metrics(registry), pace=pace, first_pause=0.05)
    thread = threading.Thread(target=delivery.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until_empty(outbox: Outbox) -> None:
    wait_until(lambda: outbox.count("pending") == 0, 20, "everything is delivered")


def failures(registry: CollectorRegistry, reason: str) -> float | None:
    return registry.get_sample_value("squall_slack_failures_total", {"reason": reason})


def test_alerts_arrive_in_the_order_of_acceptance(outbox: Outbox) -> None:
    registry = CollectorRegistry()
    with slack_server() as slack, delivering(outbox, slack.url, registry):
        for i in range(5):
            outbox.accept([letter(f"{i}a"), letter(f"{i}b", "closed")])
        until_empty(outbox)
        assert slack.texts == [f"{i}{part}" for i in range(5) for part in "ab"]
    assert registry.get_sample_value("squall_alerts_delivered_total", {"state": "closed"}) == 5


@pytest.mark.parametrize(
    "trouble",
    [
        [(429, "rate_limited", {"Retry-After": "1"})],
        [500, 500, 500],
        [503, (502, "<html>bad gateway</html>"), 504],
        ["reset", "reset", "reset"],
        ["silence", "silence"],
        [(301, "", {"Location": "/login"}), (302, "", {"Location": "/login"}), (307, "", {"Location": "http://["})],
        [(200, "<html>Please log in</html>"), (200, ""), 201, 204],
        [(429, "", {"Retry-After": "soon"}), 500, "silence", "reset", (429, "", {"Retry-After": "0"}), 408],
    ],
)
def test_each_alert_is_taken_once_after_any_trouble(outbox: Outbox, trouble: list[Answer]) -> None:
    with slack_server(*trouble) as slack, delivering(outbox, slack.url, CollectorRegistry()):
        outbox.accept([letter("first"), letter("second")])
        until_empty(outbox)
        assert slack.texts == ["first", "second"]


def test_retry_after_is_honoured_even_across_a_restart(outbox: Outbox) -> None:
    registry = CollectorRegistry()
    with slack_server((429, "slow down", {"Retry-After": "2"})) as slack:
        outbox.accept([letter("a")])
        with delivering(outbox, slack.url, registry):
            wait_until(lambda: len(slack.requests) == 1 and failures(registry, "rate_limited") == 1, 5, "asked to wait")
        with delivering(outbox, slack.url, CollectorRegistry()):
            until_empty(outbox)
        (first, _), (second, _) = slack.requests
        assert second - first >= 1.9


def test_an_unreachable_slack_costs_nothing_but_time(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    registry, port = CollectorRegistry(), free_port()
    url = f"http://127.0.0.1:{port}/services/secret"
    outbox.accept([letter("a"), letter("b")])
    with caplog.at_level(logging.INFO), delivering(outbox, url, registry):
        wait_until(lambda: (failures(registry, "unreachable") or 0) >= 2, 15, "two attempts")
    assert outbox.count("pending") == 2
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "no answer (ConnectionRefusedError" in errors[0].message
    assert "kept and tried again" in errors[0].message
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ((404, "no_service"), "Set a new one as SQUALL_SLACK_WEBHOOK_URL"),
        ((403, "action_prohibited"), "webhook revoked"),
        ((410, "channel_is_archived"), "channel archived"),
        ((400, "invalid_blocks"), "kept as dead"),
    ],
)
def test_what_slack_refuses_for_good_blocks_no_other(
    outbox: Outbox, answer: tuple[int, str], advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    with slack_server(answer) as slack, delivering(outbox, slack.url, registry):
        outbox.accept([letter("bad"), letter("good")])
        until_empty(outbox)
        assert slack.texts == ["good"]
        assert len(slack.requests) == 2
    assert outbox.count("dead") == 1
    assert failures(registry, "refused") == 1
    assert f"{answer[0]} {answer[1]}" in caplog.text
    assert advice in caplog.text


def test_the_pace_is_kept(outbox: Outbox) -> None:
    with slack_server() as slack, delivering(outbox, slack.url, CollectorRegistry(), pace=0.3):
        outbox.accept([letter(str(i)) for i in range(4)])
        until_empty(outbox)
        times = [at for at, _ in slack.requests]
        assert all(later - earlier >= 0.29 for earlier, later in pairwise(times))


def test_a_key_is_accepted_once_for_ever(outbox: Outbox) -> None:
    assert outbox.accept([letter("a"), letter("a"), letter("b")]) == 2
    assert outbox.accept([letter("a")]) == 0
    with slack_server() as slack, delivering(outbox, slack.url, CollectorRegistry()):
        until_empty(outbox)
        assert outbox.accept([letter("a")]) == 0
        assert slack.texts == ["a", "b"]


def test_settled_alerts_are_forgotten_after_their_time_and_waiting_ones_never(outbox: Outbox) -> None:
    outbox.accept([letter("settled"), letter("waiting")])
    pending = outbox.next()
    assert pending
    outbox.delivered(pending.number)
    time.sleep(0.01)
    outbox.forget(days=0)
    assert not outbox.holds("key/settled")
    assert outbox.holds("key/waiting")


def test_an_alert_that_slack_took_is_not_posted_again_when_the_disk_fails(outbox: Outbox) -> None:
    class FullOnce(Outbox):
        full = True

        def delivered(self, number: int) -> None:
            if self.full:
                self.full = False
                raise OutboxError("disk is full")
            super().delivered(number)

    box = FullOnce(outbox._path)
    box.accept([letter("a")])
    with slack_server() as slack, delivering(box, slack.url, CollectorRegistry()):
        until_empty(box)
        assert slack.texts == ["a"]
    box.close()


def test_a_corrupt_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"garbage " * 4096)
    with pytest.raises(OutboxError, match=r"outbox\.db: file is not a database; move it away"):
        Outbox(tmp_path / "outbox.db")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="set another outbox"):
        Outbox(tmp_path / "file" / "outbox.db")


@pytest.mark.parametrize("url", ["", "hooks.slack.com/services/T/B/secret", "ftp://secret.example/x", "https://"])
def test_a_webhook_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="slack_webhook_url: expected https") as caught:
        Slack(url)
    assert "secret" not in str(caught.value)


def test_the_webhook_is_never_shown() -> None:
    slack = Slack(f"http://127.0.0.1:{free_port()}/services/secret")
    with pytest.raises(SlackUnavailable) as caught:
        slack.send({"text": "a"})
    assert "secret" not in f"{caught.value!r} {caught.value} {slack!r} {slack}"


def test_an_answer_that_is_no_http_is_unreachable_not_a_crash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"\x00\x01 nonsense\r\n\r\n")
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(SlackUnavailable, match=r"broken answer|no answer"):
            Slack(f"http://127.0.0.1:{port}/x", timeout=2).send({"text": "a"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (302, "", {"Location": "https://login.example/?then=/services/secret"}),
            "302, a redirect to login.example",
        ),
        ((303, "", {"Location": "/services/secret"}), "303, a redirect to a path of its own"),
        ((200, "<html>You asked for /services/secret. Please log in"), "200 and not the ok"),
    ],
)
def test_an_answer_of_somebody_else_says_what_to_do_and_shows_no_secret(answer: Answer, said: str) -> None:
    with slack_server(answer) as slack, pytest.raises(SlackUnavailable, match=re.escape(f"answered {said}")) as caught:
        Slack(slack.url).send({"text": "a"})
    assert "let this machine reach hooks.slack.com, or correct SQUALL_SLACK_WEBHOOK_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert slack.taken == []


def test_a_refusal_says_what_slack_said() -> None:
    with slack_server((400, "invalid_payload")) as slack, pytest.raises(SlackRefused, match="400 invalid_payload"):
        Slack(slack.url).send({"text": "a"})


PROCESS = """
import sys, threading
from pathlib import Path
from prometheus_client import CollectorRegistry
from alerts.delivery import Delivery
from alerts.metrics import Metrics
from alerts.outbox import Letter, Outbox
from alerts.slack import Slack

box = Outbox(Path(sys.argv[1]))
delivery = Delivery(box, Slack(sys.argv[2], timeout=30), Metrics(CollectorRegistry()), pace=0.02)
threading.Thread(target=delivery.run, args=(threading.Event(),), daemon=True).start()
for line in sys.stdin:
    box.accept([Letter(line.strip(), "opened", {"text": line.strip(), "blocks": []})])
    print(line.strip(), flush=True)
threading.Event().wait()
"""


def start(outbox: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(outbox), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def accept(process: subprocess.Popen[str], name: str) -> None:
    """Have the process accept an alert, and wait for its word that it has."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(name + "\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == name


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_killed_between_accept_and_deliver_it_is_still_delivered_once(tmp_path: Path) -> None:
    with slack_server(*[500] * 200) as slack:  # nothing can be delivered before the kill
        process = start(tmp_path / "outbox.db", slack.url)
        for name in ("a", "b", "c"):
            accept(process, name)
        kill(process)
        assert slack.taken == []
        slack.script.clear()

        process = start(tmp_path / "outbox.db", slack.url)
        accept(process, "a")  # a retry of what the killed one had accepted
        accept(process, "d")
        wait_until(lambda: len(slack.taken) >= 4, 20, "all four are delivered")
        time.sleep(0.3)
        kill(process)
        assert slack.texts == ["a", "b", "c", "d"]


def test_killed_at_random_moments_nothing_is_lost_and_one_kill_repeats_one_message_at_most(tmp_path: Path) -> None:
    names = [f"alert {i}" for i in range(40)]
    kills = 5
    with slack_server() as slack:
        for attempt in range(kills):
            process = start(tmp_path / "outbox.db", slack.url)
            for name in names[attempt * 8 : attempt * 8 + 8]:
                accept(process, name)
            time.sleep(0.05 * attempt)
            kill(process)
        process = start(tmp_path / "outbox.db", slack.url)
        wait_until(lambda: set(slack.texts) == set(names), 20, "all are delivered")
        time.sleep(0.3)
        kill(process)
        assert list(dict.fromkeys(slack.texts)) == names
        assert len(slack.texts) <= len(names) + kills
    with sqlite3.connect(tmp_path / "outbox.db") as connection:
        assert connection.execute("SELECT state, count(*) FROM alerts GROUP BY state").fetchall() == [("delivered", 40)]
    connection.close()
