"""A worker process's own /metrics, over loopback unless told otherwise. It never stops the worker: it is only missing.

Several workers of one machine take the next free ports. With PROMETHEUS_MULTIPROC_DIR one of them shows all, and
another one takes over when it ends.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from typing import TYPE_CHECKING, Final

from prometheus_client import start_http_server

from worker import meters

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import CollectorRegistry

    from worker.settings import Address

log = logging.getLogger(__name__)

PORTS: Final = 21
"""The one that was asked for, and the twenty behind it."""

AGAIN_S: Final = 5.0
"""Between two tries to take over the machine's one address."""


class MetricsServer:
    """Serves a registry until it is closed.

    Args:
        registry: this process's meters.
        address: where to listen; port 0 takes any.
        stopping: set when the worker is told to stop.
    """

    def __init__(self, registry: CollectorRegistry, address: Address, stopping: threading.Event) -> None:
        self._registry = meters.shown(registry)
        self._address = address
        self._stopping = stopping
        self._server: WSGIServer | None = None
        self.port: int | None = None

    def start(self) -> None:
        """Begins to answer, or says in the log why not."""
        one_for_all = meters.of_the_machine()
        last = self._address.port + (1 if one_for_all or not self._address.port else PORTS)
        for port in range(self._address.port, min(last, 65536)):
            failed = self._listen(port)
            if failed is None:
                return
            if failed.errno != errno.EADDRINUSE:
                log.warning("no metrics at %s port %d: %s", self._address.host, port, failed.strerror or failed)
                return
        if one_for_all:
            threading.Thread(target=self._take_over, name="metrics", daemon=True).start()
        else:
            log.warning("no metrics: ports %d to %d are taken", self._address.port, last - 1)

    def close(self) -> None:
        """Ends it."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _listen(self, port: int) -> OSError | None:
        try:
            self._server, _ = start_http_server(port, self._address.host, self._registry)
        except OSError as error:
            return error
        self.port = self._server.server_port
        log.info("metrics at http://%s/metrics", self._address.at(self.port))
        return None

    def _take_over(self) -> None:
        log.info("another worker shows the metrics of this machine")
        while not self._stopping.wait(AGAIN_S):
            with contextlib.suppress(Exception):
                if self._listen(self._address.port) is None:
                    return
