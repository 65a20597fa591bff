"""Settings: read once from the environment, frozen, handed down. The one place that knows the variables' names.

Those of the web process are in producers/http/settings.py.

| variable | default | meaning |
|---|---|---|
| REDIS_URL | redis://localhost:6379/0 | the Redis that everyone shares, or its Sentinels; a database of its own |
| FLASHDUTY_APP_KEY, FLASHDUTY_APP_KEY_FILE | - | the app key of the account `default`, or a file that holds it |
| FLASHDUTY_BASE_URL | https://api.flashcat.cloud | where the API is |
| FLASHDUTY_INTEGRATION_ID | - | the IM integration used when a job names none; without it the only one there is |
| WARROOMS_RATES | 50/second;1000/minute | the account's limits, all of them enforced at once |
| WARROOMS_SPREAD_S | 0.25 | D: the largest spread of (arrival at the API - slot) that is covered, in seconds |
| WARROOMS_ACCOUNTS_FILE | - | TOML with several accounts; see `_AccountEntry` |
| WARROOMS_CONCURRENCY | 64 | threads of one worker process: rate x (API latency + 0.25 s), with room to spare |
| WARROOMS_RETENTION_DAYS | 7 | how long finished jobs are remembered (and found again by a second enqueue) |
| WARROOMS_LOG_FORMAT | auto | console, json, or auto: console on a terminal |
| WARROOMS_METRICS_ADDRESS | 127.0.0.1:9464 | where a worker serves /metrics, or `off`; if taken, one of the next 20 |
| WARROOMS_TASK_EVENTS | yes | whether workers tell Flower of each task |
| WARROOMS_OTEL | auto | traces: on, off, or auto: if OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) is set |

An accounts file has one table per account, `[accounts.NAME]`, each with `app_key_file` or `app_key_env`, and optionally
`integration_id` and `rates`. No app key is written in it, and none is read before a call needs it.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import SettingsError
from worker.jobs import AccountName, PositiveInt64
from worker.rate_limit import DEFAULT_RATES, SECOND_US, Plan, plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ACCOUNT: Final = "default"
KEY: Final = "[key]"
"""How pydantic ends the place of an error in the name of a table's entry."""


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class Switch(StrEnum):
    """Whether something is on; auto: if it makes sense."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes any."""

    host: str
    port: int

    def at(self, port: int) -> str:
        """As it stands in a URL, with the port that it became."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().lower() == Switch.OFF:
        return None
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", value.strip())
    if found is None or int(found[2]) > 65535:  # noqa: PLR2004
        raise ValueError("must be host:port, such as 127.0.0.1:9464, or off")
    return Address(found[1].strip("[]"), int(found[2]))


def _digits(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _empty_is_absent(value: object) -> object:
    return None if value == "" else value


_YES: Final = frozenset({"yes", "y", "true", "t", "on", "1"})
_NO: Final = frozenset({"no", "n", "false", "f", "off", "0"})


def _yes_or_no(value: object) -> object:
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word not in _YES | _NO:
        # A short word is no secret; anything else may be one, put into the wrong variable.
        got = f", got {word!r}" if re.fullmatch("[a-z]{1,8}", word) else ""
        raise ValueError(f"must be yes or no{got}")
    return word in _YES


YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_absent)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_absent)]
OptionalId = Annotated[PositiveInt64 | None, BeforeValidator(_digits), BeforeValidator(_empty_is_absent)]


class Account(BaseModel):
    """One Flashduty account: where its key is (not the key), its limits, its default IM integration."""

    model_config = ConfigDict(frozen=True)

    name: AccountName
    plan: Plan
    integration_id: PositiveInt64 | None = None
    app_key_env: str | None = None
    app_key_file: Path | None = None

    def app_key(self) -> str:
        """The secret itself, read when it is needed and kept nowhere.

        Raises:
            SettingsError: there is none; says which variable or file was asked.
        """
        key = self._read_file() if self.app_key_file else os.environ.get(self.app_key_env or "", "").strip()
        if not key:
            source = f"the file {_shown(self.app_key_file)} is empty" if self.app_key_file else self._unset()
            raise SettingsError(f"no app key for account {self.name!r}: {source}")
        return key

    def _unset(self) -> str:
        either = " (or FLASHDUTY_APP_KEY_FILE)" if self.app_key_env == "FLASHDUTY_APP_KEY" else ""
        return f"set {self.app_key_env or 'FLASHDUTY_APP_KEY'}{either}"

    def _read_file(self) -> str:
        path = self.app_key_file or Path()
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"cannot read the app key of account {self.name!r} from {_shown(path)}: {reason}")


def _shown(path: Path) -> str:
    """The path, unless it may be the key itself, put where its file belongs."""
    return str(path) if len(path.parts) > 1 or path.exists() else "the file that the setting names"


class _AccountEntry(BaseModel):
    """`[accounts.NAME]` of the accounts file."""

    model_config = ConfigDict(extra="forbid")

    app_key_file: Path | None = None
    app_key_env: VariableName | None = None
    integration_id: PositiveInt64 | None = None
    rates: str = DEFAULT_RATES

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.app_key_file is None) == (self.app_key_env is None):
            raise ValueError("needs exactly one of app_key_file and app_key_env")
        return self


class _AccountsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    accounts: dict[AccountName, _AccountEntry] = Field(min_length=1)


class Settings(BaseSettings):
    """Everything that can be set from outside; `Settings.load()` reads it once."""

    model_config = SettingsConfigDict(
        frozen=True, case_sensitive=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    redis_url: str = Field("redis://localhost:6379/0", validation_alias="REDIS_URL", repr=False)
    base_url: str = Field("https://api.flashcat.cloud", validation_alias="FLASHDUTY_BASE_URL")
    app_key_file: OptionalPath = Field(None, validation_alias="FLASHDUTY_APP_KEY_FILE")
    integration_id: OptionalId = Field(None, validation_alias="FLASHDUTY_INTEGRATION_ID")
    rates: str = Field(DEFAULT_RATES, validation_alias="WARROOMS_RATES")
    spread_s: float = Field(0.25, ge=0.05, le=10, validation_alias="WARROOMS_SPREAD_S")
    accounts_file: OptionalPath = Field(None, validation_alias="WARROOMS_ACCOUNTS_FILE")
    concurrency: int = Field(64, ge=1, le=1024, validation_alias="WARROOMS_CONCURRENCY")
    retention_days: float = Field(7, gt=0, le=3650, validation_alias="WARROOMS_RETENTION_DAYS")
    log_format: LogFormat = Field(LogFormat.AUTO, validation_alias="WARROOMS_LOG_FORMAT")
    flower_password_file: OptionalPath = Field(None, validation_alias="WARROOMS_FLOWER_PASSWORD_FILE")
    flower_open: YesOrNo = Field(default=False, validation_alias="WARROOMS_FLOWER_OPEN")
    metrics_address: Annotated[Address | None, NoDecode, BeforeValidator(_address)] = Field(
        Address("127.0.0.1", 9464), validation_alias="WARROOMS_METRICS_ADDRESS"
    )
    task_events: YesOrNo = Field(default=True, validation_alias="WARROOMS_TASK_EVENTS")
    otel: Switch = Field(Switch.AUTO, validation_alias="WARROOMS_OTEL")
    otlp_endpoint: str = Field(
        "",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        repr=False,
    )

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process's environment.

        Raises:
            SettingsError: names each variable that is wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        wrong = "; ".join(f"{'.'.join(map(str, d['loc']))}: {_say(d)}" for d in details)
        raise SettingsError(f"wrong setting: {wrong}")

    def accounts(self) -> Mapping[str, Account]:
        """The accounts by name: those of the accounts file, else one named `default`.

        Raises:
            SettingsError: the file cannot be read, or an entry of it is wrong.
        """
        spread_us = round(self.spread_s * SECOND_US)
        if self.accounts_file is None:
            return {
                DEFAULT_ACCOUNT: Account(
                    name=DEFAULT_ACCOUNT,
                    plan=_named("WARROOMS_RATES", lambda: plan_of(self.rates, spread_us)),
                    integration_id=self.integration_id,
                    app_key_env="FLASHDUTY_APP_KEY",
                    app_key_file=self.app_key_file,
                )
            }
        entries = _read_accounts(self.accounts_file)
        return {
            name: Account(
                name=name,
                plan=_named(
                    f"{self.accounts_file}: accounts.{name}.rates", lambda e=entry: plan_of(e.rates, spread_us)
                ),
                integration_id=entry.integration_id,
                app_key_env=entry.app_key_env,
                app_key_file=entry.app_key_file,
            )
            for name, entry in entries.items()
        }

    @property
    def traced(self) -> bool:
        """Whether traces are wanted."""
        return self.otel is Switch.ON or (self.otel is Switch.AUTO and bool(self.otlp_endpoint))

    @property
    def retention_s(self) -> int:
        """How long finished jobs are remembered, in seconds."""
        return max(1, round(self.retention_days * 86_400))


def _named(where: str, make: Any) -> Plan:  # noqa: ANN401
    try:
        plan: Plan = make()
    except SettingsError as error:
        problem = str(error)
    else:
        return plan
    raise SettingsError(f"{where}: {problem}")


def _read_accounts(path: Path) -> dict[str, _AccountEntry]:
    try:
        return _AccountsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).accounts
    except OSError as error:
        problem = f"cannot read it: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"not TOML: {error}"
    except ValidationError as error:
        # Without the input: a person may have put a key where only its source belongs.
        details = error.errors(include_url=False, include_input=False)
        problem = "; ".join(f"{'.'.join(str(p) for p in d['loc'] if p != KEY)}: {_say(d)}" for d in details)
    raise SettingsError(f"WARROOMS_ACCOUNTS_FILE {path}: {problem}")


def _say(detail: Any) -> str:  # noqa: ANN401
    if detail["type"] == "extra_forbidden":
        return "unknown name"
    if detail["type"] == "string_pattern_mismatch" and detail["loc"][-1] == KEY:
        return "an account's name must be 1 to 63 letters, digits, '-' or '_', the first a letter or a digit"
    if detail["type"] == "string_pattern_mismatch":
        return "must be a name: letters, digits and '_', for a variable in capitals"
    if detail["type"] == "missing":
        return "is missing"
    return str(detail["msg"]).removeprefix("Value error, ")
