"""Prometheus rules and Alertmanager's configuration, read by promtool and amtool themselves."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services.ports import missing

Json = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "alerts" / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def tool(name: str, package: str, *arguments: str) -> str:
    """Run one of Debian's tools in the folder; its output when it is content."""
    if shutil.which(name) is None:
        missing(f"no {name}: install Debian's package {package}")
    done = subprocess.run([name, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules() -> list[Json]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[Json]:
    return [rule for rule in rules() if "alert" in rule]


def cases() -> list[Json]:
    return [case for file in TESTS for case in yaml.safe_load(file.read_text())["tests"]]


def test_prometheus_accepts_its_configuration() -> None:
    tool("promtool", "prometheus", "check", "config", "prometheus.yml")


def test_prometheus_accepts_the_rules() -> None:
    said = tool("promtool", "prometheus", "check", "rules", *map(str, RULES))
    assert said.count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_fire_and_keep_quiet_as_their_cases_say(file: Path) -> None:
    assert "SUCCESS" in tool("promtool", "prometheus", "test", "rules", str(file))


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_case_where_it_fires_and_one_where_it_is_quiet(rule: Json) -> None:
    firing = quiet = False
    for case in cases():
        for check in case.get("alert_rule_test", []):
            if check["alertname"] == rule["alert"]:
                firing, quiet = firing or bool(check["exp_alerts"]), quiet or not check["exp_alerts"]
        for check in case.get("promql_expr_test", []):
            if f'alertname="{rule["alert"]}"' in check["expr"]:
                firing, quiet = firing or bool(check["exp_samples"]), quiet or not check["exp_samples"]
    assert (firing, quiet) == (True, True)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_is_and_what_to_do(rule: Json) -> None:
    assert rule["labels"]["kind"] in ("spike", "pipeline")
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")
    assert {"summary", "description", "runbook"} <= rule["annotations"].keys()
    assert all(text.strip() for text in rule["annotations"].values())


def test_every_recording_is_used() -> None:
    expressions = " ".join(rule["expr"] for rule in rules())
    for rule in rules():
        if "record" in rule:
            assert expressions.count(rule["record"]) >= 1, rule["record"]


def test_every_job_that_a_rule_relies_on_is_scraped() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]}
    (role_up,) = [rule["expr"] for rule in rules() if rule.get("record") == "squall:role_up"]
    assert set(re.findall(r'absent\(up\{job="(\w+)"\}\)', role_up)) == jobs - {"prometheus", "alertmanager"}


def test_alertmanager_accepts_its_configuration() -> None:
    said = tool("amtool", "prometheus-alertmanager", "check-config", "alertmanager.yml")
    assert "2 receivers" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=NegativeNewsSpike", "kind=spike", "severity=critical", "series=all"], "gateway"),
        (["alertname=RoleDown", "kind=pipeline", "severity=critical"], "gateway"),
        (["alertname=CountsUnreliable", "kind=pipeline", "severity=none"], "nobody"),
    ],
)
def test_alerts_go_to_the_receiver_that_is_meant(labels: list[str], receiver: str) -> None:
    route = ("config", "routes", "test", "--config.file=alertmanager.yml", f"--verify.receivers={receiver}")
    assert tool("amtool", "prometheus-alertmanager", *route, *labels).splitlines()[0] == receiver


def test_spikes_are_grouped_by_series_and_sent_at_once() -> None:
    routes = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())["route"]["routes"]
    (spikes,) = [route for route in routes if route["matchers"] == ['kind="spike"']]
    assert spikes["group_by"] == ["series"]
    assert spikes["group_wait"] == "2s"


def test_inhibition_names_alerts_and_labels_that_exist() -> None:
    names = {rule["alert"] for rule in alerts()}
    labels = {f"{name}={text}" for rule in alerts() for name, text in rule["labels"].items()}
    for rule in yaml.safe_load((FOLDER / "alertmanager.yml").read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            name, value = re.fullmatch(r'(\w+)=~?"(.*)"', matcher).groups()  # type: ignore[union-attr]
            if name == "alertname":
                assert set(value.split("|")) <= names, matcher
            elif name in ("evidence", "explains"):
                assert f"{name}={value}" in labels, matcher
