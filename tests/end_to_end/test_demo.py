"""``squall up --demo`` as a new user meets it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.end_to_end.house import ROOT
from tests.services.ports import free_port


def test_the_demo_tells_of_a_spike_within_a_minute_and_later_of_its_end_and_nobody_else(
    tmp_path: Path,
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SQUALL_")}
    environment = clean | {"SQUALL_PAGE_PORT": str(free_port()), "SQUALL_METRICS_PORT": "0", "TMPDIR": str(tmp_path)}
    environment["SQUALL_SLACK_WEBHOOK_URL"] = "http://127.0.0.1:9/made-up-surges-are-nobodys-alarm"
    command = [sys.executable, "-m", "squall", "up", "--demo"]
    started = time.monotonic()
    demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    opened, said = 0.0, ""
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            said += line.decode()
            if "SPIKE OPENED  entity:DLF" in said and not opened:
                opened = time.monotonic() - started
            if "SPIKE CLOSED  entity:DLF" in said or time.monotonic() - started > 240:
                break
        children = psutil.Process(demo.pid).children()
    finally:
        demo.send_signal(signal.SIGINT)
        stopping = time.monotonic()
        demo.wait(20)
    assert 0 < opened < 60, said
    assert re.search(r"entity:DLF: \d.* negative articles within 1 h where .* is normal, from \d sources", said)
    assert re.search(r"    - .*DLF.* \(demo-", said), "its stories"
    assert "SPIKE CLOSED  entity:DLF" in said
    assert time.monotonic() - stopping < 10
    assert not [child for child in children if child.is_running()], "no orphan is left"
    assert not list(tmp_path.glob("squall-demo-*")), "the temporary folder is gone"
    assert "no Slack webhook" in said, "made-up surges are not posted, whatever the environment says"
