"""How a command speaks: answers on stdout, remarks on stderr, and nothing that could take over the terminal.

Text is built plain; colours are found by patterns when it is printed, on a terminal only, and NO_COLOR is honoured
(rich does). rich is imported for terminals only.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console

PROGRAM: Final = "warrooms"

LONGEST_SENTENCE: Final = 1000
"""Characters of an error; what somebody pasted into an option is not repeated at full length."""

_STYLES: Final = {
    r"\b(?:opened|found|already open|done)\b": "green",
    r"\b[1-9][\d,]* failed\b|\bfailed (?:after|:)|\bstate +failed\b|^failed\b|\b[1-9][\d,]* bad lines?\b": "red",
    r"^PROBLEM\b|^ +(?:SUSPENDED|DOWN):|\bNONE ALIVE\b": "bold red",
    r"\bsuspended: \w+|\bthe API is down\b|\bno worker is alive\b": "red",
    r"^warning\b": "yellow",
    r"^ok\b": "green",
    r"\bretrying\b(?! 0)|\bpaused?\b": "yellow",
    r"https?://\S+": "underline",
}


def prepare() -> None:
    """Makes the standard streams safe: a character the terminal cannot show is no reason to fail."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - closed by the shell
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def forget_stdout() -> None:
    """Points stdout nowhere: its reader is gone, and Python would complain once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def clean(text: str) -> str:
    """The text on one line with everything escaped that does not print: controls, escapes, direction marks."""
    if text.isprintable():
        return text
    return "".join(_printable(c) for c in text)


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def answer(*lines: str) -> None:
    """Prints lines on stdout.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    _print(sys.stdout, lines)


def remark(*lines: str) -> None:
    """Prints lines on stderr; if nobody reads there, the work goes on."""
    with suppress(OSError, ValueError):
        _print(sys.stderr, lines)
        sys.stderr.flush()


def complain(sentence: str) -> None:
    """Says on stderr what went wrong: `warrooms: …`."""
    if len(sentence) > LONGEST_SENTENCE:
        sentence = sentence[:LONGEST_SENTENCE] + " …"
    for line in f"{PROGRAM}: {sentence}".splitlines():
        remark(line)


def answer_json(value: Mapping[str, object]) -> None:
    """Prints one JSON object on one line; ASCII only, so nothing in it can reach the terminal unescaped."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def answer_json_with_list(
    value: Mapping[str, object],
    name: str,
    items: Iterable[str],
    rest: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Prints one JSON object with a long list in it, in constant memory.

    Args:
        value: what stands before the list.
        name: the list's name.
        items: its items, as JSON texts.
        rest: what stands behind the list; asked for when all items were read.
    """
    sys.stdout.write(json.dumps(value).removesuffix("}") + f"{', ' if value else ''}{json.dumps(name)}: [")
    for index, item in enumerate(items):
        sys.stdout.write(f"{', ' if index else ''}{item}")
    behind = json.dumps(rest())[1:]
    sys.stdout.write(f"]{', ' if behind != '}' else ''}{behind}\n")
    sys.stdout.flush()


def terminal(stream: TextIO) -> Console:
    """A rich console that interprets nothing in what it prints."""
    from rich.console import Console  # noqa: PLC0415 - only terminals need it

    return Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _print(stream: TextIO, lines: Iterable[str]) -> None:
    if not stream.isatty():
        stream.writelines(f"{clean(line)}\n" for line in lines)
        return
    from rich.text import Text  # noqa: PLC0415 - only terminals need it

    console = terminal(stream)
    for line in lines:
        text = Text(clean(line))
        for pattern, style in _STYLES.items():
            text.highlight_regex(pattern, style)
        console.print(text)


def number(count: int) -> str:
    """A count as people read it: 12,500."""
    return f"{count:,}"


def many(count: int, noun: str) -> str:
    """A count and its noun: `1 job`, `12,500 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time span in its two largest units; less than a second is `less than 1 s`."""
    if seconds < 1:
        return "less than 1 s"
    whole = round(seconds)
    for size, unit, below, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def about(seconds: float) -> str:
    """A time span that is an estimate: `about 12 s`, `less than 1 s`."""
    return duration(seconds) if seconds < 1 else f"about {duration(seconds)}"


def local(moment_s: float) -> datetime:
    """Seconds since the epoch as a local time with its offset."""
    return datetime.fromtimestamp(moment_s, UTC).astimezone()


def iso(moment_s: float | None) -> str | None:
    """Seconds since the epoch in ISO 8601 with the local offset, for machines."""
    return None if moment_s is None else local(moment_s).isoformat(timespec="milliseconds")


def starts(moment_s: float, now_s: float) -> str:
    """An expectation for people; what was expected for a moment that has passed is expected now."""
    return f"expected to start {when(max(moment_s, now_s), now_s)}"


def when(moment_s: float, now_s: float) -> str:
    """A moment for people: local time with offset, and how far away it is."""
    away_s = moment_s - now_s
    relative = f"in {duration(away_s)}" if away_s > 0 else f"{duration(-away_s)} ago"
    relative = "now" if abs(away_s) < 1 else relative
    return f"{local(moment_s).isoformat(sep=' ', timespec='seconds')} ({relative})"
