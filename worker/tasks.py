"""The Celery task: thin. Message -> job, one call, its outcome -> one log line; and the worker's signals."""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import structlog
from celery import bootsteps, signals
from celery.exceptions import Reject

from worker import bootstrap, guard, logs, transport
from worker.acknowledgement import AtOnce
from worker.arguments import job_of, preview
from worker.celery_app import app, declare_queues
from worker.errors import FlashdutyError, InvalidJob, NoMoreSlots, QueueUnavailable, SettingsError
from worker.gate import GATE
from worker.heartbeat import Heartbeat
from worker.im_integration import Usual
from worker.messages import TASK, shown
from worker.observed import Observed
from worker.outcomes import Outcomes
from worker.recovery import recovery_rounds
from worker.redis_store import RedisStore
from worker.refusals import LONGEST, Refusal, Refusals
from worker.renewal import renewal_rounds
from worker.settings import Settings
from worker.steering import Steering
from worker.task_events import TaskEvents
from worker.verdict import Failed, tell

if TYPE_CHECKING:
    from celery import Celery

    from worker.bootstrap import Runtime

EXIT_SETTINGS: Final = 2
EXIT_UNREACHABLE: Final = 3
TICK_S: Final = 1.0

log = structlog.get_logger("warrooms")
_runtime: Runtime | None = None
_heartbeat: Heartbeat | None = None
_observed = Observed()
_outcomes: Final = Outcomes(log)
_consumer: Any = None


def runtime() -> Runtime:
    """This worker's belongings, built when it starts."""
    if _runtime is None:
        raise SettingsError("no worker runs in this process")
    return _runtime


@app.task(  # type: ignore[untyped-decorator]
    name=TASK,
    bind=True,
    ignore_result=True,
    acks_late=True,
    throws=(Failed,),
    Request=guard.Checked,
    send_events=False,  # Celery's own: guard and _began tell Flower, what the task is really about
)
def open_war_room(self: Any, **fields: Any) -> str:  # noqa: ANN401
    """Opens the room of one job; docs/celery.md has the message's fields."""
    queue = (self.request.delivery_info or {}).get("routing_key", "")
    here = runtime()
    asked = _once(lambda: here.gate.asked(queue))
    began = time.monotonic()
    try:
        if fields.get("integration_id") is None:
            asked()  # it may have to be looked up, with slots of its own: nobody should wait for that
        job = job_of(fields, Usual({name: desk.usual for name, desk in here.desks.items()}))
        report = here.desks[job.account].open_war_room(job, asked, lambda taken: _began(self.request, shown(taken)))
        if report.job is None:
            _began(self.request, shown(job))
    except InvalidJob as error:
        _began(self.request, preview(fields))
        _refuse(queue, str(error), self.request.id, preview(fields))
        raise Failed(f"refused: {error}") from None  # `throws` spares the log its traceback
    except (QueueUnavailable, FlashdutyError, NoMoreSlots) as error:
        # Redis is away and this worker must stop; or its integration cannot be looked up now: the slots slow that down.
        log.warning("left in its queue", task_id=self.request.id, error=str(error))
        raise Reject(requeue=True) from None
    finally:
        asked()
    _outcomes.say(report.job or job, report, time.monotonic() - began)
    return tell(report)


def _refuse(queue: str, reason: str, task_id: str, shown: str = "") -> None:
    """Says in the log, and keeps where people look, that a message was refused."""
    log.error("refused a message", reason=reason[:LONGEST], task_id=task_id, queue=queue)
    if _runtime is None:
        return
    _runtime.telemetry.refused()
    try:
        Refusals(_runtime.store).keep(Refusal(time.time(), queue, reason, task_id, shown))
    except QueueUnavailable as error:
        log.warning("could not keep what was refused", error=str(error))


def _began(request: Any, text: str) -> None:  # noqa: ANN401
    """Tells Flower that a task came and began, and which job it is about: often not the one that its message names."""
    events = getattr(_consumer, "event_dispatcher", None)
    if events is not None:
        events.send("task-received", uuid=request.id, name=TASK, args="()", kwargs=text, root_id=request.root_id)
        events.send("task-started", uuid=request.id)


def _once(call: Any) -> Any:  # noqa: ANN401
    calls = iter([call])

    def first_time_only() -> None:
        for only in calls:
            only()

    return first_time_only


class GateAlarm(bootsteps.StartStopStep):  # type: ignore[misc]
    """Wakes the consumer's loop for the gate: with every queue hidden no BRPOP is under way, and nothing else would."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Gives the gate the hub; its timers may be gone when the connection is lost, so each start does it again."""
        hub = getattr(parent, "hub", None)
        if hub is not None:
            GATE.wake = lambda: hub.call_soon(GATE.look)
            GATE.wake_in = lambda seconds: hub.call_later(seconds, GATE.look)
            GATE.forgets_to_wake()
            hub.call_repeatedly(TICK_S, GATE.look)  # whatever else goes wrong, a worker does not sleep for ever


class Guard(bootsteps.StartStopStep):  # type: ignore[misc]
    """Refuses what stands in a queue and is no message of ours: one line of junk would end the worker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Begins to guard; each connection brings a new channel."""
        guard.install(parent, _refuse)


transport.use(app)
app.steps["consumer"].add(GateAlarm)
app.steps["consumer"].add(Guard)
app.steps["consumer"].add(TaskEvents)
app.steps["consumer"].add(AtOnce)


def app_for_celery() -> Celery:
    """The app for `celery -A worker …`, its queues those of the configured accounts; ends the process if it can't."""
    try:
        settings = Settings.load()
        RedisStore(settings.redis_url).close()  # Celery would say what is wrong with the address in a traceback
        transport.reach(app, settings.redis_url)
        declare_queues(settings.accounts())
        app.conf.worker_concurrency = settings.concurrency
        app.conf.worker_send_task_events = settings.task_events
        _prepare_flower(settings)
    except SettingsError as error:
        _end(str(error), EXIT_SETTINGS)
    return app


def _prepare_flower(settings: Settings) -> None:
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().invoked_subcommand != "flower":
        return
    from worker import flower  # noqa: PLC0415 - it is not installed everywhere

    flower.prepare(app, settings, lambda problem: _end(problem, EXIT_SETTINGS))


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int | None = None, **_: object) -> None:
    logs.configure(Settings.load().log_format, loglevel)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _start(sender: Any = None, **_: object) -> None:  # noqa: ANN401
    global _runtime, _heartbeat, _observed  # noqa: PLW0603 - Celery gives the task no other way to its worker's belongings
    try:
        settings = Settings.load()
        logs.configure(settings.log_format)  # what is said before Celery does it
        _observed = Observed.of(settings)
        name = str(getattr(sender, "hostname", "worker"))
        _runtime = bootstrap.build(settings, worker=name, telemetry=_observed.telemetry)
        _runtime.store.ping()
    except SettingsError as error:
        _end(str(error), EXIT_SETTINGS)
    except QueueUnavailable as error:
        if not error.passing:
            _end(str(error), EXIT_UNREACHABLE)
    _heartbeat = Heartbeat(runtime(), settings.redis_url)
    _heartbeat.start()
    recovery_rounds(runtime()).start()
    Steering(runtime()).start()
    renewal_rounds(runtime()).start()
    _observed.serve(settings, runtime().stopping)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _consumes(sender: Any = None, **_: object) -> None:  # noqa: ANN401
    global _consumer  # noqa: PLW0603 - as above
    _consumer = sender
    gc.collect()
    gc.freeze()  # what is here stays: to look through it again and again made every slot of a tenth of a second late


@signals.task_revoked.connect  # type: ignore[untyped-decorator]
def _revoked(request: Any = None, **_: object) -> None:  # noqa: ANN401
    """Its message will not ask for a slot."""
    GATE.asked((getattr(request, "delivery_info", None) or {}).get("routing_key", ""))


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_: object) -> None:
    if _runtime is not None:
        _runtime.stop()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_: object) -> None:
    if _heartbeat is not None:
        _heartbeat.stop()
    if _runtime is not None:
        _runtime.close()


def _end(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"warrooms: {message}\n")
    raise SystemExit(code)
