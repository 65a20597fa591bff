"""`warrooms limit …`: what people do to an account's bucket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers import console
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.crew import Crew
from producers.look import look
from producers.pausing import paused

if TYPE_CHECKING:
    from producers.desk import Desk
    from producers.halts import Halt
    from worker.token_bucket import Resumed


def resume(account: str | None, *, json: bool) -> Exit:
    """Lets the accounts be called again that are suspended, down or paused by a person.

    A person's pause is ended only if its account is named, or the only one: it was meant, and maybe by somebody else.

    Raises:
        BadInput: no such account.
        QueueUnavailable: Redis does not answer.
    """
    desks = open_desks(account)
    done = [(desk, look(desk).halt, desk.bucket.resume(ends_hold=len(desks) == 1)) for desk in desks]
    if json:
        listed = [
            {
                "account": desk.account.name,
                "resumed": bool(resumed),
                "was": halt.as_json() if halt and resumed.halted else None,
                "was_paused": resumed.held,
            }
            for desk, halt, resumed in done
        ]
        console.answer_json({"accounts": listed})
    else:
        console.answer(*(line for desk, halt, resumed in done for line in _lines(desk, halt, resumed=resumed)))
    return Exit.DONE


def _lines(desk: Desk, halt: Halt | None, *, resumed: Resumed) -> list[str]:
    name = f"account {desk.account.name}"
    level = desk.bucket.peek()
    why = paused(desk.account.name, level, time.time())
    if level.lines.held:
        was = f"; {what_it_was(halt)}" if resumed.halted else ""
        return [f"{name} stays {why}{was}"]
    stays = f"; it is {why}, that stays" if why else ""
    if not resumed:
        return [f"{name} is neither suspended nor down nor paused by a person{stays}; nothing was changed"]
    waiting = desk.ledger.progress().waiting
    ended = [what_it_was(halt)] if resumed.halted else []
    ended += ["it was paused by a person"] if resumed.held else []
    again = what_next(halt, waiting) if resumed.halted else [goes_on(waiting)]
    lines = [f"{name} is called again{stays}; {'; '.join(ended)}", *again]
    crew = Crew(desk.ledger.workers())
    return lines if crew.alive else [*lines, f"workers: {crew.text(waiting)}"]


def what_it_was(halt: Halt | None) -> str:
    """Why it was not called, in the past."""
    if halt is None:
        return "it was not called"
    was = "suspended" if halt.suspended else "down"
    return f"it was {was}: {halt.trouble.message or halt.trouble.code}"


def goes_on(waiting: int) -> str:
    """What becomes of those who waited."""
    return f"{console.many(waiting, 'job')} that waited go on now" if waiting else "no job waits for it"


def what_next(halt: Halt | None, waiting: int) -> list[str]:
    """What happens to it from now on."""
    go = goes_on(waiting)
    if halt is not None and not halt.suspended:
        return [f"{go}; if the API is still down, a few more failed calls stop it again"]
    return [f"{go}; if the API still refuses it, the next call suspends it again and no job is lost"]
