"""REDIS_URL as the address of Sentinels, which know where the primary is; a value that is right or cannot be built.

    redis+sentinel://[user:password@]host:26379,host:26379,host:26379/PRIMARY[/0][?sentinel_password=…]

`rediss+sentinel://` speaks TLS to both. kombu's own writing, `sentinel://host:26379;sentinel://host:26379/PRIMARY/0`,
is the same address. User and password are those of Redis; those of the Sentinels, if they want any, are options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("redis+sentinel://", "rediss+sentinel://", "sentinel://")
PORT: Final = 26379
SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_ENCODE: Final = "a password needs its '/', '#', '?', '@', ':', ',' and ';' percent-encoded"
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_PATH: Final = re.compile(r"([A-Za-z0-9._-]+)(?:/([0-9]{1,5}))?")
_LAST_PORT: Final = 65535


def is_sentinel(url: str) -> bool:
    """Whether an address is one of Sentinels, right or wrong."""
    return url.startswith(SCHEMES)


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the Sentinels are, and which primary they shall name.

    Args:
        hosts: host and port of each Sentinel.
        primary: the name under which they watch it (`sentinel monitor NAME …`).
        database: the number of the database.
        username, password: those of Redis; empty if there are none.
        sentinel_username, sentinel_password: those of the Sentinels.
        tls: options for TLS, to Redis and Sentinels alike; None: none.
    """

    hosts: tuple[tuple[str, int], ...]
    primary: str
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: Mapping[str, str] | None = None

    @classmethod
    def of(cls, url: str) -> SentinelAddress:
        """Reads an address.

        Raises:
            SettingsError: which part of it is wrong. Nothing of what it holds: any piece may belong to a password.
        """
        scheme, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        if "#" in url:
            raise SettingsError(f"there is a '#' in it; {_ENCODE}")
        places, path, credentials = _parts(rest)
        username, password = _credentials(credentials)
        options = _options(query, tls=scheme.startswith("rediss"))
        primary, database = _primary(path)
        return cls(
            hosts=tuple(map(_host, places)),
            primary=primary,
            database=database,
            username=username,
            password=password,
            sentinel_username=options.get("sentinel_username", ""),
            sentinel_password=options.get("sentinel_password", ""),
            tls={name: options[name] for name in TLS_OPTIONS if name in options}
            if scheme.startswith("rediss")
            else None,
        )

    @property
    def place(self) -> str:
        """As people may read it, without secrets."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts}/{self.primary}/{self.database}"


def _parts(rest: str) -> tuple[list[str], str, str]:
    """The places, the path behind the last of them, and the credentials: each may stand at one address or at all."""
    places, paths, credentials = [], [], set()
    for address in rest.split(";sentinel://"):
        before, at, place = address.rpartition("@")
        credentials |= {before} if at else set()
        place, _, path = place.removesuffix("/").partition("/")
        places += re.split("[,;]", place)
        paths.append(path)
    if len(credentials) > 1:
        raise SettingsError("its addresses have different users or passwords: all are for the same Redis")
    return places, paths[-1], credentials.pop() if credentials else ""


def _host(place: str) -> tuple[str, int]:
    found = _HOST.fullmatch(place)
    port = int(found[2] or PORT) if found else 0
    if found is None or not 0 < port <= _LAST_PORT:
        raise SettingsError(f"a Sentinel must be host:port, several separated by commas; {_ENCODE}")
    return found[1].strip("[]"), port


def _primary(path: str) -> tuple[str, int]:
    found = _PATH.fullmatch(path)
    # A single number is the database of somebody who forgot the name.
    if found is None or (found[2] is None and path.isdecimal()):
        raise SettingsError(
            "behind the Sentinels it must name the primary that they watch, and may number its database: "
            "…:26379/mymaster/0 (SENTINEL MASTERS lists the names)"
        )
    return found[1], int(found[2] or 0)


def _credentials(text: str) -> tuple[str, str]:
    username, colon, password = text.partition(":")
    if (text and not colon) or re.search(r"[@/:,;]", username + password):
        raise SettingsError(f"what stands before the '@' must be user:password or :password; {_ENCODE}")
    return unquote(username), unquote(password)


def _options(query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = SENTINEL_OPTIONS + (TLS_OPTIONS if tls else ())
    if not set(options) <= set(known):
        raise SettingsError(f"behind the '?' only {', '.join(known)} may stand, each with its value; {_ENCODE}")
    return options
