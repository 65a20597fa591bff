"""Asking the API from a producer: every call waits for a slot of the bucket that the workers share.

So the account's limits hold whoever calls. What is asked here changes nothing, so a call without an answer is simply
made again; a 429 pauses the account for everybody, as a worker's does. What the API says of itself (5xx) is told to
the account's health; a wrong key or a broken network of this machine is no reason to stop the workers of others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from producers.console import duration
from worker.errors import AccountRefused, FlashdutyError, NextStep, NoMoreSlots, RateLimited, SettingsError
from worker.flashduty import Flashduty
from worker.health import Health, Level
from worker.jobs import Lane
from worker.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.flashduty import Reply
    from worker.health import Trouble
    from worker.settings import Account, Settings
    from worker.slots import Slot
    from worker.token_bucket import TokenBucket

T = TypeVar("T")

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Between two tries of a call that had no answer; behind the last of them it is given up."""

AGAIN: Final = frozenset({NextStep.RETRY, NextStep.LOOK_FIRST})

OURS: Final = frozenset({NextStep.SUSPEND, NextStep.RETRY_FEW})
"""Refusals that may be about the key that lies here, and not the workers'."""

MOST_PAUSE_S: Final = 15.0
"""A pause may end sooner than was said (a probe, a person who resumes): look again after so long."""


class _Slots(Protocol):
    def take(self, lane: Lane) -> Slot: ...
    def pause(self, slot: Slot, retry_after_s: float | None) -> float: ...
    def give_back(self, slot: Slot) -> None: ...
    def report(self, slot: Slot, error: FlashdutyError | None = ..., *, done: bool = ...) -> Health: ...


class _Bucket(Protocol):
    def trouble(self) -> Trouble | None: ...


class Paced:
    """One account's API, asked at the account's speed, in the bulk lane.

    Args:
        api: the API itself.
        slots: the account's slots.
        bucket: the account's bucket, which knows why it is paused.
        say: told a sentence when there is something to wait for.
        patient: waits for pauses of any length and asks again; otherwise a call has one chance, and soon.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        api: Flashduty,
        slots: _Slots,
        bucket: _Bucket,
        *,
        say: Callable[[str], None] = lambda _sentence: None,
        patient: bool = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.api = api
        self.calls = 0
        """How many calls went out."""
        self._slots = slots
        self._bucket = bucket
        self._say = say
        self._patient = patient
        self._sleep = sleep

    @classmethod
    def of(
        cls,
        settings: Settings,
        account: Account,
        bucket: TokenBucket,
        say: Callable[[str], None] = lambda _said: None,
        *,
        patient: bool = True,
    ) -> Paced:
        """The API of a configured account. Its key is read here once, to say at once if there is none.

        Raises:
            SettingsError: there is no app key here.
        """
        why = _no_key(account)
        if why:
            raise SettingsError(f"{why}; here it is needed, because this asks the API itself")
        api = Flashduty(base_url=settings.base_url, app_key=account.app_key)
        slots = Slots(bucket, spread_s=settings.spread_s, sleep=nap, account=account.name)
        return cls(api, slots, bucket, say=say, patient=patient)

    def ask(self, call: Callable[[], Reply[T]]) -> T:
        """The value of a call that changes nothing, made when it is its turn.

        Raises:
            FlashdutyError: the API refuses it, or did not answer six times in a row.
            QueueUnavailable: no slot without Redis.
        """
        failed = 0
        while True:
            slot = self._slot()
            self.calls += 1
            try:
                reply = call()
            except FlashdutyError as error:
                problem = error
            else:
                self._slots.report(slot, done=False)
                return reply.value
            if problem.next_step is NextStep.WAIT:
                left_s = self._slots.pause(slot, problem.retry_after_s)
                self._say(f"the API said 429: the account is paused for {duration(left_s)}, for everybody")
                continue
            self._tell(slot, problem)
            if problem.next_step not in AGAIN or failed == len(PAUSES_S) or not self._patient:
                raise problem
            self._say(f"{problem}; asking again in {duration(PAUSES_S[failed])}")
            self._sleep(PAUSES_S[failed])
            failed += 1

    def close(self) -> None:
        """Closes the connections."""
        self.api.close()

    def _tell(self, slot: Slot, error: FlashdutyError) -> None:
        """Tells the account's health; where the account is paused already, this was its probe, and its end counts."""
        if error.next_step is NextStep.GIVE_UP:
            self._slots.report(slot, done=False)  # it answers; whether it opens rooms, this does not say
        elif (error.status is not None and error.next_step not in OURS) or self._bucket.trouble() is not None:
            self._slots.report(slot, error)
        elif error.next_step is NextStep.RETRY:
            self._slots.give_back(slot)  # the API has not seen it

    def _slot(self) -> Slot:
        """The next slot, through pauses of any length; but nobody waits for a person to mend the account."""
        said = False
        while True:
            try:
                return self._slots.take(Lane.BULK)
            except NoMoreSlots as held:
                sentence = str(held)
            trouble = self._bucket.trouble()
            if trouble is not None and trouble.level is Level.SUSPENDED:
                raise AccountRefused(
                    f"the account is suspended: {trouble.message or trouble.code}; mend that, then: "
                    "warrooms limit resume",
                    code=trouble.code or "Suspended",
                    request_id=trouble.request_id,
                    hint=trouble.hint,
                )
            if not self._patient:
                raise RateLimited(sentence, code="Paused")
            if not said:
                self._say(sentence + (f": {trouble.message or trouble.code}" if trouble else ""))
                said = True
            self._sleep(MOST_PAUSE_S)


def has_key(account: Account) -> bool:
    """Whether the account's app key is at hand here."""
    return not _no_key(account)


def _no_key(account: Account) -> str:
    try:
        account.app_key()
    except SettingsError as error:
        return str(error)
    return ""


def nap(seconds: float) -> bool:
    """Waits for a slot, but not through all of a slow account's interval: a person may set other rates meanwhile."""
    time.sleep(min(seconds, MOST_PAUSE_S))
    return False
