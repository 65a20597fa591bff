"""`warrooms failed refused`: the messages that the workers refused, because they are no jobs."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from producers import console
from producers.cli.exits import Exit
from worker.redis_store import RedisStore
from worker.refusals import KEPT, Refusals
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.refusals import Refusal


def refused(*, json: bool) -> Exit:
    """Lists them, the newest first.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    with closing(RedisStore(Settings.load().redis_url)) as store:
        found = Refusals(store).newest()
    if json:
        console.answer_json({"refused": [asdict(one) | {"at": console.iso(one.at)} for one in found]})
    elif found:
        console.answer(*(line(one, time.time()) for one in found), *_rest(len(found)))
    else:
        console.answer("no message was refused in the last week")
    return Exit.DONE


def line(refusal: Refusal, now_s: float) -> str:
    """One of them for people."""
    where = f"  {refusal.queue or 'unknown queue'}"
    task = f"  task {refusal.task_id}" if refusal.task_id else ""
    shown = f"  ({refusal.shown})" if refusal.shown else ""
    return f"{console.when(refusal.at, now_s)}{where}  {refusal.reason}{shown}{task}"


def _rest(count: int) -> list[str]:
    only = f"; only the last {KEPT} are kept" if count == KEPT else ""
    return [f"{console.many(count, 'message')} refused: nothing was queued; correct the sender, and send again{only}"]
