"""`warrooms doctor`: is everything here fit for jobs that must not be lost, and what should be changed?"""

from __future__ import annotations

import os
import platform
from collections import Counter
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from producers import console
from producers.checkup import setup
from producers.checkup.finding import Finding, Level, healthy, ok, problem, worst_first
from producers.checkup.permissions import RULE
from producers.cli.exits import Exit
from producers.cli.probing import look
from worker.errors import QueueUnavailable, SettingsError
from worker.flashduty.app_key import AppKey
from worker.flashduty.wire import checked_base_url
from worker.redis_store import SEE_DOCTOR, RedisStore
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings import Account

MARKS: Final = {Level.PROBLEM: "PROBLEM", Level.WARNING: "warning", Level.NOTE: "note", Level.OK: "ok"}
LIBRARIES: Final = ("celery", "kombu", "redis", "httpx")


def doctor(*, json: bool) -> Exit:
    """Looks at everything, says what it found, worst first, and exits with 1 if there is a problem."""
    findings, code = examine()
    if code is Exit.DONE and not healthy(findings):
        code = Exit.JOBS_FAILED
    if json:
        listed = [
            {"level": one.level.value, "what": one.what, "found": one.found, "to_do": one.to_do or None}
            for one in worst_first(findings)
        ]
        console.answer_json({"ok": healthy(findings), "findings": listed})
    else:
        console.answer(*lines(findings))
    return code


def examine() -> tuple[list[Finding], Exit]:
    """All findings, and how the examination itself ended: done, wrong settings, or Redis out of reach."""
    findings, accounts, settings = _setup()
    code = Exit.DONE if healthy(findings) else Exit.BAD_INPUT
    if settings is None:
        return findings, code
    try:
        with closing(RedisStore(settings.redis_url)) as store:
            findings += look(store, accounts)
    except SettingsError as error:
        findings.append(setup.wrong(str(error)))
        code = Exit.BAD_INPUT
    except QueueUnavailable as error:
        findings.append(_unreachable(error))
        code = Exit.UNREACHABLE if code is Exit.DONE else code
    return findings, code


def _setup() -> tuple[list[Finding], Sequence[str], Settings | None]:
    findings = [_versions()]
    try:
        settings = Settings.load()
    except SettingsError as error:
        return [*findings, setup.wrong(str(error))], [], None
    findings.append(setup.base_url(settings.base_url, _fault_of_url(settings.base_url)))
    try:
        accounts = settings.accounts()
    except SettingsError as error:
        return [*findings, setup.wrong(str(error))], [], settings
    for account in accounts.values():
        findings += [setup.account(account), setup.app_key(account, _key(account))]
    return findings, list(accounts), settings


def _versions() -> Finding:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return ok("programs", f"warrooms {version('warrooms')}, Python {platform.python_version()}, {libraries}")


def _fault_of_url(url: str) -> str:
    try:
        checked_base_url(url)
    except SettingsError as error:
        return str(error)
    return ""


def _key(account: Account) -> setup.Key:
    asked = account.app_key_file is not None or bool(os.environ.get(account.app_key_env or ""))
    try:
        fault = AppKey(account.app_key()).fault()
    except SettingsError as error:
        fault = error
    return setup.Key(asked, str(fault) if fault else "")


def _unreachable(error: QueueUnavailable) -> Finding:
    found, _, to_do = str(error).partition("; ")
    to_do = to_do.removeprefix(SEE_DOCTOR)  # that is us
    if "permit" in found:
        to_do = f"ACL SETUSER <user> {RULE}"
    return problem("redis", found, to_do or "see Redis' log")


def lines(findings: Sequence[Finding]) -> list[str]:
    """The findings for people, worst first, each with what to do under it; the sum at the end."""
    width = max(len(one.what) for one in findings)
    shown = []
    for one in worst_first(findings):
        shown.append(f"{MARKS[one.level]:<9}{one.what:<{width}}  {one.found}")
        if one.to_do:
            shown.append(f"{'':<9}{'to do':>{width}}  {one.to_do}")
    return [*shown, _sum(findings)]


def _sum(findings: Sequence[Finding]) -> str:
    counts = Counter(one.level for one in findings)
    bad = [(Level.PROBLEM, "problem"), (Level.WARNING, "warning")]
    return ", ".join(console.many(counts[level], noun) for level, noun in bad if counts[level]) or "no problem"
