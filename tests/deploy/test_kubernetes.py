"""The Kubernetes base: it renders, fits the API's schemas, and agrees with the program and with docker-compose.yml."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from bus.topics import ARTICLES
from squall.roles import ROLES
from squall.settings import METRICS_OFFSET, Settings
from stream_worker.worker import GROUP
from tests.services.ports import missing

ROOT = Path(__file__).parents[2]
API = "1.32"
"""The oldest version of Kubernetes that is supported now."""

OWN = "SQUALL_"
WORKLOADS = ("Deployment", "StatefulSet")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> list[Json]:
    """What ``kubectl apply -k deploy`` would send."""
    if shutil.which("kubectl") is None:
        missing("no kubectl: install it, or Debian's package kubernetes-client")
    done = subprocess.run(["kubectl", "kustomize", "deploy"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def roles(objects: list[Json]) -> dict[str, Json]:
    """By role, its workload."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in WORKLOADS}


def container(workload: Json) -> Json:
    (one,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(one)


def named(objects: list[Json], kind: str) -> list[Json]:
    return [each for each in objects if each["kind"] == kind]


def test_every_object_fits_the_schema_of_its_kind(objects: list[Json]) -> None:
    for each in objects:
        if each["kind"] != "ScaledObject":  # KEDA's own
            kubernetes_validate.validate(each, API, strict=True)
        assert each["metadata"].get("namespace", "squall") == "squall"


def test_every_role_of_the_program_runs(roles: dict[str, Json]) -> None:
    assert set(roles) == set(ROLES)
    for name, workload in roles.items():
        assert container(workload)["args"] == [name]


def test_every_variable_is_a_setting_that_takes_its_value(objects: list[Json], roles: dict[str, Json]) -> None:
    (shared,) = [each["data"] for each in named(objects, "ConfigMap") if "SQUALL_LOG" in each["data"]]
    for name, workload in roles.items():
        own = {each["name"]: each.get("value") for each in container(workload).get("env", ())}
        given = {key.removeprefix(OWN).lower(): value for key, value in (shared | own).items()}
        assert given.keys() <= Settings.model_fields.keys(), name
        Settings(**{key: value for key, value in given.items() if value is not None})


def test_every_role_is_asked_for_its_health_where_it_serves_it(roles: dict[str, Json]) -> None:
    for name, workload in roles.items():
        one = container(workload)
        ports = {each["name"]: each["containerPort"] for each in one["ports"]}
        expected = 9100 + METRICS_OFFSET[name] if name in METRICS_OFFSET else 8080
        assert ports["metrics"] == expected
        scraped = workload["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
        assert scraped == str(expected)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert one[probe]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_no_role_may_do_or_take_more_than_it_needs(roles: dict[str, Json]) -> None:
    for workload in roles.values():
        pod, one = workload["spec"]["template"]["spec"], container(workload)
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert one["securityContext"]["readOnlyRootFilesystem"]
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
        assert "memory" in one["resources"]["limits"]
        assert {each["name"] for each in one["volumeMounts"]} <= volumes(workload)


def volumes(workload: Json) -> set[str]:
    """The names of a workload's volumes."""
    claimed = workload["spec"].get("volumeClaimTemplates", ())
    return {each["name"] for each in workload["spec"]["template"]["spec"]["volumes"]} | {
        each["metadata"]["name"] for each in claimed
    }


def test_what_must_outlive_a_pod_lies_on_a_volume(roles: dict[str, Json]) -> None:
    for name, variable in (("ingest", "SQUALL_SPOOL"), ("alerts", "SQUALL_OUTBOX"), ("worker", "SQUALL_REGISTRY")):
        one = container(roles[name])
        (path,) = [each["value"] for each in one["env"] if each["name"] == variable]
        (mount,) = [each for each in one["volumeMounts"] if path.startswith(each["mountPath"])]
        assert mount["name"] not in ("scratch", "files")


def test_selectors_meet_their_pods_and_volumes_their_maps(objects: list[Json], roles: dict[str, Json]) -> None:
    pods = [workload["spec"]["template"]["metadata"]["labels"] for workload in roles.values()]
    selectors = [each["spec"]["selector"] for each in named(objects, "Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in named(objects, "PodDisruptionBudget")]
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1
    (files,) = [each for each in named(objects, "ConfigMap") if "sources.yml" in each["data"]]
    for workload in roles.values():
        mounted = [each["configMap"]["name"] for each in workload["spec"]["template"]["spec"]["volumes"][:1]]
        assert mounted == [files["metadata"]["name"]]


def test_workers_scale_by_their_lag_up_to_the_partitions(objects: list[Json], roles: dict[str, Json]) -> None:
    (scaled,) = named(objects, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    target = scaled["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (roles["worker"]["kind"], "worker")
    assert (trigger["metadata"]["topic"], trigger["metadata"]["consumerGroup"]) == (ARTICLES, GROUP)
    (shared,) = [each["data"] for each in named(objects, "ConfigMap") if "SQUALL_LOG" in each["data"]]
    assert scaled["spec"]["maxReplicaCount"] == int(shared["SQUALL_PARTITIONS"])
    assert f"kafka:{trigger['metadata']['bootstrapServers']}" == shared["SQUALL_LOG"]


def test_the_image_is_the_one_that_compose_builds(roles: dict[str, Json]) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert {container(workload)["image"] for workload in roles.values()} == {compose["services"]["worker"]["image"]}
