"""Faults on demand: which calls go wrong, how, how often. What a fault answers is in `faulty`."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from sandbox.api import ENDPOINTS
from sandbox.errors import CODES, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.envelope import JsonObject


class Kind(StrEnum):
    """What goes wrong."""

    TOO_FREQUENT = "too-frequent"  # 429; Retry-After if retry_after_s is set
    LIMIT_PAUSE = "limit-pause"  # 429 to every call of the account for retry_after_s seconds
    ERROR = "error"  # an error envelope with `code`; with status 200 if asked
    ECHO = "echo"  # an error envelope whose message holds the request's URL, app key included
    HTML = "html"  # a gateway's 504 page, not JSON
    CUT = "cut"  # the connection ends without an answer
    HANG = "hang"  # no answer, for as long as the caller waits
    GARBAGE = "garbage"  # 200 with a body that is no JSON
    EMPTY_DATA = "empty-data"  # success with "data": {}
    NULL_DATA = "null-data"  # success with "data": null
    NO_DATA = "no-data"  # success without data
    OK_CODE = "ok-code"  # success that carries "error": {"code": "OK"}
    OVER_LONG = "over-long"  # success padded beyond 10 MB


_AFTER: Final = frozenset({Kind.GARBAGE, Kind.NULL_DATA, Kind.NO_DATA, Kind.OK_CODE, Kind.OVER_LONG})
_ONLY_AFTER: Final = frozenset({Kind.OK_CODE, Kind.OVER_LONG})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One rule. Its JSON has the same fields; a rule without `calls` and `probability` applies for ever.

    Args:
        kind: what goes wrong.
        when: `before` the call is carried out (no room is made) or `after`; empty takes the kind's usual.
        endpoints: paths, all if empty; in JSON a single string will do.
        incident_id: only calls that name this incident; any if empty.
        account: only calls of this account; any if empty.
        calls: how many calls it hits before it is spent; None is without end.
        skip: how many matching calls it lets pass first.
        probability: the share of matching calls it hits, 0 to 1.
        code: the `error.code` of `error` and `echo`.
        status: the HTTP status of `error`, `echo` and `html`; None takes the code's own (html: 504).
        message: the message of `error`; the code's own if empty.
        retry_after_s: `Retry-After` of a 429 in seconds; None sends none. The length of a limit-pause.
        http_date: send Retry-After as an HTTP date.
        echo_key: `html` repeats the request's URL with the app key, as real gateways do.
        reset: `cut` sends a RST; false closes in good order.
        delay_s: seconds the fault waits before it strikes, beside the latency.
    """

    kind: Kind
    when: str = ""
    endpoints: tuple[str, ...] = ()
    incident_id: str = ""
    account: str = ""
    calls: int | None = None
    skip: int = 0
    probability: float = 1.0
    code: str = "InternalError"
    status: int | None = None
    message: str = ""
    retry_after_s: float | None = None
    http_date: bool = False
    echo_key: bool = False
    reset: bool = True
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        _check_types(self)
        wrong = next((sentence for holds, sentence in self._rules() if not holds), None)
        if wrong is not None:
            raise ConfigError(f"fault {self.kind}: {wrong}")

    def _rules(self) -> tuple[tuple[bool, str], ...]:
        pause_s = self.retry_after_s or 0.0
        unknown = [path for path in self.endpoints if path not in ENDPOINTS]
        return (
            (self.when in {"", "before", "after"}, "when is 'before' or 'after'"),
            (
                self.when != "before" or self.kind not in _ONLY_AFTER,
                "it needs a real answer: when is 'after'",
            ),
            (not unknown, f"there is no endpoint {', '.join(unknown)}"),
            (self.calls is None or self.calls >= 1, "calls is at least 1"),
            (self.skip >= 0, "skip is not negative"),
            (0 <= self.probability <= 1, "probability lies between 0 and 1"),
            (self.code in CODES, f"{self.code!r} is no documented error code"),
            (self.status is None or 200 <= self.status <= 599, "status lies between 200 and 599"),  # noqa: PLR2004
            (0 <= pause_s < inf and 0 <= self.delay_s < inf, "times are finite and not negative"),
            (self.kind != Kind.LIMIT_PAUSE or pause_s > 0, "retry_after_s says how long the pause is"),
        )

    @property
    def after(self) -> bool:
        """Whether the call is carried out before the fault strikes."""
        return self.when == "after" if self.when else self.kind in _AFTER

    @classmethod
    def of(cls, data: object) -> FaultRule:
        """Read a rule from JSON.

        Raises:
            ConfigError: a field is unknown, missing or wrong.
        """
        if not isinstance(data, dict):
            raise ConfigError('a fault rule is a JSON object such as {"kind": "cut", "calls": 1}')
        values: dict[str, object] = dict(data)
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(f"a fault rule has no field {', '.join(unknown)}")
        kinds = [kind.value for kind in Kind]
        if values.get("kind") not in kinds:
            raise ConfigError(f"a fault's kind is one of {', '.join(kinds)}")
        values["kind"] = Kind(str(values["kind"]))
        paths = values.get("endpoints", ())
        values["endpoints"] = (paths,) if isinstance(paths, str) else _tuple_of(paths)
        return cls(**values)  # type: ignore[arg-type] # __post_init__ checks each value's type

    def json(self) -> JsonObject:
        """The fields that differ from the defaults."""
        defaults = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if value != defaults.get(name, MISSING)}


def _tuple_of(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError("endpoints is a path or a list of paths")
    return tuple(value)


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "float": (int, float),
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "tuple[str, ...]": (tuple,),
    "Kind": (Kind,),
}


def _check_types(rule: FaultRule) -> None:
    """JSON brings any type; a wrong one must be named here, not in the middle of a call."""
    for field in fields(rule):
        value, allowed = getattr(rule, field.name), _TYPES[str(field.type)]
        wrong = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
        if wrong or (isinstance(value, tuple) and any(not isinstance(item, str) for item in value)):
            raise ConfigError(f"fault {rule.kind}: {field.name} has the wrong type")


class _Live:
    """A rule at work: how many matching calls it saw, how many it hit."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule, self.seen, self.fired = rule, 0, 0

    def hits(self, account: str, endpoint: str, incident_id: str, random: Random) -> bool:
        rule = self.rule
        spent = rule.calls is not None and self.fired >= rule.calls
        if spent or (rule.endpoints and endpoint not in rule.endpoints) or rule.account not in ("", account):
            return False
        if rule.incident_id and rule.incident_id.lower() != incident_id.lower():
            return False
        self.seen += 1
        if self.seen <= rule.skip or (rule.probability < 1 and random.random() >= rule.probability):
            return False
        self.fired += 1
        return True


class Faults:
    """The rules in force, in the order they were added; the first that hits decides."""

    def __init__(self, rules: tuple[FaultRule, ...], seed: int) -> None:
        self._random = Random(seed)
        self._live = [_Live(rule) for rule in rules]

    def add(self, *rules: FaultRule) -> None:
        """Add rules behind those in force."""
        self._live.extend(_Live(rule) for rule in rules)

    def clear(self) -> None:
        """Remove every rule."""
        self._live.clear()

    def pick(self, account: str, endpoint: str, incident_id: str) -> FaultRule | None:
        """The rule that hits this call, if any."""
        for live in self._live:
            if live.hits(account, endpoint, incident_id, self._random):
                return live.rule
        return None

    def json(self) -> list[JsonObject]:
        """Each rule with how often it has hit."""
        return [live.rule.json() | {"fired": live.fired} for live in self._live]
