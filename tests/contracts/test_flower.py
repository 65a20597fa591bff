"""What we lean on in Flower. A red test here says what broke for us: read its message first."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from celery.events.state import State
from flower import app as flower_app
from flower import command, urls
from flower.events import PrometheusMetrics
from flower.options import options
from flower.views import BaseHandler
from flower.views.monitor import Metrics
from prometheus_client import REGISTRY
from tornado import web

from worker import flower
from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def handlers() -> list[Any]:
    """Flower's addresses, copied: those of this process stay as they are."""
    copied = [
        one if isinstance(one, tuple) else web.url(one.regex.pattern, one.handler_class, one.kwargs, one.name)
        for one in urls.handlers
    ]
    assert len(copied) > 30
    return copied


def _at(handlers: list[Any], path: str) -> Any:  # noqa: ANN401
    (found,) = [
        one for one in handlers if (one[0] if isinstance(one, tuple) else one.regex.pattern.rstrip("$")) == path
    ]
    return found[1] if isinstance(found, tuple) else found.handler_class


def test_the_metrics_and_the_queues_are_ours(handlers: list[Any]) -> None:
    broke = "/metrics would be open to the world, or an account's queue would not be listed"
    flower.replace_handlers(handlers)
    shown = [_at(handlers, path) for path in ("/metrics", "/broker", "/api/queues/length")]
    assert shown == [flower.Guarded, flower.Queues, flower.QueueLengths], broke
    assert flower_app.default_handlers is urls.handlers, broke
    assert BaseHandler in flower.Guarded.__mro__, broke
    assert "get_active_queue_names" in vars(BaseHandler), broke


def test_a_flower_without_them_is_refused(handlers: list[Any]) -> None:
    others = [one for one in handlers if not (isinstance(one, tuple) and one[1] is Metrics)]
    with pytest.raises(SettingsError, match="this Flower has no Metrics"):
        flower.replace_handlers(others)


def test_flower_reads_its_options_and_then_loads_modules_and_then_listens() -> None:
    broke = "we would look at the password too early, or when strangers can be there already"
    order = inspect.getsource(command.flower.callback)
    steps = ["apply_env_options()", "apply_options(", "Flower(capp=app", "start_http_server()"]
    assert [order.find(step) for step in steps] == sorted(order.find(step) for step in steps), broke
    assert -1 not in [order.find(step) for step in steps], broke
    made = inspect.getsource(flower_app.Flower.__init__)
    assert "self.capp.loader.import_default_modules()" in made, broke


@pytest.mark.parametrize("name", [*flower.DEFAULTS, "basic_auth", "auth", "format_task"])
def test_an_option_that_we_set_is_there(name: str) -> None:
    assert name in options, f"Flower has no option {name} any more: it would run with its own default"


@pytest.fixture
def metrics() -> Iterator[PrometheusMetrics]:
    """Flower's, which may stand in a process once."""
    kept = PrometheusMetrics()
    yield kept
    for metric in vars(kept).values():
        REGISTRY.unregister(metric)


def test_a_task_that_serves_another_job_is_counted_as_started(metrics: PrometheusMetrics) -> None:
    broke = "flower_worker_prefetched_tasks would grow for ever"
    state = State()
    for at, kind in enumerate(("received", "started", "received", "started", "succeeded"), start=1):
        event = {
            "type": f"task-{kind}",
            "uuid": "u",
            "hostname": "w",
            "timestamp": at,
            "local_received": at,
            "clock": at,
        }
        state.event({**event, "name": "n"})
        metrics.observe_task("w", event, state.tasks["u"])
    assert REGISTRY.get_sample_value("flower_worker_prefetched_tasks", {"worker": "w", "task": "n"}) == 0, broke
