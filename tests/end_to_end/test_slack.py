"""From news to a Slack message, with the real processes: by crawling, and by replay."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from squall.demo import STREAM, WATCHLIST
from squall.demo.build import SURGING
from tests.end_to_end.house import House
from tests.end_to_end.servers import NewsSite, Slack
from tests.end_to_end.streams import rows
from tests.services.ports import wait_until

SOURCES = ("herald", "ledger", "courier")


def sources_file(folder: Path, site: NewsSite) -> Path:
    """A sources.yml that crawls the local site."""
    entries = [
        f"  - {{name: {name}, url: '{site.url}/{name}.xml', language: en, interval: 2s, allow_private: true}}\n"
        for name in SOURCES
    ]
    file = folder / "sources.yml"
    file.write_text("sources:\n" + "".join(entries))
    return file


def test_a_surge_in_crawled_feeds_becomes_a_slack_message(tmp_path: Path) -> None:
    quiet = [row["title"] for row in rows(STREAM) if "DLF" not in row["title"]][:90]
    with NewsSite() as site, Slack() as slack:
        # Feeds that tell of the last day and a half, as a crawler meets them at its first look.
        for number, title in enumerate(quiet):
            at = datetime.now(UTC) - timedelta(minutes=20 + 24 * (len(quiet) - number))
            site.publish(SOURCES[number % 3], title, at)
        settings = {
            "sources": sources_file(tmp_path, site),
            "watchlist": WATCHLIST,
            "slack_webhook_url": f"{slack.url}/services/T/B/x",
        }
        with House(tmp_path, **settings) as house:
            house.start("up")
            page = f"http://127.0.0.1:{house.page_port}"
            wait_until(lambda: stored(page) == len(quiet), 90, "the quiet articles to be stored")
            for number, title in enumerate(SURGING[:9]):
                site.publish(SOURCES[number % 3], title)
            wait_until(lambda: any("DLF" in text for text in slack.texts()), 90, "Slack to hear")
        message = next(message for message in slack.messages if "DLF" in json.dumps(message))
        assert message["text"], "notifications show the top-level text"
        told = json.dumps(message, ensure_ascii=False)
        assert any(title in told for title in SURGING[:9]), "the stories that did it"
        assert f"{page}/" in told, "links to the page"
        assert f"{site.url}/" in told, "links to the stories"


def test_a_surge_in_a_replay_becomes_a_slack_message_and_then_its_end(tmp_path: Path) -> None:
    with Slack() as slack:
        settings = {"watchlist": WATCHLIST, "slack_webhook_url": f"{slack.url}/services/T/B/x", "sources": "none.yml"}
        with House(tmp_path, **settings) as house:
            house.start("up")
            page = f"http://127.0.0.1:{house.page_port}"
            wait_until(lambda: stored(page) == 0, 60, "the page to answer")
            house.run("replay", str(STREAM))
            wait_until(lambda: len(about_dlf(slack)) >= 2, 120, "opened and closed in Slack")
        opened, closed = about_dlf(slack)[:2]
        assert "DLF shares tumble 28%" in opened
        assert "is normal" in opened
        assert opened != closed


def about_dlf(slack: Slack) -> list[str]:
    return [text for text in slack.texts() if "entity:DLF" in text]


def stored(page: str) -> int:
    """Articles in the archive, as the page says; -1 while it does not answer."""
    try:
        return int(httpx.get(f"{page}/api/totals", timeout=5).json()["articles"])
    except (httpx.HTTPError, KeyError):
        return -1
