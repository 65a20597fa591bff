"""What producers without an app key need to know of an account, kept fresh by the workers: its default integration."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from worker.errors import NoMoreSlots, WarroomsError

if TYPE_CHECKING:
    from worker.bootstrap import Runtime

log = logging.getLogger(__name__)

EVERY_S: Final = 15.0


class Renewal:
    """A thread of the worker that asks for what is not known any more, of all accounts whose settings do not say it.

    Args:
        runtime: the worker's belongings; the thread ends when `runtime.stopping` is set.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)

    def start(self) -> None:
        """Starts asking, unless every account's settings say all."""
        if any(desk.account.integration_id is None for desk in self._runtime.desks.values()):
            self._thread.start()

    def _run(self) -> None:
        while True:
            for desk in self._runtime.desks.values():
                try:
                    desk.usual.renew()
                except NoMoreSlots as held:
                    log.debug("cannot ask for the IM integration of %s: %s", desk.account.name, held)
                except WarroomsError as error:
                    log.warning("cannot ask for the IM integration of %s: %s", desk.account.name, error)
                except Exception:
                    log.exception("cannot ask for the IM integration of %s", desk.account.name)
            if self._runtime.stopping.wait(EVERY_S):
                return
