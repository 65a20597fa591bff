"""Who may ask: the syntax of tokens, their rights and accounts, and that nothing says them back."""

from __future__ import annotations

import traceback

import pytest

from producers.http.tokens import USUAL, Caller, Right, Tokens
from worker.errors import SettingsError

A = "a-token-0123456789"
B = "b-token-0123456789"
ACCOUNTS = ("default", "payments", "search")


def tokens(text: str) -> Tokens:
    return Tokens.parse(text, ACCOUNTS)


def test_a_name_and_a_token_may_enqueue_and_read_everywhere() -> None:
    caller = tokens(f"ops:{A}").caller(A)
    assert caller == Caller("ops", USUAL, None)
    assert Right.OPERATE not in USUAL
    assert caller.sees("payments")


@pytest.mark.parametrize(
    ("entry", "rights", "accounts"),
    [
        ("x[read]", {Right.READ}, None),
        ("x[enqueue+read+operate]", set(Right), None),
        ("x[read@payments+search]", {Right.READ}, {"payments", "search"}),
        ("x[@payments]", {Right.ENQUEUE, Right.READ}, {"payments"}),
        ("x[]", {Right.ENQUEUE, Right.READ}, None),
    ],
)
def test_rights_and_accounts_stand_in_brackets(entry: str, rights: set[Right], accounts: set[str] | None) -> None:
    caller = tokens(f"{entry}:{A}").caller(A)
    assert caller is not None
    assert caller.rights == rights
    assert caller.accounts == accounts


def test_entries_are_separated_by_commas_or_lines_and_may_be_commented() -> None:
    known = tokens(f"# who\none:{A},\n two[read]:{B}\n")
    assert [found.name for token in (A, B) if (found := known.caller(token))] == ["one", "two"]


def test_any_other_token_is_nobodys() -> None:
    known = tokens(f"ops:{A}")
    assert [known.caller(other) for other in ("", B, A + "x", A[:-1], A.upper(), "ü\udc80")] == [None] * 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must not be open to everybody"),
        (" , \n", "must not be open to everybody"),
        (A, "entry 1: it is not name:token"),
        (f"ops={A}", "entry 1: it is not name:token"),
        (f"ops:{A}, ops:{B}", "entry 2 (ops): there is another one of that name"),
        (f"ops:{A}, dev:{A}", "entry 2 (dev): another entry has the same token"),
        ("ops:short", "entry 1 (ops): the token needs at least 16 characters"),
        (f"ops[write]:{A}", "'write' is no right; the rights are enqueue, read, operate"),
        (f"ops[read@nowhere]:{A}", "account 'nowhere' is not known; known accounts: default, payments, search"),
    ],
)
def test_a_wrong_entry_is_named_and_never_said_back(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        tokens(text)
    assert says in str(caught.value)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert A not in told
    assert "short" not in told.replace("shorter", "")


def test_no_repr_has_a_token_or_its_digest() -> None:
    known = tokens(f"ops:{A}")
    assert repr(known) == "Tokens()"
    assert A not in repr(known.caller(A))
