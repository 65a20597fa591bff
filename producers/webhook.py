"""Flashduty's incident webhook: what an event asks for. Pure.

Only what we need is read; every other field may be there, be absent or change. `incident.integration_id` is the alert
source, never the IM integration that opens rooms, so it is not looked at. Source: Flashduty's docs, "Incident webhook".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from producers.parsing import shown
from worker.errors import InvalidJob
from worker.jobs import incident_id

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST: Final = 200
"""Characters of an event's id or type; real ones have some 30."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which events open a room.

    Args:
        events: their types.
        severities: severities of the incident, in small letters; empty means all.
    """

    events: frozenset[str] = frozenset({"i_assign"})
    severities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Opens:
    """This event asks for a room."""

    event_id: str
    incident_id: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """This event asks for nothing, and why."""

    reason: str


def read_event(payload: Mapping[str, object], rules: Rules) -> Opens | Ignored:
    """What an event asks for.

    Raises:
        InvalidJob: it is no event, or one that should open a room and does not say of which incident.
    """
    problems: list[tuple[str, str]] = []
    event_id = _text(payload, "event_id", problems)
    event_type = _text(payload, "event_type", problems)
    if problems:
        raise _invalid(problems)
    if event_type not in rules.events:
        wanted = ", ".join(sorted(rules.events))
        return Ignored(f"event_type {shown(event_type)} opens no room; those that do: {wanted}")
    incident = payload.get("incident")
    if not isinstance(incident, dict):
        raise _invalid([("incident", f"incident must be an object, got {shown(incident)}")])
    found = _incident_id(incident)
    severity = incident.get("incident_severity")
    if rules.severities and (not isinstance(severity, str) or severity.casefold() not in rules.severities):
        wanted = ", ".join(sorted(rules.severities))
        return Ignored(f"incident_severity {shown(severity)} opens no room; those that do: {wanted}")
    return Opens(event_id, found)


def _incident_id(incident: Mapping[str, object]) -> str:
    name = "incident.incident_id"
    given = incident.get("incident_id")
    if not isinstance(given, str):
        raise _invalid([(name, f"{name} must be text, got {shown(given)}")])
    try:
        return incident_id(given)
    except ValueError as error:
        sentence = f"{name} {error}"
    raise _invalid([(name, sentence)])


def _text(payload: Mapping[str, object], name: str, problems: list[tuple[str, str]]) -> str:
    value = payload.get(name)
    if isinstance(value, str) and 0 < len(value) <= LONGEST:
        return value
    missing = f"{name} is missing" if value is None else ""
    problems.append((name, missing or f"{name} must be text of 1 to {LONGEST} characters, got {shown(value)}"))
    return ""


def _invalid(problems: list[tuple[str, str]]) -> InvalidJob:
    return InvalidJob("; ".join(sentence for _, sentence in problems), tuple(problems))
