"""Problems: a type for programs, a sentence for people, and where it stands."""

from __future__ import annotations

import pytest

from producers.http.problems import Kind, Problem, kind_of, of_invalid, pointer
from producers.parsing import Defaults, parse_job
from worker.errors import InvalidJob


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("incident_id", "#/incident_id"),
        ("member_ids[2]", "#/member_ids/2"),
        ("incident.incident_id", "#/incident/incident_id"),
        ("a/b~c", "#/a~1b~0c"),
    ],
)
def test_a_field_is_a_json_pointer(field: str, said: str) -> None:
    assert pointer(field) == said


def test_a_refused_job_has_a_sentence_for_each_field() -> None:
    with pytest.raises(InvalidJob) as caught:
        parse_job({"incident_id": "x", "member_ids": [1, "y"], "urgnt": True}, Defaults(integration_ids={"default": 7}))
    problem = of_invalid(caught.value)
    assert problem.kind is Kind.INVALID
    assert [error["pointer"] for error in problem.errors] == ["#/urgnt", "#/incident_id", "#/member_ids/1"]
    assert problem.detail == "; ".join(error["detail"] for error in problem.errors) == str(caught.value)


def test_a_body_that_is_no_json_has_no_field_to_blame() -> None:
    assert of_invalid(InvalidJob("is not JSON")).as_json() == {
        "type": "urn:warrooms:problem:malformed",
        "title": "The body cannot be read",
        "status": 400,
        "detail": "is not JSON",
    }


def test_a_detail_is_not_endless() -> None:
    assert len(str(Problem(Kind.INVALID, "x" * 10_000).as_json()["detail"])) < 1100


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_type_of_its_own(kind: Kind) -> None:
    assert [other for other in Kind if other.type == kind.type] == [kind]
    assert 400 <= kind.status < 600


def test_a_status_that_the_framework_chose_has_a_kind() -> None:
    assert [kind_of(status).status for status in (400, 404, 405, 413, 415, 422, 418, 502)] == [
        400,
        404,
        405,
        413,
        415,
        422,
        400,
        500,
    ]
