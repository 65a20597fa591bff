"""What producers without an app key need to know of an account, kept fresh by the workers: its default integration."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from worker.errors import NoMoreSlots
from worker.rounds import Rounds, going_on

if TYPE_CHECKING:
    from worker.bootstrap import Runtime

log = logging.getLogger(__name__)

EVERY_S: Final = 15.0


def renewal_rounds(runtime: Runtime) -> Rounds:
    """The thread that asks for what is not known any more, of the accounts whose settings do not say it."""
    asked = {name: desk for name, desk in runtime.desks.items() if desk.account.integration_id is None}

    def look() -> None:
        for name, desk in asked.items():
            with going_on(log, f"ask for the IM integration of {name}"):
                try:
                    desk.usual.renew()
                except NoMoreSlots as held:
                    log.debug("cannot ask for the IM integration of %s: %s", name, held)

    return Rounds("renewal", EVERY_S, runtime.stopping, look, at_once=True)
