"""The only place that builds clients and joins ports to adapters; nothing here decides anything."""

from __future__ import annotations

import _thread
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import SettingsError
from worker.flashduty import Flashduty
from worker.flashduty.app_key import AppKey
from worker.gate import GATE, Gate
from worker.holding import Holding
from worker.im_integration import Memory, UsualIntegration
from worker.messages import queues_of
from worker.nap import Nap
from worker.open_war_room import OpenWarRoom
from worker.redis_store import RedisStore
from worker.slots import Slots
from worker.telemetry import SILENT
from worker.token_bucket import TokenBucket
from worker.watched import WatchedApi
from worker.workers_ledger import WorkersLedger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ledger import Ledger
    from worker.settings import Account, Settings
    from worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class AccountDesk:
    """Everything the worker needs to serve one account."""

    account: Account
    ledger: Ledger
    bucket: TokenBucket
    api: Flashduty
    open_war_room: OpenWarRoom
    nap: Nap
    usual: UsualIntegration


@dataclass(frozen=True, slots=True)
class Runtime:
    """A worker process's belongings. `stopping` is set when it is told to stop.

    `worker` is the name under which it claims: no other process, before or after, has the same.
    """

    worker: str
    store: RedisStore
    desks: Mapping[str, AccountDesk]
    gate: Gate
    stopping: threading.Event
    telemetry: Telemetry = SILENT

    def stop(self) -> None:
        """Tells every thread to stop, and wakes the consumer's loop. For signal handlers, also a second in a first.

        Both run in the main thread, and an event's lock is taken once: the second would wait for ever for the first.
        """
        _thread.start_new_thread(self._stop, ())

    def _stop(self) -> None:
        self.stopping.set()
        self.gate.wake()

    def close(self) -> None:
        """Closes every connection, but those on which an answer is still awaited (a second signal ends us sooner)."""
        for desk in self.desks.values():
            if desk.ledger.holds_nothing():
                desk.api.close()
        self.store.close()


def build(settings: Settings, worker: str, gate: Gate = GATE, telemetry: Telemetry = SILENT) -> Runtime:
    """Joins everything for the worker named `worker`, whose parts tell `telemetry`; connects to nothing yet.

    Raises:
        SettingsError: a setting is wrong, or an account has no app key or one that cannot be one.
    """
    worker = f"{worker}#{secrets.token_hex(4)}"
    stopping = threading.Event()
    holding = Holding(stopping)
    store = RedisStore(settings.redis_url, hold=holding, back=holding.back)
    desks = {}
    for name, account in settings.accounts().items():
        _check_app_key(account)
        gate.add(name, account.plan.interval_us / 1e6, queues_of(name), account.plan.slack_us / 1e6)
        desks[name] = _desk(settings, account, store, worker, gate, stopping, telemetry)
    return Runtime(worker, store, desks, gate, stopping, telemetry)


def _check_app_key(account: Account) -> None:
    """A worker without a key that can be one should not start."""
    fault = AppKey(account.app_key()).fault()
    if fault is not None:
        raise SettingsError(f"account {account.name!r}: {fault}")


def _desk(
    settings: Settings,
    account: Account,
    store: RedisStore,
    worker: str,
    gate: Gate,
    stopping: threading.Event,
    telemetry: Telemetry,
) -> AccountDesk:
    bucket = TokenBucket(store, account.name, account.plan)
    ledger = WorkersLedger.of(store, account, settings).beside(bucket)
    api = Flashduty(base_url=settings.base_url, app_key=account.app_key)
    nap = Nap(stopping)
    slots = Slots(
        bucket,
        spread_s=settings.spread_s,
        sleep=nap,
        learn=lambda lines: gate.learn(account.name, lines),
        account=account.name,
        telemetry=telemetry,
    )
    usual = UsualIntegration(account.integration_id, Memory(store, account.name), slots, api)
    watched = WatchedApi(api, account.name, telemetry)
    use_case = OpenWarRoom(ledger, slots, watched, worker=worker, telemetry=telemetry)
    return AccountDesk(account, ledger, bucket, api, use_case, nap, usual)
