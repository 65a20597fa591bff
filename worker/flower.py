"""Flower as we run it: behind a password, read-only, on loopback, with rows that a person can read.

Only for `celery -A worker flower`, which needs Flower installed. These are Flower's own options, set before it reads
the environment (`FLOWER_…`), flowerconfig.py and the command line: whatever a person says there wins. Once it has read
them all it loads the app's modules, and that is when we look whether it may start.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from flower.api.tasks import GetQueueLengths
from flower.options import options
from flower.urls import handlers
from flower.utils.broker import RedisSentinel
from flower.views.broker import BrokerView
from flower.views.monitor import Metrics
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from tornado import web
from tornado.netutil import bind_sockets

from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from celery import Celery

    from worker.sentinel_address import SentinelAddress
    from worker.settings import Settings

USER: Final = "warrooms"
"""Who logs in with the password of WARROOMS_FLOWER_PASSWORD_FILE."""

DEFAULTS: Final[dict[str, Any]] = {
    "address": "127.0.0.1",  # Flower's own is every address of the machine
    "read_only": True,  # its buttons know nothing of the ledger: a task revoked there would come back
    "max_tasks": 20_000,  # 20 minutes at 1,000 a minute, 90 MB; Flower's own 100,000 take five times that
    "tasks_columns": "kwargs,state,result,received,runtime,worker,uuid",
}

CLOSED: Final = (
    "Flower does not start without a password: write one into a file and name that in WARROOMS_FLOWER_PASSWORD_FILE "
    f"(the user is {USER!r}), or set FLOWER_BASIC_AUTH=user:password; WARROOMS_FLOWER_OPEN=yes does without"
)
MALFORMED: Final = (
    "a user and a password of Flower (FLOWER_BASIC_AUTH, --basic-auth) must be written user:password, in ASCII; "
    "a comma begins the next pair"
)

log = logging.getLogger("warrooms")


def prepare(app: Celery, settings: Settings, end: Callable[[str], None]) -> None:
    """Sets Flower's defaults, before it has read its options, and has them looked at once it has.

    Args:
        app: its queues are those of the accounts.
        settings: where the password is, or that there shall be none.
        end: ends the process, with a sentence for people.

    Raises:
        SettingsError: the password cannot be read, or this Flower is not the one that we know.
    """
    for name, value in DEFAULTS.items():
        setattr(options, name, value)
    options.format_task = readable
    if settings.flower_password_file:
        options.basic_auth = [f"{USER}:{password(settings.flower_password_file)}"]
    replace_handlers(handlers)
    # To Redis it is no worker.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "client_name": "warrooms-flower"}

    def look(**_: object) -> None:
        if problem := refusal(options.basic_auth, options.auth, is_open=settings.flower_open):
            end(problem)
        if not options.unix_socket and (problem := taken(options.address, options.port)):
            end(problem)
        if not (options.basic_auth or options.auth):
            log.warning("Flower is open to whoever reaches it: WARROOMS_FLOWER_OPEN says so")
        elif settings.flower_password_file:
            log.info("Flower: log in as %r; the password is in %s", USER, settings.flower_password_file)

    signals.import_modules.connect(look, sender=app, weak=False)


def password(file: Path) -> str:
    """The password that the file has.

    Raises:
        SettingsError: it has none, or cannot be read.
    """
    try:
        found = file.read_text(encoding="ascii").strip()
    except OSError as error:
        problem = str(error.strerror)
    except UnicodeDecodeError:
        problem = "a password must be ASCII"
    else:
        if found:
            return found
        problem = "it is empty"
    raise SettingsError(f"WARROOMS_FLOWER_PASSWORD_FILE: cannot take Flower's password from that file: {problem}")


def refusal(basic_auth: Iterable[str], auth: str, *, is_open: bool) -> str:
    """Why Flower may not start; empty if it may. Says nothing of what was given: it is a secret."""
    pairs = [pair.partition(":") for pair in basic_auth]
    # Flower would take an empty pair for no protection's sake, and stumble over what is not ASCII at every request.
    if not all(user and secret and (user + secret).isascii() for user, _, secret in pairs):
        return MALFORMED
    return "" if pairs or auth or is_open else CLOSED


def taken(address: str, port: int) -> str:
    """Why nobody can listen there; empty if one can. Flower itself would say it in a traceback."""
    try:
        sockets = bind_sockets(port, address=address)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        return f"Flower cannot listen on {address} port {port}: {reason}; choose others with --address and --port"
    for listener in sockets:
        listener.close()
    return ""


def readable(task: Any) -> Any:  # noqa: ANN401 - Flower's copy of Celery's task
    """A task as the page of tasks shows it: the reason stands where the result would."""
    task.result = task.exception if task.state in {"RETRY", "FAILURE"} else (task.result or "").strip("'")
    return task


class Guarded(Metrics):  # type: ignore[misc]
    """The metrics, behind Flower's password: they name workers and tasks, and cost a walk over all of them."""

    @web.authenticated
    async def get(self) -> None:
        """What Prometheus reads."""
        await super().get()


class Behind(RedisSentinel):  # type: ignore[misc]
    """The broker behind all Sentinels of the address; Flower's own asks the first one only."""

    def _get_redis_client(self, broker_options: dict[str, Any], broker_use_ssl: Any) -> Any:  # noqa: ANN401
        address: SentinelAddress = broker_options["sentinel_address"]
        timeouts = {
            "socket_timeout": self.socket_timeout,
            "socket_connect_timeout": self.socket_connect_timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        own = {"username": address.sentinel_username or None, "password": address.sentinel_password or None}
        secured = {"ssl": True, **broker_use_ssl} if broker_use_ssl else {}
        sentinels = Sentinel(address.hosts, sentinel_kwargs=timeouts | own | secured)  # type: ignore[no-untyped-call]
        return sentinels.master_for(
            address.primary, db=self.vhost, username=self.username, password=self.password, **timeouts, **secured
        )


class _Configured:
    """Names the queues that this process knows besides those that a worker reads: they fill when none does."""

    capp: Celery

    def get_broker(self) -> Any:  # noqa: ANN401 - one of Flower's
        conf = self.capp.conf
        if "sentinel_address" not in conf.broker_transport_options:
            return super().get_broker()  # type: ignore[misc]
        return Behind(conf.broker_url, broker_options=conf.broker_transport_options, broker_use_ssl=conf.broker_use_ssl)

    def get_active_queue_names(self) -> list[str]:
        configured = {queue.name for queue in self.capp.conf.task_queues}
        active = {info["name"] for worker in self._workers() for info in worker.get("active_queues", [])}
        return sorted(configured | active)

    def _workers(self) -> Iterable[dict[str, Any]]:
        workers: dict[str, dict[str, Any]] = self.application.workers  # type: ignore[attr-defined]
        return list(workers.values())


class Queues(_Configured, BrokerView):  # type: ignore[misc]
    """The page of queues."""


class QueueLengths(_Configured, GetQueueLengths):  # type: ignore[misc]
    """The same for programs."""


OURS: Final = {Metrics: Guarded, BrokerView: Queues, GetQueueLengths: QueueLengths}


def replace_handlers(urls: list[Any]) -> None:
    """Puts our handlers in the place of Flower's.

    Raises:
        SettingsError: one of them is not there; without ours its metrics would be open to the world.
    """
    for theirs, ours in OURS.items():
        places = [place for place, url in enumerate(urls) if _handler(url) is theirs]
        if not places:
            raise SettingsError(f"this Flower has no {theirs.__name__}; see pyproject.toml for the one that we know")
        for place in places:
            if isinstance(urls[place], tuple):
                urls[place] = (urls[place][0], ours)
            else:
                urls[place].handler_class = ours


def _handler(url: Any) -> Any:  # noqa: ANN401
    return url[1] if isinstance(url, tuple) else url.handler_class
