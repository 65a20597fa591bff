"""The password that `warrooms up` gives its Flower."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from producers.flower_password import SAID, SETTING, password_env

if TYPE_CHECKING:
    from pathlib import Path

FLOWER = "exec celery -A worker flower"


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "flower-password"
    assert password_env(file, [FLOWER], {}) == {SETTING: str(file)}
    made = file.read_text()
    assert len(made.strip()) > 20
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password_env(file, [FLOWER], {}) == {SETTING: str(file)}
    assert file.read_text() == made, "a browser remembers it"


def test_an_empty_file_gets_one(tmp_path: Path) -> None:
    file = tmp_path / "flower-password"
    file.write_text("\n")
    password_env(file, [FLOWER], {})
    assert file.read_text().strip()


@pytest.mark.parametrize("name", SAID)
def test_whoever_has_said_who_may_log_in_is_not_contradicted(tmp_path: Path, name: str) -> None:
    assert password_env(tmp_path / "p", [FLOWER], {name: "something"}) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--basic-auth=me:mine", "--basic_auth=me:mine", "--auth=.*@example[.]com"])
def test_nor_who_has_said_so_in_the_procfile(tmp_path: Path, option: str) -> None:
    assert password_env(tmp_path / "p", [f"{FLOWER} {option}"], {}) == {}


def test_without_a_flower_there_is_none(tmp_path: Path) -> None:
    assert password_env(tmp_path / "p", [], {}) == {}
    assert list(tmp_path.iterdir()) == []
