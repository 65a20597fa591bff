"""How a sandbox is set up: one frozen value, checked when it is made."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sandbox.errors import ConfigError
from sandbox.latency import Latency
from sandbox.models import MODELS, SECOND_US, Enforcer, rates_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.faults import FaultRule

RETRY_AFTER: Final = ("none", "seconds", "http-date")
MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Limits:
    """How the account's limits are enforced and how fast calls are answered; can be changed at run time.

    Args:
        model: `fixed`, `sliding-log`, `sliding-counter`, `token-bucket` or `gcra`.
        rates: in `limits`' notation.
        phase_s: where windows of `fixed` and `sliding-counter` begin, in seconds after the start or reset.
        count_refused: whether refused calls spend from the limits too.
        retry_after: what a refusal says of the wait: `none` (none is documented), `seconds`, `http-date`.
        latency: of accepted calls: `constant:S`, `uniform:LOW:HIGH`, `lognormal:MEDIAN:SIGMA` or
            `exponential:MEAN`.

    Raises:
        ConfigError: a value is wrong.
    """

    model: str = "sliding-log"
    rates: str = "50/second;1000/minute"
    phase_s: float = 0.0
    count_refused: bool = False
    retry_after: str = "none"
    latency: str = "constant:0"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ConfigError(f"there is no model {self.model!r}; choose one of {', '.join(MODELS)}")
        if self.retry_after not in RETRY_AFTER:
            raise ConfigError(f"retry_after is one of {', '.join(RETRY_AFTER)}, not {self.retry_after!r}")
        if not math.isfinite(self.phase_s):
            raise ConfigError("phase_s is a number of seconds")
        rates_of(self.rates)
        Latency.of(self.latency)

    def enforcer(self) -> Enforcer:
        """A fresh enforcer: nothing counted yet."""
        phase_us = round(self.phase_s * SECOND_US)
        return Enforcer(self.model, rates_of(self.rates), phase_us, count_refused=self.count_refused)


def _default_keys() -> Mapping[str, str]:
    return {"sandbox-key": "sandbox"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """A whole sandbox.

    Args:
        app_keys: the account of each app key; keys of one account share its limits. Not in the repr.
        model, rates, phase_s, count_refused, retry_after, latency: see `Limits`.
        seed: of latencies, fault probabilities and incident ids.
        incidents: how many incidents exist, one a minute back from now.
        strict_incidents: whether create asks for an incident and an integration that exist.
        empty_after_loss: whether create answers `{}` where the incident's group was deleted in the IM.
        faults: rules in force from the start.
        host: a loopback address.
        port: 0 takes a free one.
        access_log: one line a call on stderr, without query strings.

    Raises:
        ConfigError: a value is wrong.
    """

    app_keys: Mapping[str, str] = field(default_factory=_default_keys, repr=False)
    model: str = "sliding-log"
    rates: str = "50/second;1000/minute"
    phase_s: float = 0.0
    count_refused: bool = False
    retry_after: str = "none"
    latency: str = "constant:0"
    seed: int = 1
    incidents: int = 0
    strict_incidents: bool = False
    empty_after_loss: bool = False
    faults: tuple[FaultRule, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    access_log: bool = False

    def __post_init__(self) -> None:
        if not self.app_keys or not all(key and account for key, account in self.app_keys.items()):
            raise ConfigError("a sandbox needs at least one app key, each with an account")
        if self.incidents < 0:
            raise ConfigError("the number of incidents is not negative")
        if not 0 <= self.port <= MAX_PORT:
            raise ConfigError(f"{self.port} is no port")
        _check_loopback(self.host)
        object.__setattr__(self, "app_keys", MappingProxyType(dict(self.app_keys)))
        object.__setattr__(self, "faults", tuple(self.faults))
        _ = self.limits

    @property
    def limits(self) -> Limits:
        """The part that can be changed at run time, as it is at the start."""
        return Limits(
            model=self.model,
            rates=self.rates,
            phase_s=self.phase_s,
            count_refused=self.count_refused,
            retry_after=self.retry_after,
            latency=self.latency,
        )


def _check_loopback(host: str) -> None:
    """The sandbox takes anyone's faults and made-up keys: it must not be reachable from elsewhere."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(f"the sandbox binds loopback addresses only, not {host!r}")
