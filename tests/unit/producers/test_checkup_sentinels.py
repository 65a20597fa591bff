"""What the doctor says of the Sentinels, by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from producers.checkup import sentinels
from producers.checkup.facts import Server
from producers.checkup.finding import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE: Final[Mapping[str, Any]] = {
    "name": "mymaster",
    "ip": "r1",
    "port": 6379,
    "quorum": 2,
    "num-slaves": 2,
    "num-other-sentinels": 2,
    "down-after-milliseconds": 5000,
}
SAFE: Final = {"min-replicas-to-write": "1", "min-replicas-max-lag": "3"}
Told = dict[str, "Mapping[str, Any] | None"]


def told(**other: object) -> Told:
    state = {**STATE, **{name.replace("_", "-"): value for name, value in other.items()}}
    return {"s1:26379": state, "s2:26379": state, "s3:26379": state}


@pytest.mark.parametrize(
    ("said", "connected", "config", "level", "words"),
    [
        (told(), 2, SAFE, Level.OK, "3 Sentinels name r1:6379, with 2 replicas; 2 must find it silent for 5 s"),
        (told(), 2, {}, Level.OK, "3 Sentinels"),
        ({**told(), "s3:26379": None}, 2, SAFE, Level.WARNING, "s3:26379 does not answer"),
        ({**told(), "s3:26379": {**STATE, "ip": "r2"}}, 2, SAFE, Level.WARNING, "r1:6379, r2:6379"),
        (told(), 0, SAFE, Level.PROBLEM, "no replica follows the primary"),
        (told(num_other_sentinels=1), 2, SAFE, Level.WARNING, "2 Sentinels only"),
        (told(down_after_milliseconds=500), 2, SAFE, Level.WARNING, "silent for 500 ms is given up"),
        (told(), 2, {**SAFE, "min-replicas-to-write": "0"}, Level.WARNING, "min-replicas-max-lag 3"),
        (told(num_slaves=1), 1, {**SAFE, "min-replicas-to-write": "0"}, Level.OK, "with 1 replica;"),
        (told(), 2, {**SAFE, "min-replicas-max-lag": "10"}, Level.WARNING, "goes on for 10 s"),
        (told(down_after_milliseconds=30000), 2, {**SAFE, "min-replicas-max-lag": "10"}, Level.OK, "for 30 s"),
    ],
)
def test_it_says_what_is_wrong_with_them(
    said: Told, connected: int, config: Mapping[str, str], level: Level, words: str
) -> None:
    found = sentinels.watched(Server({"role": "master", "connected_slaves": connected}, config), said)
    assert (found.what, found.level) == ("sentinels", level)
    assert words in f"{found.found} | {found.to_do}"
