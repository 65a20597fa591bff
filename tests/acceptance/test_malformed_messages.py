"""A thousand malformed messages from a generator: each a clear refusal, nothing lost, no process dies.

And good messages with one field spoiled, which are opened or refused, field by field.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from worker.messages import nudge
from worker.redis_store import RedisStore
from worker.refusals import Refusals

from .test_foreign_clients import _by_hand

if TYPE_CHECKING:
    from .house import House

BATCH: Final = 50
BATCHES: Final = 20

WORDS: Final = st.text(max_size=6) | st.sampled_from(
    ["task", "id", "args", "kwargs", "body", "\x00", "é\u202e", "None"]
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**64) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
NO_ID: Final = st.sampled_from(["", "12", "g" * 24, "a" * 25, "a" * 23 + "\n", "\uff41" * 24]) | JSON.filter(
    lambda value: not isinstance(value, str)
)
NO_NUMBER: Final = st.sampled_from([0, -1, 2**63, 5.5, "7", True]) | st.lists(JSON, max_size=2)


def _with(name: str, wrong: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"incident_id": st.just("a" * 24), name: wrong})


NO_JOB: Final = st.one_of(
    st.fixed_dictionaries({}, optional={"integration_id": st.just(5), "urgent": st.booleans()}),
    st.fixed_dictionaries({"incident_id": NO_ID}),
    st.fixed_dictionaries({"incident_id": st.just("a" * 24), "integration_id": NO_NUMBER}),
    st.fixed_dictionaries(
        {"incident_id": st.just("a" * 24), "member_ids": st.lists(NO_NUMBER, min_size=1, max_size=2)}
    ),
    st.fixed_dictionaries(
        {"incident_id": st.just("a" * 24), "account": st.sampled_from(["nobody", "", 7, "a.b", "x" * 999])}
    ),
    st.fixed_dictionaries({"incident_id": st.just("a" * 24), "batch": st.sampled_from(["a b", "", 7, "x" * 101])}),
    st.fixed_dictionaries({"incident_id": st.just("a" * 24), "urgent": st.sampled_from([0, "yes", []])}),
    st.fixed_dictionaries({"incident_id": st.just("a" * 24), "colour": JSON}),
)
ENVELOPE: Final = json.loads(_by_hand({"incident_id": "a" * 24}))


def message(parts: object = None, **changes: object) -> str:
    """A message that would be right, but for the three parts of its body, or for what is changed besides."""
    text = ENVELOPE["body"] if parts is None else base64.b64encode(json.dumps(parts).encode()).decode()
    headers = {**ENVELOPE["headers"], "id": secrets.token_hex(8)}
    properties = {**ENVELOPE["properties"], "delivery_tag": secrets.token_hex(8)}
    return json.dumps({**ENVELOPE, "body": text, "headers": headers, "properties": properties, **changes})


def _headers(**changes: object) -> str:
    headers = {**ENVELOPE["headers"], "id": secrets.token_hex(8), **changes}
    return message(headers={name: value for name, value in headers.items() if value is not None})


def _of_kind(content_type: str) -> str:
    return message(**{"content-type": content_type})


def _no_parts(value: Any) -> bool:  # noqa: ANN401
    return not (isinstance(value, list) and len(value) == 3 and value[0] == [] and isinstance(value[1], dict))


MALFORMED: Final = st.one_of(
    st.text(max_size=30).map(lambda text: f"no json {text}"),
    st.binary(max_size=30).map(lambda junk: b"\xff" + junk),
    JSON.map(json.dumps),
    st.just("[" * 50_000),
    NO_JOB.map(lambda kwargs: message([[], kwargs, {}])),
    JSON.filter(_no_parts).filter(lambda parts: parts is not None).map(message),
    st.lists(JSON, min_size=1, max_size=2).map(lambda args: message([args, {"incident_id": "a" * 24}, {}])),
    JSON.filter(lambda value: not isinstance(value, dict)).map(lambda kwargs: message([[], kwargs, {}])),
    st.sampled_from(["%%%", "e3t7", "x"]).map(lambda text: message(body=text)),
    st.sampled_from(["application/x-python-serialize", "text/weird"]).map(_of_kind),
    st.sampled_from([None, "", 7, [], {}, "x" * 300]).map(lambda id_: _headers(id=id_)),
    st.sampled_from([None, "warrooms.close", 7]).map(lambda task: _headers(task=task)),
    st.sampled_from(["tomorrow", "2026-99-99"]).map(lambda when: _headers(eta=when)),
    JSON.filter(lambda value: not isinstance(value, dict) or not value).map(lambda part: message(headers=part)),
    JSON.map(lambda part: message(properties=part)),
)  # fmt: skip


@settings(
    max_examples=BATCHES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(MALFORMED, min_size=BATCH, max_size=BATCH))
def test_a_thousand_malformed_messages_are_refused_and_nothing_else_is_lost(
    house: House, malformed: list[str | bytes]
) -> None:
    house.stack.redis.delete("warrooms:refused")
    jobs = house.jobs(2)
    lines = [_by_hand({"incident_id": job.incident_id}) for job in jobs]
    house.stack.redis.lpush("warrooms.default", lines[0], *malformed, lines[1])
    house.finish(*jobs)
    house.idle()
    refused = Refusals(RedisStore(house.stack.redis_url)).newest()
    assert len(refused) == len(malformed)
    assert all(one.reason and len(one.reason) <= 200 for one in refused)
    assert [worker.popen.poll() for worker in house.stack.workers] == [None, None]
    assert house.stack.redis.zcard("unacked_index") == 0
    house.assert_one_room_each(*jobs)


GONE: Final = object()
SPOILED: Final[tuple[object, ...]] = (
    GONE, None, "", "x", "x" * 300, "\ud800", "\x00", 0, 7, -1, 2**70, 1.5, True, [], [None], [1, 2], {}, {"x": 1},
)  # fmt: skip
TIMES: Final = (
    "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59", "0001-01-01", "0001-01-01T00:00:00+14:00",
    "1970-01-01T00:00:00Z", "tomorrow", "2026-99-99", "24:00", "2999-01-01T00:00:00+00:00",
)  # fmt: skip
ENCODINGS: Final = ("base64", "utf-16", "latin-1", "binary", "rot13", "application/json", "application/data", "zlib")
OF_THE_ENVELOPE: Final = ("body", "content-type", "content-encoding", "headers", "properties", "compression")
OF_THE_HEADERS: Final = (
    "lang", "task", "id", "root_id", "parent_id", "group", "group_index", "eta", "expires", "retries", "timelimit",
    "argsrepr", "kwargsrepr", "origin", "shadow", "ignore_result", "stamps", "stamped_headers", "replaced_task_nesting",
    "compression", "delivery_tag",
)  # fmt: skip
OF_THE_PROPERTIES: Final = (
    "body_encoding", "delivery_tag", "delivery_info", "delivery_mode", "correlation_id", "reply_to", "priority",
)  # fmt: skip
OF_THE_DELIVERY: Final = ("exchange", "routing_key", "priority", "redelivered")
FIELDS: Final = [
    *((name,) for name in OF_THE_ENVELOPE),
    *(("headers", name) for name in OF_THE_HEADERS),
    *(("properties", name) for name in OF_THE_PROPERTIES),
    *(("properties", "delivery_info", name) for name in OF_THE_DELIVERY),
]


def _good(house: House) -> tuple[str, dict[str, Any]]:
    """An incident, and a message of it as Celery itself writes them."""
    job = house.job()
    good: dict[str, Any] = json.loads(nudge(job))
    good["body"] = base64.b64encode(json.dumps([[], {"incident_id": job.incident_id}, {}]).encode()).decode()
    return job.incident_id, good


def _spoil(good: dict[str, Any], path: tuple[str, ...], value: object) -> str:
    *parents, name = path
    place = good
    for parent in parents:
        place = place[parent]
    if value is GONE:
        place.pop(name, None)
    else:
        place[name] = value
    return json.dumps(good)


def _values(path: tuple[str, ...]) -> tuple[object, ...]:
    return SPOILED + (TIMES if path[-1] in {"eta", "expires"} else ENCODINGS if "encod" in path[-1] else ())


@pytest.mark.parametrize("path", FIELDS, ids="/".join)
def test_a_message_with_one_field_spoiled_is_opened_or_refused(house: House, path: tuple[str, ...]) -> None:
    sent = [(*_good(house), value) for value in _values(path)]
    house.stack.redis.lpush("warrooms.default", *[_spoil(good, path, value) for _, good, value in sent])
    last = house.job()
    house.stack.redis.lpush("warrooms.default", _by_hand({"incident_id": last.incident_id}))
    house.finish(last)
    house.idle()
    opened = {room["incident_id"] for room in house.rooms()} - {last.incident_id}
    refused = Refusals(RedisStore(house.stack.redis_url)).newest()
    assert len(opened) + len(refused) == len(sent), [value for id_, _, value in sent if id_ not in opened]
    assert all(one.reason for one in refused)
    assert [worker.popen.poll() for worker in house.stack.workers] == [None, None]
    assert house.stack.redis.zcard("unacked_index") == house.stack.redis.hlen("unacked") == 0
