"""What can be set of the web process, read once from the environment; the rest is in worker/settings.py.

| variable | default | meaning |
|---|---|---|
| WARROOMS_API_TOKENS, WARROOMS_API_TOKENS_FILE | - | who may ask for what (tokens.py), or a file of it; required |
| WARROOMS_WEBHOOK_SECRET | - | what must stand in X-Warrooms-Secret, 16 characters or more; no webhook without |
| WARROOMS_WEBHOOK_EVENTS | i_assign | event types that open a room, separated by commas |
| WARROOMS_WEBHOOK_SEVERITIES | - | severities that open a room (Critical,Warning,Info); without it all |
| WARROOMS_MAX_BACKLOG | 1000000 | an account with more waiting jobs takes no new ones for now (429) |
| WARROOMS_MAX_BODY_BYTES | 1048576 | the largest body of a request |
| WARROOMS_MAX_BULK_BYTES | 268435456 | the largest body of a bulk request |
| WARROOMS_METRICS_OPEN | false | whether /metrics asks for no token; it names the accounts |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from producers.http.tokens import SHORTEST, Tokens
from producers.webhook import Rules
from worker.errors import SettingsError
from worker.settings import YesOrNo

if TYPE_CHECKING:
    from collections.abc import Collection


def _names(value: object) -> object:
    return frozenset(name for part in value.split(",") if (name := part.strip())) if isinstance(value, str) else value


Names = Annotated[frozenset[str], NoDecode, BeforeValidator(_names)]

_SENDABLE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
"""What a header carries unchanged: printable ASCII; spaces at its ends are taken off on the way."""

_WHAT_IT_NEEDS: Final = (
    "needs at least 16 characters of printable ASCII, without spaces at its ends; make one with: openssl rand -hex 32"
)


def _webhook_secret(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if secret and (len(secret) < SHORTEST or not _SENDABLE.fullmatch(secret)):
        raise PydanticCustomError("webhook_secret", _WHAT_IT_NEEDS)
    return value


class WebSettings(BaseSettings):
    """Everything that can be set of the web process; `WebSettings.load()` reads it once."""

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    api_tokens: SecretStr = Field(SecretStr(""), validation_alias="WARROOMS_API_TOKENS")
    api_tokens_file: Path | None = Field(None, validation_alias="WARROOMS_API_TOKENS_FILE")
    webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] = Field(
        SecretStr(""), validation_alias="WARROOMS_WEBHOOK_SECRET"
    )
    webhook_events: Names = Field(frozenset({"i_assign"}), validation_alias="WARROOMS_WEBHOOK_EVENTS")
    webhook_severities: Names = Field(frozenset(), validation_alias="WARROOMS_WEBHOOK_SEVERITIES")
    max_backlog: int = Field(1_000_000, ge=1, validation_alias="WARROOMS_MAX_BACKLOG")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, validation_alias="WARROOMS_MAX_BODY_BYTES")
    max_bulk_bytes: int = Field(256 * 1024 * 1024, ge=1024, validation_alias="WARROOMS_MAX_BULK_BYTES")
    metrics_open: YesOrNo = Field(False, validation_alias="WARROOMS_METRICS_OPEN")

    @classmethod
    def load(cls) -> WebSettings:
        """The settings of this process's environment.

        Raises:
            SettingsError: names each variable that is wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}" for detail in details
        )
        raise SettingsError(f"wrong setting: {wrong}")

    def tokens(self, accounts: Collection[str]) -> Tokens:
        """Who may ask; the file's entries, if there is a file.

        Raises:
            SettingsError: there is none, or one is wrong; never says what it holds.
        """
        if self.api_tokens_file is None:
            return Tokens.parse(self.api_tokens.get_secret_value(), accounts)
        try:
            text = self.api_tokens_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
        else:
            return Tokens.parse(text, accounts)
        raise SettingsError(f"cannot read the file that WARROOMS_API_TOKENS_FILE names: {reason}")

    def rules(self) -> Rules:
        """Which webhook events open a room."""
        return Rules(self.webhook_events, frozenset(name.casefold() for name in self.webhook_severities))
