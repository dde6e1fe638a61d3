"""The page in a real browser: it keeps itself current, looks right on a telephone, and runs no foreign script."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from alerts.archive import Store
from bus.embedded import EmbeddedLog
from tests.alerts.samples import NOON, minutes, scored, spike
from tests.alerts.test_service import Role, role
from tests.services.ports import missing

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium") or missing("no Chromium")
    os.environ.setdefault("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--no-first-run"]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def running(log: EmbeddedLog, lite: Store, tmp_path: Path) -> Iterator[Role]:
    lite.save_scored(
        [scored(f"a{i}", at=NOON - minutes(i * 20), entities=["First Republic"], topic="Financials") for i in range(60)]
    )
    with role(log, lite, tmp_path) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose every complaint, a refused script among them, fails the test; but for a server that is gone."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    yield opened
    opened.close()
    assert [complaint for complaint in complaints if "ERR_CONNECTION_REFUSED" not in complaint] == []


def test_a_spike_appears_without_reloading_and_goes_again(page: Page, running: Role, lite: Store) -> None:
    page.goto(running.url)
    expect(page.locator("#spikes")).to_contain_text("No spike is open")

    lite.save_spikes([spike(articles=["a1", "a2"])])
    expect(page.locator("#spikes h1")).to_have_text("1 open spike", timeout=10_000)
    expect(page.locator("#spikes")).to_contain_text("8 negative articles within 1 h where 0.9 is normal")
    expect(page).to_have_title("(1) Squall")

    lite.save_spikes([spike("closed", at=NOON + minutes(30))])
    expect(page.locator("#spikes")).to_contain_text("No spike is open", timeout=10_000)
    expect(page.locator("#closed")).to_contain_text("First Republic")


def test_a_reader_goes_from_a_spike_to_its_stories_and_corrects_one(page: Page, running: Role, lite: Store) -> None:
    lite.save_spikes([spike(articles=["a1", "a2"])])
    page.goto(running.url)
    page.locator("#spikes h2 a").click()
    expect(page.locator("h1")).to_have_text("First Republic")
    page.get_by_text("the whole series").click()
    page.locator(".chart.wide a:has(.bar)").last.click()
    expect(page.locator("#stories h2")).to_contain_text("26 Apr 2023 12:00 UTC")

    row = page.locator("#article-a0")
    row.get_by_text("Wrong label?").click()
    row.get_by_role("button", name="neutral").click()
    expect(page.locator("#article-a0")).to_contain_text("corrected: neutral")
    assert [(label.article, label.new) for label in lite.read.labels()] == [("a0", "neutral")]


def test_an_open_form_stays_open_while_the_page_renews_itself(page: Page, running: Role, lite: Store) -> None:
    page.goto(running.url)
    page.locator("#correct-a0 summary").click()
    lite.save_scored([scored("new", title="Something new", at=NOON + minutes(1))])
    page.locator("h2").first.click()  # let go of the focus
    expect(page.locator("#latest")).to_contain_text("Something new", timeout=10_000)
    expect(page.locator("#correct-a0")).to_have_attribute("open", "")


def test_hostile_titles_run_nothing(page: Page, running: Role, lite: Store) -> None:
    title = '"><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>'
    lite.save_scored(
        [scored("x", title=title, summary=title, source=title, entities=[title], url="javascript:alert(4)")]
    )
    lite.save_spikes([spike(series=f"entity:{title}", articles=["x"], sources={title: 3})])
    for path in ("/", "/search?q=script", "/articles/x"):
        page.goto(running.url + path)
        expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
        page.wait_for_timeout(200)
    page.goto(running.url)
    page.locator("#spikes h2 a").click()
    expect(page.locator("h1")).to_contain_text("onerror")


@pytest.mark.parametrize(
    "path", ["/", "/series/entity:First%20Republic?range=7d", "/spikes/{spike}", "/search?q=headline", "/articles/a0"]
)
def test_nothing_sticks_out_of_a_narrow_window(page: Page, running: Role, lite: Store, path: str) -> None:
    lite.save_scored(
        [scored("long", title="W" * 300, source="s" * 80, entities=["A name of many words, and then some"])]
    )
    lite.save_spikes([spike(articles=["a1", "long"])])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(running.url + path.format(spike=spike().id))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    size = page.evaluate(
        "parseFloat(getComputedStyle(document.querySelector('.chart.narrow text') || document.body).fontSize)"
    )
    assert size >= 10


def test_all_of_it_can_be_read_without_javascript(browser: Browser, running: Role, lite: Store) -> None:
    lite.save_spikes([spike(articles=["a1", "a2"])])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(running.url)
    expect(page.locator("#spikes h1")).to_have_text("1 open spike")
    page.locator("#mood a", has_text="Financials").click()
    page.locator(".chart.wide a:has(.bar)").first.click()
    expect(page.locator("#stories")).to_contain_text("Headline a")
    page.locator("#q").fill("headline a7")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("with “headline a7”")
    page.locator("details summary").first.click()
    page.get_by_role("button", name="positive").first.click()
    expect(page.locator(".corrected")).to_have_text("corrected: positive")
    context.close()


def test_a_page_whose_server_goes_away_says_so(page: Page, log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    with role(log, lite, tmp_path) as started:
        page.goto(started.url)
        expect(page.locator("#liveness")).to_have_text("Updates by itself.", timeout=10_000)
        started.end()
        expect(page.locator("#liveness")).to_have_text("Squall does not answer. Trying again.", timeout=10_000)
        page.goto("about:blank")
