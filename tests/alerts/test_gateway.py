"""The gateway turns spikes and Alertmanager's alerts into messages, each once."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from alerts.archive import Store
from alerts.gateway import Gateway, PayloadError, read_payload
from alerts.links import Links
from alerts.metrics import Metrics
from alerts.outbox import Letter, Outbox, OutboxError
from alerts.watch import GROUP, watch_spikes
from bus.embedded import EmbeddedLog
from bus.log import Record
from bus.messages import DeadLetter, SpikeEvent, decode, encode, utcnow
from bus.topics import DEAD, SPIKES
from tests.alerts.samples import NOON, minutes, scored, spike
from tests.services.ports import wait_until

LINKS = Links("http://desk.example", "http://grafana.example")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gateway(lite: Store, outbox: Outbox, registry: CollectorRegistry) -> Gateway:
    lite.save_scored([scored("a1", title="First Republic shares halve"), scored("a2", title="Deposits flee")])
    return Gateway(lite, outbox, LINKS, Metrics(registry), patience=0.2)


def bodies(outbox: Outbox) -> list[dict[str, Any]]:
    """The messages in the outbox, in order; it is empty afterwards."""
    found = []
    while pending := outbox.next():
        found.append(pending.body)
        outbox.delivered(pending.number)
    return found


def texts(outbox: Outbox) -> list[str]:
    return [body["text"] for body in bodies(outbox)]


def alert(status: str = "firing", fingerprint: str = "f1", **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": {"alertname": "NegativeNewsSpike", "kind": "spike", "evidence": "detector", **labels},
        "annotations": {
            "summary": "Negative news surges",
            "description": "9 articles",
            "runbook": "Read the stories.",
            "page": "/?series=entity%3AFirst",
            "dashboard": "/d/squall?var-series=x",
        },
        "startsAt": "2023-04-26T12:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": fingerprint,
    }


def payload(*alerts: dict[str, Any], status: str = "firing", **fields: Any) -> bytes:
    body = {
        "version": "4",
        "groupKey": '{}:{series="entity:First Republic"}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "gateway",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    }
    return msgspec.json.encode(body | fields)


def test_a_spikes_opening_and_closing_are_told_with_their_stories(gateway: Gateway, outbox: Outbox) -> None:
    gateway.spike(spike("opened"))
    gateway.spike(spike("closed", at=NOON + minutes(60), observed=0))

    opened, closed = bodies(outbox)
    assert opened["text"].startswith("🔴 Negative news surges: First Republic")
    assert "First Republic shares halve" in str(opened["blocks"])
    assert closed["text"].startswith("🟢 Back to normal: First Republic – The surge of negative news lasted 1 h")


def test_an_event_that_comes_again_is_recognised(gateway: Gateway, outbox: Outbox, registry: CollectorRegistry) -> None:
    for _ in range(3):
        gateway.spike(spike("opened"))
    assert len(texts(outbox)) == 1
    gateway.spike(spike("opened"))
    assert texts(outbox) == []
    assert registry.get_sample_value("squall_alerts_duplicates_total") == 3


def test_growth_is_told_when_the_peak_has_doubled(gateway: Gateway, outbox: Outbox) -> None:
    gateway.spike(spike("opened", observed=8))
    for minute, observed in enumerate([12, 15, 17, 18, 30, 34, 20], start=1):
        gateway.spike(spike("updated", observed=observed, at=NOON + minutes(minute)))

    told = texts(outbox)
    assert [text.split(" negative")[0].rsplit(" ", 1)[1] for text in told] == ["8", "17", "34"]


def test_a_spike_whose_opening_was_not_told_is_not_told_of_later(gateway: Gateway, outbox: Outbox) -> None:
    gateway.spike(spike("updated", observed=99))
    gateway.spike(spike("closed"))
    assert texts(outbox) == []


def test_without_slack_spikes_are_logged(lite: Store, caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway(lite, None, LINKS, Metrics(CollectorRegistry()), patience=0)
    with caplog.at_level("INFO"):
        gateway.spike(spike("opened"))
        gateway.alertmanager(read_payload(payload(alert(alertname="WorkerDown", kind="pipeline"))))
    assert "spike opened: entity:First Republic; 8 negative articles within 1 h" in caplog.text
    assert "alert: 🟠 Negative news surges – 9 articles (no Slack is set)" in caplog.text


def test_an_alertmanager_spike_is_the_same_message_with_the_archives_evidence(
    gateway: Gateway, outbox: Outbox, lite: Store
) -> None:
    lite.save_spikes([spike("opened")])
    fired = alert(series="entity:First Republic")
    gateway.alertmanager(read_payload(payload(fired)))
    lite.save_spikes([spike("closed", at=NOON + minutes(30))])
    gateway.alertmanager(read_payload(payload(fired | {"status": "resolved"}, status="resolved")))
    from_alertmanager = bodies(outbox)

    fresh = Outbox(outbox._path.with_name("other.db"))
    watched = Gateway(lite, fresh, LINKS, Metrics(CollectorRegistry()), patience=0)
    watched.spike(spike("opened"))
    watched.spike(spike("closed", at=NOON + minutes(30)))
    assert from_alertmanager == bodies(fresh)
    fresh.close()


def test_a_payload_that_is_sent_again_is_recognised(
    gateway: Gateway, outbox: Outbox, registry: CollectorRegistry, lite: Store
) -> None:
    lite.save_spikes([spike("opened")])
    one = alert(series="entity:First Republic")
    two = alert(alertname="WorkerDown", kind="pipeline", fingerprint="f2")
    for _ in range(3):
        gateway.alertmanager(read_payload(payload(one, two)))
    assert len(texts(outbox)) == 2
    assert registry.get_sample_value("squall_alerts_duplicates_total") == 4

    again = two | {"startsAt": "2023-04-26T15:00:00Z"}  # it fires anew
    gateway.alertmanager(read_payload(payload(one, again)))
    assert texts(outbox) == ["🟠 Negative news surges – 9 articles"]


def test_a_group_of_pipeline_alerts_is_one_message_for_each_status(gateway: Gateway, outbox: Outbox) -> None:
    alerts = [alert(fingerprint=f"f{i}", alertname="SourceSilent", kind="pipeline") for i in range(12)]
    alerts += [alert("resolved", fingerprint="f99", alertname="SourceSilent", kind="pipeline")]
    gateway.alertmanager(read_payload(payload(*alerts)))
    assert texts(outbox) == ["🟠 12 alerts", "🟢 Resolved: Negative news surges – 9 articles"]


def test_a_spike_that_the_archive_does_not_know_is_told_by_its_annotations(gateway: Gateway, outbox: Outbox) -> None:
    gateway.alertmanager(read_payload(payload(alert(series="topic:Nobody"))))
    (body,) = bodies(outbox)
    assert body["text"] == "🟠 Negative news surges – 9 articles"
    assert "<http://desk.example/?series=entity%3AFirst|Stories and chart>" in str(body["blocks"])
    assert "<http://grafana.example/d/squall?var-series=x|Grafana>" in str(body["blocks"])


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/series/all",
        "http://desk.example.evil.example/",
        "http://desk.example@evil.example/",
        "http://desk.example\\@evil.example/",
        "http://desk.example:8080/",
        "evil.example/",
        "javascript:alert(1)",
    ],
)
def test_a_link_that_leads_elsewhere_is_left_out(
    gateway: Gateway, outbox: Outbox, caplog: pytest.LogCaptureFixture, link: str
) -> None:
    fired = alert(alertname="WorkerDown", kind="pipeline")
    fired["annotations"] |= {"page": link, "dashboard": link}
    gateway.alertmanager(read_payload(payload(fired)))
    (body,) = bodies(outbox)
    assert body["text"] == "🟠 Negative news surges – 9 articles"
    assert "|" not in str(body["blocks"])
    assert f"alert WorkerDown: its link {link!r} is left out" in caplog.text


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/series/all", "http://desk.example/series/all"),
        ("//evil.example/", "http://desk.example//evil.example/"),
        ("http://desk.example/series/all", "http://desk.example/series/all"),
        ("http://grafana.example/d/other", "http://grafana.example/d/other"),
    ],
)
def test_a_link_to_the_page_or_to_grafana_is_made_absolute(
    gateway: Gateway, outbox: Outbox, link: str, target: str
) -> None:
    fired = alert(alertname="WorkerDown", kind="pipeline")
    fired["annotations"] |= {"page": link}
    gateway.alertmanager(read_payload(payload(fired)))
    assert f"<{target}|Stories and chart>" in str(bodies(outbox))


def test_a_surge_by_count_stands_beside_the_stories_of_the_hour(gateway: Gateway, outbox: Outbox, lite: Store) -> None:
    lite.save_spikes([spike("opened", series="topic:Macro")])  # of the detector: another matter
    lite.save_scored([scored("now", title="Inflation jumps again", at=utcnow() - timedelta(minutes=10))])
    counted = alert(series="topic:Macro", evidence="counts") | {"startsAt": utcnow().isoformat()}
    gateway.alertmanager(read_payload(payload(counted)))
    (body,) = bodies(outbox)
    assert body["text"] == "🟠 Negative news surges – 9 articles"
    assert "Inflation jumps again" in str(body["blocks"])


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `version`"),
        (payload(alert(), version="3"), "Invalid enum value '3' - at `$.version`"),
        (payload(alert(), status="burning"), "Invalid enum value 'burning'"),
        (payload(alert() | {"startsAt": "yesterday"}), "Invalid RFC3339"),
        (payload(alert() | {"labels": {"series": 3}}), "Expected `str`, got `int`"),
        (payload(alert() | {"fingerprint": None}), "Expected `str`, got `null`"),
        (b"\xff" * 10, "not a webhook payload"),
    ],
)
def test_nonsense_is_refused_with_the_place(body: bytes, complaint: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read_payload(body)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_fields_of_a_later_alertmanager_are_ignored() -> None:
    assert read_payload(payload(alert() | {"novelty": 1}, novelty={})).alerts[0].fingerprint == "f1"


@pytest.fixture
def watching(log: EmbeddedLog, gateway: Gateway) -> Iterator[Gateway]:
    """The watcher in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=watch_spikes, args=(log, gateway, stop, CollectorRegistry()))
    thread.start()
    yield gateway
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def publish(log: EmbeddedLog, *events: SpikeEvent) -> None:
    log.publish([Record(SPIKES, event.series, encode(event)) for event in events])


def until_read(log: EmbeddedLog) -> None:
    wait_until(lambda: log.lag(GROUP, SPIKES) == 0, 15, "every spike is accepted")


def test_spikes_of_the_log_reach_the_outbox(log: EmbeddedLog, watching: Gateway, outbox: Outbox) -> None:
    publish(log, spike("opened"), spike("closed", at=NOON + minutes(30)))
    until_read(log)
    assert [text[0] for text in texts(outbox)] == ["🔴", "🟢"]


def test_what_is_no_spike_is_put_aside(log: EmbeddedLog, watching: Gateway, outbox: Outbox) -> None:
    log.publish([Record(SPIKES, "bad", b"{nonsense")])
    publish(log, spike("opened"))
    until_read(log)
    assert len(texts(outbox)) == 1
    (entry,) = log.read_all(DEAD)
    letter = decode(entry.value, DeadLetter)
    assert (entry.key, letter.stage, letter.topic, letter.value) == ("bad", "alerts", SPIKES, b"{nonsense")


def test_an_outbox_that_cannot_be_written_leaves_the_spikes_on_the_log(
    log: EmbeddedLog, lite: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Outbox):
        failures = 2

        def accept(self, letters: Any) -> int:
            if self.failures:
                self.failures -= 1
                raise OutboxError("outbox: database or disk is full")
            return super().accept(letters)

    box, stop = Full(tmp_path / "outbox.db"), threading.Event()
    registry = CollectorRegistry()
    gateway = Gateway(lite, box, LINKS, Metrics(registry), patience=0)
    publish(log, spike("opened", articles=[]))
    thread = threading.Thread(target=watch_spikes, args=(log, gateway, stop, registry))
    thread.start()
    until_read(log)
    stop.set()
    thread.join(10)

    assert len(texts(box)) == 1
    assert registry.get_sample_value("squall_retries_total", {"group": "alerts", "reason": "store"}) == 2
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "alerts: outbox: database or disk is full; nothing is lost, the records wait and are tried again"
    ]
    box.close()


def test_a_group_is_accepted_whole_or_not_at_all(outbox: Outbox) -> None:
    good = Letter("a", "firing", {"text": "a"})
    with pytest.raises(TypeError):
        outbox.accept([good, Letter("b", "firing", {"text": object()})])
    assert outbox.count("pending") == 0
