"""The call that every contender makes: the request of our own worker, from an httpx client for each thread.

One for all threads is what people write first; beyond a hundred threads it costs several times as much (httpcore looks
through all its connections for every call).
"""

from __future__ import annotations

import functools
import logging
import os
import random
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    import ssl

CONCURRENCY: Final = int(os.environ.get("BENCH_CONCURRENCY", "64"))
ONE: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)
DEFAULT_PAUSE_S: Final = 1.0
"""After a 429 without a Retry-After, and what spreads those that were told the same second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the account allows; from the environment, so that one sandbox can be generous."""

    per_second: int
    per_minute: int


def limits_of_account() -> Limits:
    """50 a second and 1,000 a minute unless BENCH_PER_SECOND and BENCH_PER_MINUTE say otherwise."""
    return Limits(int(os.environ.get("BENCH_PER_SECOND", "50")), int(os.environ.get("BENCH_PER_MINUTE", "1000")))


class Refused(Exception):
    """A 429; `pause_s` says in how many seconds to try again."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(f"refused, again in {pause_s:.1f} s")
        self.pause_s = pause_s


def open_room(incident_id: str) -> None:
    """Opens the room of one incident.

    Raises:
        Refused: the API answered 429.
        httpx.HTTPError: it answered something else, or nothing.
    """
    answer = _client().post(
        "/incident/war-room/create",
        params={"app_key": os.environ["FLASHDUTY_APP_KEY"]},
        json={"incident_id": incident_id, "integration_id": int(os.environ["FLASHDUTY_INTEGRATION_ID"])},
    )
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        asked = answer.headers.get("Retry-After", "")
        pause_s = float(asked) if asked.isdigit() else DEFAULT_PAUSE_S
        raise Refused(pause_s + random.uniform(0, DEFAULT_PAUSE_S))  # a little apart, or they all come at once
    answer.raise_for_status()


# At INFO httpx logs every URL, and the app key stands in it.
logging.getLogger("httpx").setLevel(logging.WARNING)


_of_thread = threading.local()


def _client() -> httpx.Client:
    client: httpx.Client | None = getattr(_of_thread, "client", None)
    if client is None:
        client = httpx.Client(
            base_url=os.environ["FLASHDUTY_BASE_URL"], verify=_tls(), limits=ONE, timeout=30, trust_env=False
        )
        _of_thread.client = client
    return client


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
