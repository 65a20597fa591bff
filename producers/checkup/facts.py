"""What a Redis server says of itself: INFO, and CONFIG GET where it is permitted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTIVES: Final = (
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "save",
    "stop-writes-on-bgsave-error",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "timeout",
    "maxclients",
)
"""What the judgements ask of the configuration: none of it is a secret."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server.

    Args:
        info: INFO's fields. Which ones there are depends on version and provider: a judgement takes what it gets.
        config: CONFIG GET's directives; None where it is forbidden, as on managed services.
    """

    info: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, str] | None = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A field of INFO; empty if it is not there."""
        return str(self.info.get(name, ""))

    def number(self, name: str) -> int | None:
        """A field of INFO that is a whole number; None if it is not there."""
        value = self.info.get(name)
        return value if isinstance(value, int) else None

    def setting(self, name: str) -> str | None:
        """A directive of the configuration; None if it is not known."""
        return (self.config or {}).get(name)

    def change(self, name: str, value: str) -> str:
        """How to change a directive so that it lasts."""
        if self.config is None:
            return f"set {name} {value} in the service's parameters (CONFIG is forbidden here)"
        return f"CONFIG SET {name} {value}, then CONFIG REWRITE (or '{name} {value}' in redis.conf) to keep it"

    @property
    def name(self) -> str:
        """`Redis 7.2.4`, `Valkey 9.1.2`."""
        valkey = self.text("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {self.text('redis_version') or '(unknown version)'}"

    @property
    def version(self) -> tuple[int, int] | None:
        """Major and minor of the Redis version whose commands it has; Valkey says 7.2. None if it says none."""
        found = re.match(r"(\d+)\.(\d+)", self.text("redis_version"))
        return (int(found[1]), int(found[2])) if found else None
