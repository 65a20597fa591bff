"""A job that exists is valid; what is no job says each field that is wrong."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.errors import InvalidJob
from worker.jobs import FINISHED, INT64_MAX, JobKey, JobState, Lane, WarRoom, WarRoomJob

INCIDENT = "69DA451ef77b1b51f40e83ee"

hex_ids = st.text("0123456789abcdefABCDEF", min_size=24, max_size=24)
int64s = st.integers(1, INT64_MAX)
accounts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)
batches = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)


def job(**fields: object) -> WarRoomJob:
    return WarRoomJob.of(**({"incident_id": INCIDENT, "integration_id": 7} | fields))


def refusal(**fields: object) -> str:
    with pytest.raises(InvalidJob) as caught:
        job(**fields)
    assert caught.value.__cause__ is None
    return str(caught.value)


@given(
    accounts, hex_ids, int64s, st.lists(int64s, max_size=5), st.booleans(), st.sampled_from(Lane), st.none() | batches
)
def test_whatever_the_api_documents_is_a_job(
    account: str,
    incident: str,
    integration: int,
    members: list[int],
    observers: bool,  # noqa: FBT001
    lane: Lane,
    batch: str | None,
) -> None:
    made = WarRoomJob.of(
        account=account,
        incident_id=incident,
        integration_id=integration,
        member_ids=members,
        add_observers=observers,
        lane=lane,
        batch=batch,
    )
    assert made.incident_id == incident.lower()
    assert made.member_ids == tuple(dict.fromkeys(members))
    assert WarRoomJob.model_validate_json(made.model_dump_json()) == made
    assert WarRoomJob.of(**json.loads(made.model_dump_json())) == made
    assert hash(made) == hash(made.model_copy())


@given(accounts, hex_ids, int64s)
def test_a_job_key_survives_its_text(account: str, incident: str, integration: int) -> None:
    key = JobKey(account=account, incident_id=incident, integration_id=integration)
    made = WarRoomJob(account=account, incident_id=incident, integration_id=integration)
    assert JobKey.parse(str(key)) == key == made.key
    assert str(key) == made.id == f"{account}.{incident.lower()}.{integration}"


@given(st.text(max_size=60) | st.from_regex(r"[a-z.]{0,9}\.[0-9a-g]{24}\.[0-9-]{1,20}", fullmatch=True))
def test_any_text_is_a_job_id_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidJob):
        assert str(JobKey.parse(text)).lower() == text.lower()


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "default",
        f"default.{INCIDENT}",
        f"default.{INCIDENT}.0",
        f"default.{INCIDENT}.07",
        f"default.{INCIDENT}.-7",
        f"default.{INCIDENT}.7\n",
        f"default.{INCIDENT}.\u0667",
        f"default.{INCIDENT}.{INT64_MAX + 1}",
        f"de.fault.{INCIDENT}.7",
        f".{INCIDENT}.7",
        f"default.{INCIDENT[:-1]}.7",
    ],
)
def test_a_text_that_is_almost_a_job_id_is_refused(job_id: str) -> None:
    with pytest.raises(InvalidJob, match="is no job id"):
        JobKey.parse(job_id)


@given(st.text(max_size=30))
def test_only_24_hexadecimal_digits_are_an_incident(text: str) -> None:
    assume(not re.fullmatch(r"[0-9a-fA-F]{24}", text, re.ASCII))
    assert refusal(incident_id=text).startswith("incident_id: must be 24 hexadecimal digits, got ")


@pytest.mark.parametrize(
    ("incident", "says"),
    [
        (INCIDENT[:-1], "(23 characters)"),
        (INCIDENT + "\n", "(25 characters)"),
        (INCIDENT[:-1] + "g", "with 'g' at position 24"),
        ("\uff10" * 24, "at position 1"),
        ("x" * 1000, "xxx…' (1000 characters)"),
        (None, "must be text"),
        (123, "must be text"),
        (b"69da451ef77b1b51f40e83ee", "must be text"),
    ],
)
def test_a_wrong_incident_says_what_is_wrong_with_it(incident: object, says: str) -> None:
    message = refusal(incident_id=incident)
    assert says in message
    assert len(message) < 150


@pytest.mark.parametrize("number", [1, INT64_MAX])
def test_the_bounds_of_int64_belong_to_it(number: int) -> None:
    assert job(integration_id=number, member_ids=[number]).member_ids == (number,)


@pytest.mark.parametrize("number", [0, -1, INT64_MAX + 1, 10**30, pytest.param(10**5000, id="huge")])
def test_a_number_out_of_bounds_says_the_bounds(number: int) -> None:
    assert "integration_id: must be from 1 to 9223372036854775807" in refusal(integration_id=number)
    assert "member_ids.1: must be from 1 to 9223372036854775807" in refusal(member_ids=[5, number])


@pytest.mark.parametrize("value", [True, False, 1.0, 1.5, "7", None, [7], float("nan")])
def test_only_a_whole_number_is_a_number(value: object) -> None:
    assert refusal(integration_id=value) == "integration_id: must be a whole number"
    assert refusal(member_ids=[value]) == "member_ids.0: must be a whole number"


@pytest.mark.parametrize("value", [1, 0, "true", None, "yes"])
def test_only_true_and_false_are_a_switch(value: object) -> None:
    assert refusal(add_observers=value) == "add_observers: must be true or false"


@pytest.mark.parametrize("value", ["7", 7, {"a": 1}, b"7"])
def test_only_a_list_is_a_list_of_members(value: object) -> None:
    assert refusal(member_ids=value) == "member_ids: must be a list of whole numbers"


def test_no_members_may_be_written_as_null() -> None:
    assert job(member_ids=None).member_ids == ()


@given(st.lists(st.integers(1, 4)))
def test_members_are_asked_once_each_in_their_order(members: list[int]) -> None:
    assert job(member_ids=members).member_ids == tuple(sorted(set(members), key=members.index))


@given(st.text(min_size=1, max_size=20))
def test_an_unknown_field_is_refused_by_its_name(name: str) -> None:
    assume(name not in WarRoomJob.model_fields)
    assert refusal(**{name: 1}) == f"{name}: is not a field of a job"


def test_all_wrong_fields_are_told_at_once() -> None:
    with pytest.raises(InvalidJob) as caught:
        WarRoomJob.of(integration_id=0, chat="x")
    message = str(caught.value)
    assert message.startswith("incident_id: is missing; integration_id: must be from 1 to ")
    assert message.endswith("; chat: is not a field of a job")


@pytest.mark.parametrize("name", ["", "a.b", "a:b", "{a}", "a b", "-a", "a\n", "é", "a" * 64, None, 1])
def test_an_account_that_cannot_name_a_queue_is_refused(name: object) -> None:
    assert refusal(account=name).startswith("account: must be ")


@pytest.mark.parametrize("name", ["", "a:b", "{a}", "a b", ".a", "a\n", "a" * 101, 1])
def test_a_batch_that_cannot_name_a_key_is_refused(name: object) -> None:
    assert refusal(batch=name).startswith("batch: must be ")


def test_a_lane_is_urgent_or_bulk() -> None:
    assert job(lane="urgent").lane is Lane.URGENT
    assert refusal(lane="fast").startswith("lane: ")


@pytest.mark.parametrize("made", [job(), job().key, WarRoom(chat_id="x")])
def test_a_value_cannot_be_changed(made: WarRoomJob | JobKey | WarRoom) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made.__setattr__(next(iter(type(made).model_fields)), "other")


def test_a_room_has_a_chat_id() -> None:
    with pytest.raises(ValidationError):
        WarRoom(chat_id="")


@pytest.mark.parametrize(
    ("state", "finished", "has_room"),
    [
        ("queued", False, False),
        ("opening", False, False),
        ("retrying", False, False),
        ("opened", True, True),
        ("found", True, True),
        ("failed", True, False),
        ("cancelled", True, False),
    ],
)
def test_a_state_knows_whether_it_is_the_end(state: str, *, finished: bool, has_room: bool) -> None:
    assert JobState(state).finished is finished
    assert JobState(state).has_room is has_room
    assert len(JobState) == 7
    assert len(FINISHED) == 4
