"""The contract of the task: the JSON Schema, the worker and the producers' parser say the same of every input."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producers.parsing import FIELDS, Defaults, parse_job
from worker.arguments import NAMES, SHOWN, job_of, preview, shown
from worker.errors import InvalidJob
from worker.jobs import INT64_MAX, Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS: Final = Path(__file__).parents[2] / "docs"
SCHEMA: Final[dict[str, Any]] = json.loads((DOCS / "warrooms.open.schema.json").read_text(encoding="utf-8"))
INCIDENT: Final = "69da451ef77b1b51f40e83ee"


class Everywhere(dict[str, int | None]):
    """A worker that has every account, each with a default integration."""

    def __contains__(self, _account: object) -> bool:
        return True

    def __getitem__(self, _account: str) -> int:
        return 5

    def get(self, _account: str, _default: Any = None) -> int:  # noqa: ANN401
        return 5


def _whole(_checker: object, value: object) -> bool:
    """The schema asks for numbers without a point; JSON Schema itself takes 5.0 for a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[jsonschema.ValidationError]:
    """JSON Schema's patterns are JavaScript's, where `$` does not match before a line end as Python's does."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator: Final = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {"pattern": _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _whole),
)
VALIDATOR: Final = Validator(SCHEMA)

NUMBERS: Final = (
    st.integers(1, INT64_MAX) | st.integers() | st.sampled_from([0, 1, INT64_MAX, INT64_MAX + 1, 5.0, -1, 1e300, True])
)
SCALARS: Final = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | st.text(max_size=8)
JUNK: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
NAMES_LIKE: Final = st.from_regex(r"[A-Za-z0-9._-]{0,70}\n?", fullmatch=True) | st.from_regex(
    r"[a-z]{99,102}", fullmatch=True
)
IDS: Final = st.from_regex(r"[0-9a-fA-F]{24}|[0-9a-fA-Fgé]{23,25}\n?", fullmatch=True)
ARGUMENTS: Final = st.fixed_dictionaries(
    {},
    optional={
        "incident_id": IDS | JUNK,
        "integration_id": NUMBERS | JUNK,
        "member_ids": st.lists(NUMBERS, max_size=4) | st.lists(st.integers(1, 9), max_size=4) | JUNK,
        "add_observers": st.booleans() | JUNK,
        "account": NAMES_LIKE | JUNK,
        "batch": NAMES_LIKE | JUNK,
        "urgent": st.booleans() | JUNK,
        "lane": st.just("urgent"),
        "colour": JUNK,
    },
)  # fmt: skip
GOOD_ID: Final = st.just(INCIDENT)
VALID_LOOKING: Final = st.fixed_dictionaries(
    {"incident_id": GOOD_ID},
    optional={
        "integration_id": st.integers(0, 9) | st.none(),
        "member_ids": st.none() | st.lists(st.integers(0, 9), max_size=3),
        "add_observers": st.none() | st.booleans(),
        "account": st.none() | NAMES_LIKE,
        "batch": st.none() | NAMES_LIKE,
        "urgent": st.none() | st.booleans(),
    },
)


def worker_says(arguments: dict[str, Any]) -> WarRoomJob | None:
    try:
        return job_of(arguments, Everywhere())
    except InvalidJob:
        return None


def producers_say(arguments: dict[str, Any]) -> WarRoomJob | None:
    try:
        return parse_job(arguments, Defaults(integration_ids=Everywhere()))  # type: ignore[arg-type]
    except InvalidJob:
        return None


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(ARGUMENTS | VALID_LOOKING)
@example({"incident_id": INCIDENT})
@example({"incident_id": INCIDENT + "\n"})
@example({"incident_id": INCIDENT, "account": "default\n"})
@example({"incident_id": INCIDENT, "integration_id": None, "member_ids": None, "add_observers": None, "urgent": None})
@example({"incident_id": INCIDENT, "account": None, "batch": None})
@example({"incident_id": INCIDENT, "colour": None})
@example({"incident_id": None})
@example({"incident_id": INCIDENT, "integration_id": 5.0})
@example({"incident_id": INCIDENT, "member_ids": [True]})
@example({"incident_id": INCIDENT, "account": "ⅷ"})
def test_what_the_schema_accepts_makes_a_job_and_what_it_refuses_is_refused(arguments: dict[str, Any]) -> None:
    accepted = VALIDATOR.is_valid(arguments)
    job = worker_says(dict(arguments))
    assert (job is not None) is accepted
    assert producers_say(arguments) == job, "every door makes the same job of it"
    if job is not None:
        assert job.lane is (Lane.URGENT if arguments.get("urgent") else Lane.BULK)


def test_the_schema_is_one_and_its_examples_are_jobs() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["examples"]
    for one in SCHEMA["examples"]:
        VALIDATOR.validate(one)
        assert worker_says(one)


def test_schema_worker_and_producers_know_the_same_arguments() -> None:
    assert tuple(SCHEMA["properties"]) == NAMES == FIELDS
    assert all(rule["description"] for rule in SCHEMA["properties"].values())


@pytest.mark.parametrize(
    ("arguments", "accounts", "sentence"),
    [
        ({"account": "c"}, {"a": 1, "b": None}, "account: 'c' is not one of this worker's: a, b"),
        ({"account": "x" * 9999}, {"a": 1}, f"account: '{'x' * 40}' is not one of this worker's: a"),
        ({"incident_id": INCIDENT}, {"default": None}, "integration_id: is missing"),
        ({"incident_id": INCIDENT, "integration_id": None}, {"default": None}, "integration_id: is missing"),
        ({"incident_id": INCIDENT, "lane": "bulk"}, {"default": 1}, "lane: is not a field of a job; write urgent=true"),
        ({"colour": 1}, {"default": 1}, "colour: is not a field of a job; incident_id: is missing"),
        ({"incident_id": INCIDENT, "\ud800": 1}, {"default": 1}, r"'\ud800': is not a field of a job"),
        ({"incident_id": INCIDENT, "a\nb\x1b": 1}, {"default": 1}, r"'a\nb\x1b': is not a field of a job"),
        (
            {"incident_id": INCIDENT, "batch": "\ud800"},
            {"default": 1},
            "batch: must be text without broken characters",
        ),
        (
            {"incident_id": INCIDENT, **dict.fromkeys(("v" * 99, "w", "x", "y", "z"))},
            {"default": 1},
            f"{'v' * 40}: is not a field of a job; w: is not a field of a job; x: is not a field of a job; and 2 more",
        ),
    ],
)  # fmt: skip
def test_what_only_a_worker_knows(arguments: dict[str, Any], accounts: dict[str, int | None], sentence: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        job_of(arguments, accounts)
    assert str(refused.value) == sentence


def test_the_default_is_the_accounts_own() -> None:
    asked = {"incident_id": INCIDENT, "account": "b"}
    assert job_of(asked, {"a": 1, "b": 2}).integration_id == 2
    assert job_of({**asked, "integration_id": 9}, {"a": 1, "b": 2}).integration_id == 9
    assert asked == {"incident_id": INCIDENT, "account": "b"}, "the arguments are left as they came"


@given(st.dictionaries(st.sampled_from([*NAMES, "app_key", "\x1b[31m"]), JUNK | st.text(max_size=300)))
def test_what_is_shown_of_a_refused_message_is_short_printable_and_only_what_we_know(arguments: dict[str, Any]) -> None:
    shown = preview(arguments)
    assert len(shown) <= SHOWN
    assert shown.isprintable()
    assert "app_key" not in shown or "app_key" in str([v for k, v in arguments.items() if k in NAMES])


def test_a_preview_names_each_argument() -> None:
    arguments = {"incident_id": "12", "urgent": "yes", "member_ids": [1], "token": "s3cret", "batch": 10**30}
    assert preview(arguments) == "incident_id='12', member_ids=(list), batch=(int), urgent='yes', 1 more"


class Asked(Everywhere):
    """Default integrations that must not be looked up."""

    def __getitem__(self, _account: str) -> int:
        raise AssertionError("nobody needs it")


@pytest.mark.parametrize(
    "arguments",
    [
        {"incident_id": INCIDENT, "integration_id": 5},
        {"incident_id": "12"},
        {"incident_id": INCIDENT, "colour": 1},
        {"incident_id": INCIDENT, "urgent": 1},
    ],
)
def test_an_integration_is_looked_up_only_for_what_is_else_a_job(arguments: dict[str, Any]) -> None:
    assert (worker_says(arguments) is not None) is ("integration_id" in arguments)
    with contextlib.suppress(InvalidJob):
        job_of(arguments, Asked())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"incident_id": INCIDENT}, f"{INCIDENT} @ default, bulk"),
        ({"incident_id": INCIDENT, "account": None, "batch": None}, f"{INCIDENT} @ default, bulk"),
        (
            {"incident_id": INCIDENT, "account": "eu", "urgent": True, "batch": "outage-42", "member_ids": [1]},
            f"{INCIDENT} @ eu, urgent, batch outage-42",
        ),
        ({"incident_id": 7, "token": "secret"}, "incident_id=7, 1 more"),
        ({"incident_id": "a\u202eb"}, r"incident_id='a\u202eb'"),
        ({"incident_id": INCIDENT, "batch": "x" * 101}, f"incident_id='{INCIDENT}', batch='{'x' * 40}'"),
        ({}, ""),
    ],
)
def test_what_is_shown_of_a_message_is_for_people(arguments: dict[str, object], text: str) -> None:
    assert shown(arguments) == text
