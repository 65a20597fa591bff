"""Whether everything came out even: pure, from what was found to sentences about what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from worker.records import Progress, Record

SHOWN: Final = 10
"""So many jobs of a kind are named; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found when nothing moved any more.

    Args:
        records: of each job that was handed in, by id; None if the ledger has none.
        rooms: every room the API made.
        progress: the account's counters.
        batches: of each batch, the ids that were handed in under its name, and its counters.
        left_over: how much stands in each place that must be empty.
        deserters: workers that ended although nobody ended them.
    """

    records: Mapping[str, Record | None]
    rooms: Sequence[Mapping[str, Any]]
    progress: Progress
    batches: Mapping[str, tuple[frozenset[str], Progress | None]]
    left_over: Mapping[str, int]
    deserters: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """The result: counts, and one sentence for each thing that is wrong."""

    enqueued: int
    states: Mapping[str, int]
    rooms: int
    incidents_with_rooms: int
    max_attempts: int
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        return "it balances" if self.holds else "it does not balance:\n  " + "\n  ".join(self.wrong)


def weigh(found: Findings) -> Balance:
    """Counts, and says what does not fit."""
    records = {job_id: record for job_id, record in found.records.items() if record is not None}
    states = Counter(record.state for record in records.values())
    wrong = (*_jobs(found), *_rooms(found), *_counters(found), *_left_over(found))
    return Balance(
        enqueued=len(found.records),
        states={state.value: states[state] for state in JobState if states[state]},
        rooms=len(found.rooms),
        incidents_with_rooms=len({room["incident_id"] for room in found.rooms}),
        max_attempts=max((record.attempts for record in records.values()), default=0),
        wrong=wrong,
    )


def _jobs(found: Findings) -> Iterator[str]:
    gone = [job_id for job_id, record in found.records.items() if record is None]
    if gone:
        yield _sentence("have no record", gone)
    unfinished = {i: r for i, r in found.records.items() if r is not None and not r.state.finished}
    if unfinished:
        yield _sentence("are not finished", [f"{i} {r.state} (attempt {r.attempts})" for i, r in unfinished.items()])


def _rooms(found: Findings) -> Iterator[str]:
    chats = defaultdict[str, list[str]](list)
    for room in found.rooms:
        chats[room["incident_id"]].append(room["chat_id"])
    incident = {job_id: job_id.split(".")[1] for job_id in found.records}
    handed_in = set(incident.values())
    state = {i: r.state if r else "without a record" for i, r in found.records.items()}
    doubled = [f"{i} {state[i]} ({len(chats[name])} rooms)" for i, name in incident.items() if len(chats[name]) > 1]
    if doubled:
        yield _sentence("have more than one room", doubled)
    with_room = {i: r for i, r in found.records.items() if r is not None and r.state.has_room}
    missing = [f"{i} {r.state}" for i, r in with_room.items() if not chats[incident[i]]]
    if missing:
        yield _sentence("have a room that the API never made", missing)
    other = [
        f"{i} {r.state}"
        for i, r in with_room.items()
        if chats[incident[i]] and (r.room is None or r.room.chat_id not in chats[incident[i]])
    ]
    if other:
        yield _sentence("name a room that is not theirs", other)
    strange = [name for name in chats if name not in handed_in]
    if strange:
        yield _sentence("are incidents with a room that nobody asked for", strange)


def _counters(found: Findings) -> Iterator[str]:
    yield from _compare("the ledger", found.records, found, found.progress)
    for name, (job_ids, progress) in found.batches.items():
        if progress is None:
            yield f"batch {name} is not known"
        else:
            yield from _compare(f"batch {name}", job_ids, found, progress)


def _compare(who: str, job_ids: Iterable[str], found: Findings, progress: Progress) -> Iterator[str]:
    records = [found.records.get(job_id) for job_id in job_ids]
    counted = Counter(record.state for record in records if record is not None)
    for state in JobState:
        if progress.states[state] != counted[state]:
            yield f"{who} counts {progress.states[state]} {state}, its records say {counted[state]}"
    if progress.queued_urgent:
        yield f"{who} counts {progress.queued_urgent} queued urgent jobs"


def _left_over(found: Findings) -> Iterator[str]:
    for place, count in found.left_over.items():
        if count:
            yield f"{count} left over in {place}"
    yield from (f"a worker ended by itself: {worker}" for worker in found.deserters)


def _sentence(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"
