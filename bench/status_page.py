"""The status page in a real Chromium: 20 accounts, 50 batches, 10,000 dead letters and 20,000 jobs that wait.

python -m bench.status_page [--loads 10] [--pictures FOLDER]

Web process, Valkey and browser share the machine. Each load comes when the board that was seen last is stale, so the
process looks at Redis anew; first paint is the browser's own first-contentful-paint.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import sync_playwright

from bench.common import report
from producers.queue import JobQueue
from sandbox.processes import spawn, until
from sandbox.valkey import Valkey
from worker.errors import AccountRefused, OutcomeUnknown, RequestRefused
from worker.health import Sign
from worker.jobs import Lane, WarRoomJob
from worker.messages import queue_name
from worker.records import Claim
from worker.settings import Settings
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from producers.desk import Desk

ACCOUNTS: Final = 20
BATCHES: Final = 50
DEAD: Final = 10_000
WAITING: Final = 20_000
TOKEN: Final = secrets.token_hex(16)
ERRORS: Final = (
    OutcomeUnknown("no complete answer within 15 s", code="Timeout", request_id="req-1"),
    RequestRefused("the incident is closed", code="InvalidParameter", status=400, hint="open it again"),
    RequestRefused("no such incident", code="ResourceNotFound", status=404),
)
REVOKED: Final = AccountRefused("the app key is not valid", code="Unauthorized", status=401)
SIZE: Final = """async () => (await (await fetch(location.href, {cache: "no-store"})).blob()).size"""
PAINT: Final = """() => new Promise((say) => new PerformanceObserver((list, observer) => {
  const paint = list.getEntriesByName("first-contentful-paint")[0];
  if (paint) { observer.disconnect(); say(paint.startTime); }
}).observe({ type: "paint", buffered: true }))"""


def names() -> list[str]:
    return [f"team-{number:02}" for number in range(1, ACCOUNTS + 1)]


def fill(queue: JobQueue) -> None:
    """Everything that there is to see."""
    number = 0
    for at, desk in enumerate(queue.desks()):
        mine = (DEAD + WAITING) // ACCOUNTS
        for batch in range(at, BATCHES, ACCOUNTS):
            share = mine // len(range(at, BATCHES, ACCOUNTS))
            for _ in range(share):
                number += 1
                job = WarRoomJob(
                    account=desk.account.name,
                    incident_id=f"{number:024x}",
                    integration_id=7,
                    lane=Lane.URGENT if number % 50 == 0 else Lane.BULK,
                )
                desk.ledger.enqueue([job], f"outage-{batch:02}")
        for letter in range(DEAD // ACCOUNTS):
            fails(queue, desk, ERRORS[letter % len(ERRORS)])
        calls(queue, desk, every=1 if at < 3 else 8)
    queue.bucket("team-04").report(Sign.REFUSED, 0.0, REVOKED)
    queue.bucket("team-05").hold("root@ops")


def beat(queue: JobQueue) -> None:
    """The workers live, but for one account's."""
    for desk in queue.desks()[:-1]:
        desk.ledger.beat(f"worker@{desk.account.name}")


def fails(queue: JobQueue, desk: Desk, error: OutcomeUnknown | RequestRefused) -> None:
    """The next job in line becomes a dead letter."""
    asked = WarRoomJob(account=desk.account.name, incident_id="f" * 24, integration_id=7)
    claim = desk.ledger.claim(asked, "bench")
    assert isinstance(claim, Claim)
    queue.store.client.rpop(queue_name(desk.account.name, claim.job.lane))  # as a worker does before it claims
    desk.ledger.begin(claim, sent=True)
    desk.ledger.failed(claim, error, str(error))


def calls(queue: JobQueue, desk: Desk, every: int) -> None:
    """Ten minutes of calls, on a clock that runs ahead to now."""
    now_us = int(time.time() * 1e6)
    at = [now_us - 600_000_000]
    bucket = TokenBucket(queue.store, desk.account.name, desk.account.plan, clock=lambda: at[0])
    step_us = desk.account.plan.interval_us * every
    while at[0] < now_us:
        bucket.hit()
        at[0] += step_us


def login(browser: Browser, url: str, **options: Any) -> tuple[Page, list[str]]:  # noqa: ANN401
    """A page that is signed in, and what its console says."""
    page = browser.new_context(**options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    page.get_by_label("API token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#board")
    return page, said


def draw(page: Page, folder: Path) -> None:
    """What it looks like, for a person to judge."""
    page.screenshot(path=folder / "light.png")
    page.locator("#account-team-04 summary").click()
    page.locator("#account-team-04").scroll_into_view_if_needed()
    page.screenshot(path=folder / "account.png")
    page.locator("#batches").scroll_into_view_if_needed()
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / "dark.png")
    page.locator("#account-team-03").scroll_into_view_if_needed()
    page.screenshot(path=folder / "dark-account.png")
    page.set_viewport_size({"width": 320, "height": 900})
    page.locator("#account-team-04").scroll_into_view_if_needed()
    page.screenshot(path=folder / "narrow.png")


def measure(url: str, queue: JobQueue, loads: int, pictures: Path | None) -> None:
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        with playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser:
            page, said = login(browser, url)
            paints = []
            for _ in range(loads):
                time.sleep(2.1)
                beat(queue)
                page.goto(url)
                paints.append(page.evaluate(PAINT))
            size = page.evaluate(SIZE)
            time.sleep(5)  # some updates
            report(
                accounts=page.locator("section.account").count(),
                batches=page.locator("tr[data-key^=b-]").count(),
                letters_shown=page.locator("table.letters tbody tr").count(),
                worst_first_paint_ms=round(max(paints)),
                median_first_paint_ms=round(statistics.median(paints)),
                loads=loads,
                page_kb=round(size / 1024, 1),
                console=said,
            )
            if pictures is not None:
                draw(page, pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=10)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Valkey(Path(name) / "valkey") as valkey:
        folder = Path(name)
        accounts = folder / "accounts.toml"
        entry = '[accounts.{}]\napp_key_env = "NO_KEY_IS_READ"\nintegration_id = 7\n'
        accounts.write_text("".join(entry.format(one) for one in names()))
        env = {
            **os.environ,
            "REDIS_URL": valkey.url,
            "WARROOMS_ACCOUNTS_FILE": str(accounts),
            "WARROOMS_API_TOKENS": f"bench[read+operate]:{TOKEN}",
            "WARROOMS_LOG_FORMAT": "json",
        }
        queue = JobQueue(Settings(redis_url=valkey.url, accounts_file=accounts))
        fill(queue)
        log = folder / "web.log"
        web = spawn("web", [str(Path(sys.executable).with_name("warrooms")), "web", "--port", "0"], log, env)
        try:
            until(lambda: "startup complete" in log.read_text(), "the web process", web)
            port = int(json.loads(log.read_text().splitlines()[0])["url"].rsplit(":", 1)[1])
            measure(f"http://127.0.0.1:{port}/", queue, options.loads, options.pictures)
        finally:
            web.stop()
            queue.close()


if __name__ == "__main__":
    main()
