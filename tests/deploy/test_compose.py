"""docker-compose.yml, checked as far as that goes without an engine."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from squall.cli import app
from squall.settings import METRICS_OFFSET, Settings, load
from tests.deploy.compose import FILE, ROOT, SECRETS, VARIABLE, compose, environment, roles, services
from tests.services.ports import missing

Json = dict[str, Any]

LOOPBACK = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    """The settings that a service's process loads."""
    monkeypatch.chdir(folder)
    for name, value in environment(service).items():
        if name.startswith("SQUALL_"):
            monkeypatch.setenv(name, value)
    return load()


def health_port(service: Json) -> int:
    test = service["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "/opt/squall/healthcheck.py"]
    return int(test[3])


def role_of(service: Json) -> str:
    (command,) = service["command"]
    return str(command)


def test_compose_accepts_it() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        missing("no docker-compose: install Debian's package docker-compose")
    command = [program, "-f", str(FILE), "--profile", "gpu", "config"]
    done = subprocess.run(command, env=SECRETS, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == services().keys()


def test_compose_refuses_to_start_without_passwords() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        missing("no docker-compose: install Debian's package docker-compose")
    for secret in SECRETS:
        rest = {name: value for name, value in SECRETS.items() if name != secret}
        done = subprocess.run(
            [program, "-f", str(FILE), "config", "-q"], env=rest, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "set it in .env" in done.stderr


def test_no_mapping_merges_twice() -> None:
    # PyYAML and Compose 1.29 take a second << for granted, Compose v2 refuses it.
    class Strict(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            merges = [key for key, _ in node.value if key.value == "<<"]
            assert len(merges) <= 1, node.start_mark
            super().flatten_mapping(node)

    yaml.load(FILE.read_text(), Strict)


def test_all_parts_are_there() -> None:
    stack = {"kafka", "postgres", "prometheus", "alertmanager", "grafana"}
    assert services().keys() == {"ingest", "worker", "worker-gpu", "trends", "alerts", "archive"} | stack


@pytest.mark.parametrize("name", services())
def test_every_service_restarts_and_is_checked(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", services())
def test_every_image_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-\w+)?", services()[name]["image"])


@pytest.mark.parametrize("name", roles())
def test_squalls_images_carry_the_version_of_the_project(name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert roles()[name]["image"].removesuffix("-gpu") == f"squall:{version}"


@pytest.mark.parametrize("name", services())
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in services()[name].get("ports", []):
        match = LOOPBACK.fullmatch(port)
        assert match, port
        assert match[1] == match[2], port


def test_a_service_that_scales_publishes_no_port() -> None:
    for name in ("worker", "worker-gpu", "trends", "archive"):
        assert not {"ports", "container_name"} & services()[name].keys()


@pytest.mark.parametrize("name", services())
def test_every_mount_exists(name: str) -> None:
    for mount in services()[name].get("volumes", []):
        source, target, *_ = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists(), mount
            assert mount.endswith(":ro"), mount
        else:
            assert source in compose()["volumes"], mount


@pytest.mark.parametrize("name", roles())
def test_every_command_exists(name: str) -> None:
    command = typer.main.get_command(app)
    assert role_of(roles()[name]) in command.commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", services())
def test_every_dependency_has_a_health_check_to_wait_for(name: str) -> None:
    for needed in services()[name].get("depends_on", []):
        assert "healthcheck" in services()[needed]


@pytest.mark.parametrize("name", roles())
def test_every_setting_exists(name: str) -> None:
    known = {f"SQUALL_{field.upper()}" for field in Settings.model_fields}
    assert '"SQUALL_LOG_LEVEL"' in (ROOT / "squall" / "cli.py").read_text()
    assert roles()[name]["environment"].keys() <= known | {"SQUALL_LOG_LEVEL"}


@pytest.mark.parametrize("name", roles())
def test_every_role_loads_its_settings_and_finds_its_neighbours(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_of(name, monkeypatch, tmp_path)

    kind, host, port = settings.log.split(":")
    assert (kind, host) == ("kafka", "kafka")
    assert f"INSIDE://{host}:{port}" in environment("kafka")["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://:{port}" in environment("kafka")["KAFKA_LISTENERS"].split(",")

    for file in (settings.sources, settings.watchlist):
        assert (ROOT / "deploy/config" / file.relative_to("/etc/squall")).is_file()
    assert settings.model_device == ("cuda" if name == "worker-gpu" else "cpu")


@pytest.mark.parametrize("name", roles())
def test_health_is_asked_on_the_port_that_the_role_serves(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, role = settings_of(name, monkeypatch, tmp_path), role_of(roles()[name])
    expected = settings.page_port if role == "alerts" else settings.metrics_port + METRICS_OFFSET[role]
    assert health_port(roles()[name]) == expected
    assert (settings.page_host if role == "alerts" else settings.metrics_host) == "0.0.0.0"


@pytest.mark.parametrize("job", ["ingest", "worker", "trends", "archive", "alerts"])
def test_prometheus_scrapes_the_port_that_the_role_serves(job: str) -> None:
    configuration = yaml.safe_load((ROOT / "alerts/prometheus/prometheus.yml").read_text())
    (scrape,) = [each for each in configuration["scrape_configs"] if each["job_name"] == job]
    (discovery,) = scrape["dns_sd_configs"]
    assert discovery["names"] == [job]
    assert discovery["port"] == health_port(roles()[job])


def test_gpu_workers_are_found_under_the_name_that_prometheus_scrapes() -> None:
    gpu = roles()["worker-gpu"]
    assert gpu["networks"]["default"]["aliases"] == ["worker"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["build"]["args"] == {"EXTRAS": "gpu,postgres"}
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_prometheus_and_alertmanager_find_each_other_and_the_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prometheus = yaml.safe_load((ROOT / "alerts/prometheus/prometheus.yml").read_text())
    assert prometheus["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    assert "127.0.0.1:9093:9093" in services()["alertmanager"]["ports"]

    settings = settings_of("alerts", monkeypatch, tmp_path)
    assert settings.alert_source == "alertmanager"
    receivers = yaml.safe_load((ROOT / "alerts/prometheus/alertmanager.yml").read_text())["receivers"]
    (webhook,) = [hook for receiver in receivers for hook in receiver.get("webhook_configs", [])]
    assert webhook["url"] == f"http://alerts:{settings.page_port}/alertmanager"


def test_the_files_that_prometheus_and_alertmanager_are_told_to_read_are_mounted() -> None:
    for name in ("prometheus", "alertmanager"):
        (option,) = [each for each in services()[name]["command"] if each.startswith("--config.file=")]
        path = Path(option.partition("=")[2])
        mounts = [mount.split(":") for mount in services()[name]["volumes"]]
        sources = [ROOT / m[0] for m in mounts if path.is_relative_to(m[1])]
        assert any((source / path.name if source.is_dir() else source).is_file() for source in sources), option


def test_grafana_finds_its_data_sources_and_dashboards() -> None:
    provisioning = ROOT / "dashboards" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources/squall.yml").read_text())["datasources"]
    urls = {source["name"]: source["url"] for source in sources}
    assert urls == {"Prometheus": "http://prometheus:9090", "PostgreSQL": "postgres:5432"}
    assert "${READER_PASSWORD}" in (provisioning / "datasources/squall.yml").read_text()
    assert environment("grafana")["READER_PASSWORD"] == environment("postgres")["READER_PASSWORD"]

    (postgres,) = [source for source in sources if source["name"] == "PostgreSQL"]
    assert postgres["jsonData"]["database"] == environment("postgres")["POSTGRES_DB"]
    assert f"CREATE ROLE {postgres['user']} LOGIN" in (ROOT / "deploy/postgres/10-reader.sh").read_text()

    (provider,) = yaml.safe_load((provisioning / "dashboards/squall.yml").read_text())["providers"]
    mounts = dict(mount.split(":")[1::-1] for mount in services()["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./dashboards/json"
    home = Path(environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / "dashboards/json" / home.name).is_file()


def test_the_archive_is_the_database_that_postgres_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sqlalchemy import make_url

    for name in ("archive", "alerts"):
        url = make_url(settings_of(name, monkeypatch, tmp_path).archive)
        made = environment("postgres")
        assert (url.username, url.password, url.database) == (
            made["POSTGRES_USER"],
            made["POSTGRES_PASSWORD"],
            made["POSTGRES_DB"],
        )
        assert (url.host, url.port) == ("postgres", 5432)


def test_what_people_reach_is_published_where_the_links_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_of("alerts", monkeypatch, tmp_path)
    assert settings.page_link == f"http://127.0.0.1:{settings.page_port}"
    assert f"127.0.0.1:{settings.page_port}:{settings.page_port}" in services()["alerts"]["ports"]
    assert f"127.0.0.1:{settings.push_port}:{settings.push_port}" in services()["ingest"]["ports"]
    assert settings.grafana_url == "http://127.0.0.1:3000"
    assert "127.0.0.1:3000:3000" in services()["grafana"]["ports"]


def test_every_variable_is_in_the_example_and_the_other_way_round() -> None:
    asked = {match[1] for match in VARIABLE.finditer(FILE.read_text())}
    passed = {
        name for service in services().values() for name, v in service.get("environment", {}).items() if v is None
    }
    told = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert told == asked | passed
