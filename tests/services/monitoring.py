"""A real Prometheus and a real Alertmanager with Squall's own configurations."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.services.ports import free_port, missing, wait_until

CONFIGURATIONS = Path(__file__).parents[2] / "alerts" / "prometheus"
GATEWAY = "http://alerts:8080/alertmanager"
STORAGE = ["--storage.tsdb.path=data"]
"""Prometheus' option."""


def program(*names: str) -> str:
    """The path of a program that is known by one of these names; skips (in CI fails) where there is none."""
    for name in names:
        if found := shutil.which(name):
            return found
    missing(f"no {names[0]}: install Debian's packages prometheus and prometheus-alertmanager")


@contextmanager
def alertmanager(folder: Path, gateway_port: int) -> Iterator[str]:
    """The address of an Alertmanager with Squall's own configuration, but for the gateway's address."""
    configuration = (CONFIGURATIONS / "alertmanager.yml").read_text()
    assert configuration.count(GATEWAY) == 1
    own = configuration.replace(GATEWAY, f"http://127.0.0.1:{gateway_port}/alertmanager")
    command = [program("alertmanager", "prometheus-alertmanager"), "--cluster.listen-address=", "--storage.path=data"]
    with running(folder, "alertmanager", own, command, 15) as address:
        yield address


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int], alertmanager: str) -> Iterator[str]:
    """The address of a Prometheus with Squall's own configuration and rules, but for the addresses of the roles.

    Args:
        ports: where each role serves its metrics.
        alertmanager: its address.
    """
    configuration: dict[str, Any] = yaml.safe_load((CONFIGURATIONS / "prometheus.yml").read_text())
    configuration["rule_files"] = [str(CONFIGURATIONS / "rules" / "*.yml")]
    configuration["scrape_configs"] = [
        {"job_name": role, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for role, port in ports.items()
    ]
    targets = [{"targets": [alertmanager.removeprefix("http://")]}]
    configuration["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
    with running(folder, "prometheus", yaml.safe_dump(configuration), [program("prometheus"), *STORAGE], 20) as address:
        yield address


@contextmanager
def running(folder: Path, name: str, configuration: str, command: list[str], seconds: float) -> Iterator[str]:
    """Run Prometheus or Alertmanager on a free loopback port and give its address, once it says that it is ready.

    Args:
        folder: created when missing; holds configuration and output, and is what the command's paths start from.
        seconds: that it may take until then.
    """
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yml").write_text(configuration)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    options = [f"--config.file={name}.yml", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen([*command, *options], cwd=folder, stdout=output, stderr=output)
    try:
        wait_until(lambda: _ready(address), seconds, f"{name} on port {port}, see {folder / f'{name}.log'}")
        yield address
    finally:
        process.terminate()
        process.wait()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready", timeout=1).status_code == 200
    except httpx.TransportError:
        return False
