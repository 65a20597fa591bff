"""What watches a worker process: its meters, where they are served, its traces; joined for bootstrap."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import SettingsError
from worker.meters import Meters, new_registry
from worker.metrics_server import MetricsServer
from worker.telemetry import SILENT, Told
from worker.tracing import traces_of

if TYPE_CHECKING:
    import threading

    from prometheus_client import CollectorRegistry

    from worker.settings import Settings
    from worker.telemetry import Telemetry

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Observed:
    """Who is told what happens, and who serves it.

    Args:
        telemetry: for the worker's parts.
        registry: this process's meters; None if they are off, or cannot be had.
    """

    telemetry: Telemetry = SILENT
    registry: CollectorRegistry | None = None
    server: MetricsServer | None = None

    @classmethod
    def of(cls, settings: Settings) -> Observed:
        """As the settings want it. What cannot be had is missing, and the log says so: a worker works without."""
        each: list[Telemetry] = []
        registry = _registry() if settings.metrics_address is not None else None
        if registry is not None:
            meters = Meters(registry)
            meters.begin(settings.accounts())
            each.append(meters)
        traces = traces_of(settings, "worker")
        if traces is not None:
            each.append(traces)
        return cls(Told(*each) if each else SILENT, registry)

    def serve(self, settings: Settings, stopping: threading.Event) -> None:
        """Begins to answer scrapes, in threads that end with the process: the last ones say how it stopped."""
        if self.registry is None or settings.metrics_address is None:
            return
        self.server = MetricsServer(self.registry, settings.metrics_address, stopping)
        try:
            self.server.start()
        except Exception:
            log.exception("no metrics")


def _registry() -> CollectorRegistry | None:
    try:
        return new_registry()
    except SettingsError as error:
        log.warning("no metrics: %s", error)
        return None
