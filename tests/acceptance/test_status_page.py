"""The status page in a real Chromium: live, by keyboard alone, for screen readers, in the dark, without JavaScript."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from playwright.sync_api import expect

from sandbox.valkey import Valkey
from tests.browser import chromium, console_of, tab
from tests.commands import CLOSED, fails, job, opens, queue
from tests.npm import installed
from tests.web import ACCOUNTS, OPS, serving, web_app
from worker.errors import AccountRefused
from worker.health import Sign
from worker.jobs import JobState
from worker.ledger import Ledger
from worker.rate_limit import plan_of
from worker.redis_store import RedisStore
from worker.settings import Settings
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SEEN_MS: Final = 20_000
"""How long something may take to show: two polls and a slow machine."""

REVOKED: Final = AccountRefused(
    "the app key is not valid", code="Unauthorized", status=401, hint="check the app key", request_id="req-1"
)
LONG: Final = "night-" + "x" * 90


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """One of its own, which may be killed."""
    with Valkey(tmp_path / "valkey") as started:
        yield started


@pytest.fixture
def store(valkey: Valkey) -> Iterator[RedisStore]:
    store = RedisStore(valkey.url)
    yield store
    store.close()


@pytest.fixture
def ledger(store: RedisStore) -> Ledger:
    return Ledger(store, "default")


@pytest.fixture
def url(valkey: Valkey, tmp_path: Path) -> Iterator[str]:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(ACCOUNTS)
    with serving(web_app(Settings(redis_url=valkey.url, accounts_file=accounts))) as web:
        yield str(web.base_url)


@pytest.fixture
def trouble(store: RedisStore, ledger: Ledger) -> None:
    """One account drains with dead letters, one is suspended, one is paused."""
    queue(ledger, LONG, range(1, 31))
    for number in range(1, 24):
        fails(ledger, job(number), CLOSED)
    queue(ledger, "day", range(31, 35))
    ledger.beat("w1")
    plan = plan_of("50/second;1000/minute")
    bucket = TokenBucket(store, "default", plan)
    for _ in range(3):
        bucket.hit()
    TokenBucket(store, "acc", plan).report(Sign.REFUSED, 0.0, REVOKED)
    TokenBucket(store, "slow", plan_of("6/minute")).hold("root@ops")


def sign_in(page: Page, url: str) -> None:
    """As a person without a mouse does."""
    page.goto(url)
    expect(page.get_by_label("API token")).to_be_focused()
    page.keyboard.type(OPS)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Status")).to_be_visible()


def tab_to(page: Page, text: str) -> None:
    """Presses the tab key until what has this text has the focus, and sees that each stop shows it."""
    for _ in range(200):
        page.keyboard.press("Tab")
        focused: dict[str, Any] = page.evaluate(
            """() => { const at = document.activeElement, style = getComputedStyle(at);
            return { text: at.textContent, seen: style.outlineStyle !== "none", tag: at.tagName }; }"""
        )
        if focused["tag"] == "BODY":
            continue  # the end of the page: on from its beginning
        assert focused["seen"], f"the focus is not seen on {focused}"
        if text in focused["text"] and focused["tag"] in {"A", "BUTTON", "SUMMARY"}:
            return
    raise AssertionError(f"the tab key does not lead to {text}")


def barriers(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    folder = installed(Path(__file__).parent / "axe")
    page.evaluate((folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("() => axe.run(document, { resultTypes: ['violations', 'incomplete'] })")
    assert len(found["passes"]) > 5
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


def overflows(page: Page) -> bool:
    """Whether the page must be scrolled sideways."""
    return bool(page.evaluate("() => document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth"))


@pytest.mark.usefixtures("trouble")
def test_it_follows_what_happens_and_keeps_focus_open_details_and_place(
    browser: Browser, url: str, ledger: Ledger
) -> None:
    with tab(browser) as (page, said):
        sign_in(page, url)
        page.locator("#account-acc").scroll_into_view_if_needed()
        row = page.locator("tr", has_text=f"{22:024x}")
        button = row.get_by_role("link")
        button.focus()
        page.evaluate("() => { window.mine = document.activeElement; }")
        opens(ledger, job(24))
        fails(ledger, job(25), CLOSED)
        expect(page.get_by_text("Dead letters: 24")).to_be_visible(timeout=SEEN_MS)
        assert page.evaluate("() => document.activeElement === window.mine")
        assert page.locator("#account-default details").get_attribute("open") is not None
        page.locator("#account-default summary").click()
        fails(ledger, job(26), CLOSED)
        expect(page.get_by_text("Dead letters: 25")).to_be_visible(timeout=SEEN_MS)
        assert page.locator("#account-default details").get_attribute("open") is None
        assert said == []


@pytest.mark.usefixtures("trouble")
def test_a_dead_letter_is_replayed_without_a_mouse(browser: Browser, url: str, ledger: Ledger) -> None:
    with tab(browser) as (page, said):
        sign_in(page, url)
        page.keyboard.press("Tab")
        tab_to(page, f"Replay… incident {20:024x}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Queue dead letters again?")).to_be_visible()
        tab_to(page, "Queue 1 dead letter again")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_have_text("1 dead letter queued again")
        expect(page.get_by_text("Dead letters: 22")).to_be_visible()
        record = ledger.record(job(20))
        assert record is not None
        assert record.state is JobState.QUEUED
        assert said == []


@pytest.mark.usefixtures("trouble")
def test_the_first_stop_of_the_tab_key_skips_to_the_content(browser: Browser, url: str) -> None:
    with tab(browser) as (page, _):
        sign_in(page, url)
        page.goto(url)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("main")).to_be_focused()


@pytest.mark.usefixtures("trouble")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_no_barrier_and_nothing_is_cut_off(
    browser: Browser, url: str, scheme: Literal["light", "dark"], width: int
) -> None:
    with tab(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as (page, said):
        page.goto(url)
        found = barriers(page)
        sign_in(page, url)
        assert not overflows(page)
        found += barriers(page)
        page.get_by_role("link", name=f"Replay… incident {20:024x}").click()
        assert not overflows(page)
        found += barriers(page)
        page.goto(f"{url}/replay")
        found += barriers(page)
        assert found == []
        background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}[scheme]
        assert [one for one in said if "422" not in one] == []


@pytest.mark.usefixtures("trouble")
def test_it_says_since_when_it_is_not_up_to_date_and_why(browser: Browser, url: str, valkey: Valkey) -> None:
    with tab(browser) as (page, _):
        sign_in(page, url)
        stale = page.locator("#stale")
        expect(stale).to_be_empty()
        valkey.kill()
        expect(stale).to_contain_text("Not updated since", timeout=SEEN_MS)
        expect(stale).to_contain_text("cannot reach Redis")
        expect(page.get_by_role("link", name="Sign in again")).to_be_hidden()
        valkey.start()  # and knows nobody any more
        expect(stale).to_contain_text("you are not signed in any more", timeout=SEEN_MS)
        page.get_by_role("link", name="Sign in again").click()
        expect(page.get_by_label("API token")).to_be_focused()


@pytest.mark.usefixtures("trouble")
def test_a_page_that_is_opened_while_redis_is_away_looks_again_by_itself(
    browser: Browser, url: str, valkey: Valkey
) -> None:
    away, form = "The jobs that are queued are kept", "API token"
    with tab(browser) as (page, _):
        sign_in(page, url)
        valkey.kill()
        page.reload()
        expect(page.get_by_text(away)).to_be_visible()
        valkey.start()  # and knows nobody any more
        expect(page.get_by_label(form)).to_be_visible(timeout=SEEN_MS)
        valkey.kill()
        page.get_by_label(form).fill(OPS)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text(away)).to_be_visible()
        page.wait_for_event("load", timeout=SEEN_MS)
        expect(page.get_by_text(away)).to_be_visible()
        valkey.start()
        expect(page.get_by_label(form)).to_be_visible(timeout=SEEN_MS)


@pytest.mark.usefixtures("trouble")
def test_on_a_small_screen_a_batch_shows_its_time_left_and_its_button_at_once(browser: Browser, url: str) -> None:
    with tab(browser, viewport={"width": 320, "height": 800}) as (page, _):
        sign_in(page, url)
        row = page.locator(".batches tr", has_text=LONG)
        for part in (row.get_by_text("in about"), row.get_by_role("link")):
            box = part.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 320


@pytest.mark.usefixtures("trouble")
def test_it_rests_while_it_is_paused_or_hidden(browser: Browser, url: str, ledger: Ledger) -> None:
    with tab(browser) as (page, _):
        page.clock.install()
        sign_in(page, url)
        pause, asked = page.get_by_role("button", name="Pause updates"), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        pause.click()
        page.clock.run_for(60_000)
        assert asked == []
        fails(ledger, job(24), CLOSED)
        pause.click()
        page.clock.run_for(3000)
        expect(page.get_by_text("Dead letters: 24")).to_be_visible(timeout=SEEN_MS)
        page.evaluate("""() => {
            Object.defineProperty(document, "hidden", { get: () => window.away, configurable: true });
            window.away = true;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == []
        fails(ledger, job(25), CLOSED)
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
        page.clock.run_for(3000)
        expect(page.get_by_text("Dead letters: 25")).to_be_visible(timeout=SEEN_MS)


@pytest.mark.usefixtures("trouble")
def test_without_javascript_it_can_be_read_and_replays(browser: Browser, url: str, ledger: Ledger) -> None:
    with tab(browser, java_script_enabled=False) as (page, said):
        page.goto(url)
        page.get_by_label("API token").fill(OPS)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Reload")).to_be_visible()
        expect(page.get_by_role("button", name="Pause updates")).to_be_hidden()
        page.get_by_role("link", name="Replay all InvalidParameter… of account default").click()
        page.get_by_role("button", name="Queue 23 dead letters again").click()
        expect(page.get_by_role("status").first).to_have_text("23 dead letters queued again")
        assert ledger.newest(1, 1).letters_in_all == 0
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API token")).to_be_visible()
        assert said == []


def test_a_link_from_elsewhere_finds_the_session(browser: Browser, url: str) -> None:
    """SameSite=Strict keeps the cookie back on the way from another site."""
    with tab(browser) as (page, _):
        sign_in(page, url)
        page.route(
            "http://chat.example/",
            lambda route: route.fulfill(body=f'<a href="{url}/">look</a>', content_type="text/html"),
        )
        page.goto("http://chat.example/")
        said = console_of(page)
        page.get_by_role("link", name="look").click()
        expect(page.get_by_role("heading", name="Status")).to_be_visible()
        assert said == []
