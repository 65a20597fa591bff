"""`/replay`: queueing dead letters again from the status page, after a question that shows how many they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from producers.choice import Choice
from producers.console import many
from producers.http.form import form_of
from producers.http.page import Html, render
from producers.http.page_routes import going_to_status
from producers.http.problems import Kind, refused
from producers.http.replays import replay
from producers.http.schemas import ReplayJson
from producers.http.visitors import as_page, check_csrf, operator_of
from producers.http.web import Web, check_account, check_query, web_of
from worker.jobs import BATCH_PATTERN

NAMES = ("job", "account", "code", "batch")

MOST = 10_000
"""Dead letters at a time, as over the API."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which dead letters a person means, and what they come to.

    Args:
        fields: what says which: names and values.
        found: what a replay would do.
    """

    fields: tuple[tuple[str, str], ...]
    found: ReplayJson

    @property
    def replays(self) -> int:
        """How many there are."""
        return self.found["selected"]

    @property
    def by_code(self) -> list[tuple[str, int]]:
        """The same by their codes, most first."""
        return sorted(self.found["by_code"].items(), key=lambda item: -item[1])

    @property
    def sentence(self) -> str:
        """What would be done."""
        which = ", ".join(f"{name} {value}" for name, value in self.fields)
        if not self.replays:
            return "; ".join(self.found["misses"]) or f"No dead letter is left here ({which})."
        rest = f" There are more: these are the oldest {MOST:,}, do the rest afterwards." if self.found["more"] else ""
        return f"{many(self.replays, 'dead letter')} ({which}).{rest}"


def routes(_web: Web) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/replay", as_page(confirm), methods=["GET"])
    router.add_api_route("/replay", as_page(again), methods=["POST"])
    return router


async def confirm(request: Request) -> Response:
    """Asks; changes nothing."""
    session, web = await operator_of(request), web_of(request)
    check_query(request, NAMES)
    fields, choice = _meant(request.query_params)
    desks = web.desks(session.caller)
    check_account(choice.account, desks)
    found = await to_thread.run_sync(lambda: replay(choice, desks, MOST, dry_run=True))
    return Html(render("replay.html", session=session, asked=Asked(fields, found)))


async def again(request: Request) -> Response:
    """Does it."""
    form, session, web = await form_of(request), await operator_of(request), web_of(request)
    check_csrf(session, form.get("csrf", ""))
    _, choice = _meant(form)
    desks = web.desks(session.caller)
    check_account(choice.account, desks)
    done = await to_thread.run_sync(lambda: replay(choice, desks, MOST, dry_run=False))
    web.boards.forget()
    log = structlog.get_logger("warrooms.web")
    log.info("web.replayed", by=session.caller.name, count=done["replayed"], dry_run=False)
    return going_to_status(_sentence(done), request)


def _meant(sent: Mapping[str, str]) -> tuple[tuple[tuple[str, str], ...], Choice]:
    """The fields that say which dead letters, and what they mean.

    Raises:
        Refused: they say nothing, or name a batch that can be none.
    """
    fields = tuple((name, sent[name][:200]) for name in NAMES if sent.get(name))
    said = dict(fields)
    batch, code = said.get("batch"), said.get("code")
    if not said:
        raise refused(Kind.INVALID, "say which dead letters: job, account, code or batch")
    if batch is not None and not re.fullmatch(BATCH_PATTERN.strip("^$"), batch):
        raise refused(Kind.INVALID, "batch must be 1 to 100 letters, digits, '.', '-' or '_'")
    choice = Choice(
        targets=(said["job"],) if "job" in said else (),
        batch=batch,
        codes=frozenset({code.casefold()}) if code else frozenset(),
        account=said.get("account"),
    )
    return fields, choice


def _sentence(done: ReplayJson) -> str:
    parts = [f"{many(done['replayed'], 'dead letter')} queued again"]
    parts += [f"{done['gone']:,} changed meanwhile"] if done["gone"] else []
    parts += ["there are more"] if done["more"] else []
    parts += done["misses"]
    return "; ".join(parts)
