from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.parsing import FIELDS, Defaults, parse_job, parse_text_job, shown, unknown_field
from worker.errors import InvalidJob
from worker.jobs import INT64_MAX, Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Mapping

INCIDENT = "69da451ef77b1b51f40e83ee"
DEFAULTS = Defaults(integration_ids={"default": 5, "prod": 6})
STRICT = Defaults(integration_ids={"default": 5}, known_accounts=frozenset({"default", "prod"}))

JOBS = st.builds(
    WarRoomJob,
    account=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True),
    incident_id=st.from_regex(r"[0-9a-f]{24}", fullmatch=True),
    integration_id=st.integers(1, INT64_MAX),
    member_ids=st.lists(st.integers(1, INT64_MAX), max_size=12, unique=True).map(tuple),
    add_observers=st.booleans(),
    lane=st.sampled_from(Lane),
    batch=st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def fields_of(job: WarRoomJob) -> dict[str, object]:
    fields = job.model_dump(exclude={"lane"})
    return fields | {"member_ids": list(job.member_ids), "urgent": job.lane is Lane.URGENT}


def refusal(fields: Mapping[str, object], defaults: Defaults = DEFAULTS) -> str:
    with pytest.raises(InvalidJob) as caught:
        parse_job(fields, defaults)
    return str(caught.value)


def text_refusal(fields: Mapping[str, str], defaults: Defaults = DEFAULTS) -> str:
    with pytest.raises(InvalidJob) as caught:
        parse_text_job(fields, defaults)
    return str(caught.value)


def test_an_incident_alone_is_a_job_of_the_defaults() -> None:
    defaults = Defaults(account="prod", integration_ids={"prod": 6}, lane=Lane.URGENT, batch="outage-42")

    job = parse_job({"incident_id": INCIDENT.upper()}, defaults)

    assert job == WarRoomJob(
        account="prod", incident_id=INCIDENT, integration_id=6, lane=Lane.URGENT, batch="outage-42"
    )


def test_what_the_record_says_wins_over_the_defaults() -> None:
    fields = {"incident_id": INCIDENT, "integration_id": 9, "account": "prod", "batch": "b", "urgent": False}

    job = parse_job(fields, Defaults(integration_ids={"prod": 6}, lane=Lane.URGENT, batch="outage-42"))

    assert (job.integration_id, job.account, job.batch, job.lane) == (9, "prod", "b", Lane.BULK)


def test_the_default_integration_is_that_of_the_records_account() -> None:
    assert parse_job({"incident_id": INCIDENT, "account": "prod"}, DEFAULTS).integration_id == 6


def test_null_is_as_good_as_absent() -> None:
    fields = dict.fromkeys(FIELDS) | {"incident_id": INCIDENT}

    assert parse_job(fields, DEFAULTS) == parse_job({"incident_id": INCIDENT}, DEFAULTS)


@given(JOBS)
def test_a_job_written_as_its_fields_is_read_back_equal(job: WarRoomJob) -> None:
    assert parse_job(fields_of(job), Defaults()) == job


@given(JOBS, st.sampled_from(["; ", ";", " ", ",", " , "]), st.sampled_from(["true", "YES", "1"]))
def test_a_job_written_as_text_is_read_back_equal(job: WarRoomJob, separator: str, yes: str) -> None:
    cells = {
        "incident_id": f" {job.incident_id} ",
        "integration_id": f" {job.integration_id}",
        "member_ids": separator.join(map(str, job.member_ids)),
        "add_observers": yes if job.add_observers else "No",
        "account": job.account,
        "batch": job.batch or "",
        "urgent": yes if job.lane is Lane.URGENT else "0",
    }

    assert parse_text_job(cells, Defaults()) == job


@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON_VALUES, max_size=8),
    st.sampled_from([{}, {"incident_id": INCIDENT}]),
)
def test_any_record_is_a_job_or_an_invalid_job(fields: dict[str, object], right: dict[str, object]) -> None:
    try:
        parse_job(fields | right, STRICT)
    except InvalidJob as error:
        assert str(error).isprintable()  # noqa: PT017 - it may also be a job


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), st.text(), max_size=8))
def test_any_text_is_a_job_or_an_invalid_job(cells: dict[str, str]) -> None:
    try:
        parse_text_job(cells, STRICT)
    except InvalidJob as error:
        assert str(error).isprintable()  # noqa: PT017 - it may also be a job


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"integration_id": "5"}, "integration_id must be a whole number, got '5'"),
        ({"integration_id": 5.0}, "integration_id must be a whole number, got 5.0"),
        ({"integration_id": True}, "integration_id must be a whole number, got true"),
        ({"integration_id": 0}, f"integration_id must be from 1 to {INT64_MAX}, got 0"),
        ({"integration_id": 2**63}, f"integration_id must be from 1 to {INT64_MAX}, got {2**63}"),
        (
            {"integration_id": 10**5000},
            f"integration_id must be from 1 to {INT64_MAX}, got a far larger number",
        ),
        ({"member_ids": 7}, "member_ids must be a list of whole numbers, got 7"),
        ({"member_ids": "7;8"}, "member_ids must be a list of whole numbers, got '7;8'"),
        ({"member_ids": {"a": 1}}, "member_ids must be a list of whole numbers, got an object"),
        ({"member_ids": [7, None]}, "member_ids[1] must be a whole number, got null"),
        ({"member_ids": [*range(1, 99), -1]}, f"member_ids[98] must be from 1 to {INT64_MAX}, got -1"),
        ({"member_ids": [[]] * 99}, "member_ids[0] must be a whole number, got a list"),
        ({"add_observers": "yes"}, "add_observers must be true or false, got 'yes'"),
        ({"urgent": 1}, "urgent must be true or false, got 1"),
        ({"account": 5}, "account must be text, got 5"),
        ({"account": []}, "account must be text, got a list"),
        ({"batch": "\ud800"}, "batch must be text without broken characters, got '\\ud800'"),
        (
            {"batch": "a b"},
            "batch must be 1 to 100 letters, digits, '.', '-' or '_', the first a letter or a digit, got 'a b'",
        ),
        ({"incident_id": 5}, "incident_id must be text, got 5"),
        ({"incident_id": None}, "incident_id is missing"),
        ({"incident_id": "abc"}, "incident_id must be 24 hexadecimal digits, got 'abc' (3 characters)"),
        ({"incident_id": "a"}, "incident_id must be 24 hexadecimal digits, got 'a' (1 character)"),
        ({"incidentid": 1}, "'incidentid' is not a field of a job; did you mean 'incident_id'?"),
        ({"Member-IDs": None}, "'Member-IDs' is not a field of a job; did you mean 'member_ids'?"),
        ({"lane": "urgent"}, "'lane' is not a field of a job; did you mean 'urgent'?"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(wrong: dict[str, object], message: str) -> None:
    assert refusal({"incident_id": INCIDENT} | wrong) == message


def test_a_field_like_no_other_is_refused_with_those_there_are() -> None:
    assert (
        refusal({"incident_id": INCIDENT, "xyz": 1})
        == f"'xyz' is not a field of a job; the fields are {', '.join(FIELDS)}"
    )


def test_a_missing_integration_says_how_to_give_one() -> None:
    message = (
        "integration_id is missing and account 'ops' has no default; set FLASHDUTY_INTEGRATION_ID or give --integration"
    )

    assert refusal({"incident_id": INCIDENT}, Defaults(account="ops")) == message
    assert text_refusal({"incident_id": INCIDENT}, Defaults(account="ops")) == message


def test_an_unknown_account_is_refused_with_the_known_ones() -> None:
    message = "account 'prd' is not known; known accounts: default, prod"

    assert refusal({"incident_id": INCIDENT, "account": "prd"}, STRICT) == message


def test_of_many_known_accounts_some_are_listed() -> None:
    many = Defaults(known_accounts=frozenset(f"a{number:02}" for number in range(20)))

    assert refusal({"incident_id": INCIDENT, "account": "x"}, many).endswith("a06, a07 and 12 more")


def test_every_problem_of_a_record_stands_in_one_message() -> None:
    message = refusal(
        {"incident_id": "x", "integration_id": "5", "urgent": "no", "account": "prd", "colour": 1}, STRICT
    )

    for field in ("incident_id", "integration_id", "urgent", "account", "'colour'"):
        assert field in message
    assert "is missing" not in message


def test_every_problem_of_a_text_record_stands_in_one_message() -> None:
    message = text_refusal({"incident_id": "x", "integration_id": "5.0", "urgent": "maybe", "member_ids": "a"})

    for field in ("incident_id", "integration_id", "urgent", "member_ids"):
        assert message.count(field) == 1


def test_a_message_stays_short_whatever_the_number_of_problems() -> None:
    message = refusal({f"{number:050}": 1 for number in range(100_000)})

    assert len(message) < 2000
    assert message.endswith("more")


@pytest.mark.parametrize("cell", ["5.0", "1e3", "٣", "0x5", "+5", "-5", "1_0", "5 5", "9" * 20, "five"])
def test_a_text_number_is_decimal_digits_only(cell: str) -> None:
    assert text_refusal({"incident_id": INCIDENT, "integration_id": cell}) == (
        f"integration_id must be a whole number in at most 19 decimal digits, got {cell!r}"
    )


def test_an_element_of_a_list_of_members_is_called_one() -> None:
    assert text_refusal({"incident_id": INCIDENT, "integration_id": "5", "member_ids": "7;a"}) == (
        "member_ids must be whole numbers in at most 19 decimal digits, with ';' between, got 'a'"
    )


def test_a_text_number_beyond_int64_is_refused() -> None:
    message = text_refusal({"incident_id": INCIDENT, "integration_id": str(2**63)})

    assert message == f"integration_id must be from 1 to {INT64_MAX}, got {2**63}"


@pytest.mark.parametrize("cell", ["7;8", "7 8", "7,8", " 7 ; 8 ", "7\n8", ";7;;8;", "7;8;7"])
def test_members_in_a_cell_may_be_separated_in_any_usual_way(cell: str) -> None:
    cells = {"incident_id": INCIDENT, "member_ids": cell}

    assert parse_text_job(cells, DEFAULTS).member_ids == (7, 8)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("true", True), ("True", True), ("YES", True), ("1", True), ("false", False), ("no", False), ("0", False)],
)
def test_text_flags(cell: str, *, expected: bool) -> None:
    cells = {"incident_id": INCIDENT, "add_observers": cell, "urgent": cell}

    job = parse_text_job(cells, DEFAULTS)

    assert job.add_observers is expected
    assert job.lane is (Lane.URGENT if expected else Lane.BULK)


def test_an_empty_cell_is_as_good_as_absent() -> None:
    cells = dict.fromkeys(FIELDS, " ") | {"incident_id": INCIDENT}

    assert parse_text_job(cells, DEFAULTS) == parse_job({"incident_id": INCIDENT}, DEFAULTS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a" * 40, repr("a" * 40)),
        ("a" * 41, repr("a" * 39 + "…")),
        ("\x1b[2J\r\n", r"'\x1b[2J\r\n'"),
        (True, "true"),
        (None, "null"),
        (-(2**200), "a far larger number"),
        (float("nan"), "nan"),
        ([1], "a list"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_shown_value_is_short_and_harmless(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_a_huge_field_name_is_not_compared_as_a_whole() -> None:
    assert len(unknown_field("incident_id" * 100_000)) < 200


@dataclass(frozen=True)
class AnAccount:
    integration_id: int | None


def test_the_defaults_of_the_configured_accounts() -> None:
    defaults = Defaults.of({"default": AnAccount(5), "prod": AnAccount(None)})

    assert defaults == Defaults("default", {"default": 5}, frozenset({"default", "prod"}))


def test_the_only_account_is_the_default_whatever_its_name() -> None:
    assert Defaults.of({"prod": AnAccount(6)}).account == "prod"


def test_defaults_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.account = "other"  # type: ignore[misc]
