"""Something to read from Redis, as a value: many of them are read in one round trip (`RedisStore.together`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What is asked, and how the replies are read.

    Args:
        ask: puts its commands into a pipeline, at least one.
        read: the value, from their replies.
    """

    ask: Callable[[Any], object]
    read: Callable[[list[Any]], T]
