"""What an event of Flashduty's webhook asks for."""

from __future__ import annotations

from typing import Any

import pytest

from producers.webhook import Ignored, Opens, Rules, read_event
from worker.errors import InvalidJob

ID = "69da451ef77b1b51f40e83ee"


def event(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    incident = {"incident_id": ID.upper(), "incident_severity": "Critical", "integration_id": 1, "new": {"x": 1}}
    return {"event_id": "e1", "event_type": "i_assign", "incident": incident, "person": None, "unknown": []} | fields


def test_an_assignment_opens_a_room_and_unknown_fields_do_not_matter() -> None:
    assert read_event(event(), Rules()) == Opens("e1", ID)


@pytest.mark.parametrize("kind", ["i_new", "i_ack", "i_of_the_future"])
def test_any_other_event_is_acknowledged_with_the_reason(kind: str) -> None:
    asked = read_event(event(event_type=kind, incident="whatever"), Rules())
    assert asked == Ignored(f"event_type '{kind}' opens no room; those that do: i_assign")


def test_events_and_severities_are_chosen() -> None:
    rules = Rules(frozenset({"i_new"}), frozenset({"critical"}))
    assert isinstance(read_event(event(event_type="i_new"), rules), Opens)
    mild = event(event_type="i_new", incident={"incident_id": ID, "incident_severity": "Info"})
    assert read_event(mild, rules) == Ignored("incident_severity 'Info' opens no room; those that do: critical")
    silent = event(event_type="i_new", incident={"incident_id": ID})
    assert isinstance(read_event(silent, rules), Ignored)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"event_id": None}, "event_id", "event_id is missing"),
        ({"event_id": 7}, "event_id", "must be text of 1 to 200 characters, got 7"),
        ({"event_id": ""}, "event_id", "must be text"),
        ({"event_type": "x" * 201}, "event_type", "must be text"),
        ({"incident": None}, "incident", "must be an object, got null"),
        ({"incident": {}}, "incident.incident_id", "must be text, got null"),
        ({"incident": {"incident_id": "x"}}, "incident.incident_id", "must be 24 hexadecimal digits"),
    ],
)
def test_what_is_no_event_is_refused_by_field(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidJob, match=says) as caught:
        read_event(event(**fields), Rules())
    assert [name for name, _ in caught.value.problems] == [field]
