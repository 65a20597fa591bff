"""The sandbox's own endpoints, under /sandbox/. They need no key, spend from no limit and are in no count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from sandbox import fields
from sandbox.envelope import JsonObject, Reply, encode
from sandbox.errors import ApiError, ConfigError
from sandbox.faults import FaultRule
from sandbox.incidents import Outbreak

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.state import State

PREFIX: Final = "/sandbox/"
_DONE: Final[JsonObject] = {"ok": True}


def _stats(state: State, _query: str, _body: object) -> object:
    return state.stats()


def _rooms(state: State, query: str, _body: object) -> object:
    incident_id = parse_qs(query).get("incident_id", [""])[0]
    return {"items": [room.truth() for room in state.backend.rooms.all(incident_id)]}


def _arrivals(state: State, _query: str, _body: object) -> object:
    return state.ledger.arrivals()


def _add_faults(state: State, _query: str, body: object) -> object:
    rules = body if isinstance(body, list) else [body]
    state.faults.add(*[FaultRule.of(rule) for rule in rules])
    return _DONE


def _clear_faults(state: State, _query: str, _body: object) -> object:
    state.faults.clear()
    return _DONE


def _reset(state: State, _query: str, _body: object) -> object:
    state.reset()
    return _DONE


def _limits(state: State, _query: str, body: object) -> object:
    state.change_limits(_object(body))
    return _DONE


def _keys(state: State, _query: str, body: object) -> object:
    keys = _object(body)
    state.change_keys(revoke=fields.texts(keys, "revoke"), restore=fields.texts(keys, "restore"))
    return _DONE


def _pause(state: State, _query: str, body: object) -> object:
    asked = _object(body)
    seconds = asked.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigError("seconds is a number")
    state.pause(seconds, fields.text(asked, "account"))
    return _DONE


def _lose_groups(state: State, _query: str, body: object) -> object:
    asked = _object(body)
    incident_id, chat_id = fields.text(asked, "incident_id"), fields.text(asked, "chat_id")
    return {"lost": state.backend.rooms.lose_groups(incident_id=incident_id, chat_id=chat_id)}


def _add_incidents(state: State, _query: str, body: object) -> object:
    return {"incident_ids": state.backend.incidents.add(Outbreak.of(body))}


def _set_integrations(state: State, _query: str, body: object) -> object:
    state.backend.set_integrations(body)
    return _DONE


def _object(body: object) -> JsonObject:
    if not isinstance(body, dict):
        raise ConfigError("the body is a JSON object")
    return body


_ROUTES: Final[Mapping[tuple[str, str], Callable[[State, str, object], object]]] = {
    ("GET", "stats"): _stats,
    ("GET", "rooms"): _rooms,
    ("GET", "arrivals"): _arrivals,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "reset"): _reset,
    ("POST", "limits"): _limits,
    ("POST", "keys"): _keys,
    ("POST", "pause"): _pause,
    ("POST", "lose-groups"): _lose_groups,
    ("POST", "incidents"): _add_incidents,
    ("POST", "integrations"): _set_integrations,
}


def control(state: State, method: str, target: str, body: bytes) -> Reply:
    """Answer one control call: 200 with its JSON, 400 or 404 with `{"error": sentence}`."""
    path, _, query = target.partition("?")
    route = _ROUTES.get((method, path.removeprefix(PREFIX)))
    if route is None:
        return Reply(404, encode({"error": f"there is no {method} {path}"}))
    try:
        # A list is legal here (several fault rules), so this is looser than the API's own reading.
        value = fields.json_value(body)
        return Reply(200, encode(route(state, query, value)))
    except (ConfigError, ApiError) as error:
        return Reply(400, encode({"error": str(error)}))
