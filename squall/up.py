"""``squall up``: every role on one machine under the supervisor, and what the terminal shows of it."""

import logging
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bus.errors import ConfigError, SquallError
from bus.log import Log
from bus.messages import SpikeEvent, decode, utcnow
from bus.topics import SPIKES
from squall.commands.context import open_log
from squall.roles import ROLES
from squall.settings import METRICS_OFFSET, Settings, load
from squall.supervisor import Supervisor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often the terminal looks for new spikes."""

STORY_SECONDS = 3.0
"""How long the terminal waits for the archive to know a spike's stories."""


def run_up(settings: Settings, origin: tuple[Path | None, dict[str, Any]]) -> None:
    """Run every role until Ctrl-C or SIGTERM.

    Args:
        origin: the configuration file and the overrides that the settings came from; the roles get the same.
    """
    config, overrides = origin
    options = [f"--config={config}"] if config else []
    options += [f"--set={name}={value}" for name, value in overrides.items()]
    check_ports(settings)
    stop = _stop_on_signals()
    with open_log(settings) as log:
        _announce(settings)
        _background(_narrate, log, settings, stop)
        Supervisor({name: [*options, name] for name in ROLES}).run(stop)
    print("squall: stopped", flush=True)


def run_demo(origin: tuple[Path | None, dict[str, Any]], keep: Path | None) -> None:
    """Run every role on the bundled stream, in a folder of its own that goes away afterwards unless kept."""
    from squall.demo import WATCHLIST

    folder = keep or Path(tempfile.mkdtemp(prefix="squall-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "log.db").exists():
        raise ConfigError(f"{folder}: holds a log already; give --keep a new folder, the demo starts from nothing")
    config, overrides = origin
    overrides = overrides | {
        "home": str(folder),
        "log": "sqlite:log.db",
        "archive": "sqlite:///archive.db",
        "outbox": "outbox.db",
        "spool": "spool",
        "watchlist": str(WATCHLIST),
        "sources": "none.yml",
        "push_tokens": "",
        "sensitivity": "balanced",
        "horizons_minutes": "60,360",
        "lateness_minutes": "15",
        "alert_source": "log",
        "slack_webhook_url": "",  # made-up surges are nobody's alarm
    }
    settings = load(config, **overrides)
    try:
        _background(_replay_demo, settings)
        run_up(settings, (config, overrides))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _replay_demo(settings: Settings) -> None:
    """Publish the bundled stream, shifted so that it ends now: history flat out, the surge at a readable pace."""
    from ingest.replay import replay
    from squall.demo import DAYS, PACED_FROM, SPEED, START, STREAM

    shift = utcnow() - (START + timedelta(days=DAYS))
    print("squall: demo: real headlines of SEntFiN with made-up times and sources; three days end now", flush=True)
    try:
        with open_log(settings) as log:
            report = replay(log, [STREAM], speed=SPEED, shift=shift, paced_from=PACED_FROM)
        print(f"squall: demo: the stream has ended ({report}); Ctrl-C stops", flush=True)
    except SquallError as error:
        logger.error("demo: %s", error)


def check_ports(settings: Settings) -> None:
    """Refuse to start on ports that are taken. Raises ConfigError naming the setting."""
    import socket

    wanted = [("page_port", settings.page_host, settings.page_port)]
    if settings.metrics_port:
        for name, offset in METRICS_OFFSET.items():
            wanted.append((f"metrics_port (+{offset}, {name})", settings.metrics_host, settings.metrics_port + offset))
    if settings.push_tokens:
        wanted.append(("push_port", settings.push_host, settings.push_port))
    for setting, host, port in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ConfigError(
                    f"{setting}: {host}:{port} cannot be listened on ({error.strerror}); does Squall run already?"
                    " Another port can be set in squall.toml or the environment (docs/settings.md)"
                ) from error


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _background(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True).start()


def _announce(settings: Settings) -> None:
    slack = "posting to Slack" if settings.slack_webhook_url else "no Slack webhook, alerts show here and on the page"
    print(f"squall: the page is at {settings.page_link} ({slack}); Ctrl-C stops", flush=True)


def _narrate(log: Log, settings: Settings, stop: threading.Event) -> None:
    """Print each spike as it opens, grows or closes, with its reason and stories."""
    try:
        position = log.ends(SPIKES)[0]
        while not stop.wait(LOOK_SECONDS):
            for entry in log.read(SPIKES, 0, position):
                position = entry.offset + 1
                print(describe(event := decode(entry.value, SpikeEvent), _stories(settings, event, stop)), flush=True)
    except SquallError as error:
        logger.error("the terminal shows no spikes any more: %s", error)


def describe(event: SpikeEvent, stories: Sequence[str]) -> str:
    """A spike event as the terminal shows it."""
    lines = [f"\n{event.at:%Y-%m-%d %H:%M} UTC  SPIKE {event.state.upper()}  {event.series}: {event.reason}"]
    if event.state != "closed":
        lines += [f"    - {story}" for story in stories]
    return "\n".join(lines)


def _stories(settings: Settings, event: SpikeEvent, stop: threading.Event) -> list[str]:
    """The distinct stories of a spike, those with most sources first, as far as the archive has them by now."""
    from alerts.archive.store import Store
    from alerts.evidence import gather
    from alerts.links import Links

    with Store(settings.archive_url) as store:
        evidence = gather(store, event, Links(settings.page_link), patience=STORY_SECONDS, stop=stop)
    return [f"{story.first.title} ({', '.join(story.sources)})" for story in evidence.stories[:5]]
