"""Traces, if they are asked for and the extra `otel` is installed; spans.py makes them. Off, they cost nothing.

They are sent by OpenTelemetry's own exporter (OTLP over HTTP, in a thread of its own), set by its own OTEL_ variables.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from worker.settings import Settings
    from worker.spans import Spans

log = logging.getLogger(__name__)

LAST_S: Final = {"worker": 2.0, "producer": 0.4}
"""For so long the end of a process waits for a collector to take the last spans; a person waits for a producer's."""


def traces_of(settings: Settings, process: str) -> Spans | None:
    """This process's traces as the settings want them; None if they are off, or cannot be had: then the log says why.

    Args:
        settings: WARROOMS_OTEL, and whether OpenTelemetry's own variables name a collector.
        process: `worker` or `producer`; the service is `warrooms-<process>` unless OTEL_SERVICE_NAME is set.
    """
    return _begin(process, settings.base_url) if settings.traced else None


@lru_cache(maxsize=8)  # a process has one exporter, however many queues
def _begin(process: str, base_url: str) -> Spans | None:
    # The extra is optional, and importing it costs everybody 20 MB.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from worker.sampling import by_lane  # noqa: PLC0415
        from worker.spans import Spans  # noqa: PLC0415

        sampler = None if os.environ.get("OTEL_TRACES_SAMPLER") else by_lane()
        resource = Resource({SERVICE_NAME: f"warrooms-{process}"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(sampler, resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ImportError:
        log.warning("no traces: the extra is not installed; pip install 'warrooms[otel]'")
        return None
    except Exception as error:  # noqa: BLE001 - a wrong OTEL_ variable must not stop anybody's work
        log.warning("no traces: OpenTelemetry refuses its settings (%s)", type(error).__name__)
        return None
    # Who has set no logging up would get each failure of the exporter on the terminal, with its URL.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    atexit.register(_end, provider, LAST_S[process])
    return Spans(provider.get_tracer("warrooms", version("warrooms")), base_url)


def _end(provider: TracerProvider, last_s: float) -> None:
    """Sends what is left; in a thread, since the exporter tries for ten seconds when its collector is away."""
    last = threading.Thread(target=provider.shutdown, daemon=True)
    last.start()
    last.join(last_s)
