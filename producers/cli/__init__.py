"""The command line, `warrooms …`: `main` runs a command and turns whatever happens into one sentence and an exit code.

commands ──▶ opening ─┬─▶ follow ──▶ watching (pure)
    │   ├──▶ bulk ────┤      │
    │   ├──▶ watch ───┘      ▼
    │   ├──▶ status, failed, cancel, limits ──▶ desks ──▶ worker: settings, ledger, token_bucket
    │   └──▶ doctor ──────▶ probing ─▶ producers/checkup (pure)
    └─ options only: the rest is imported when a command runs, so `--help` is instant
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from producers import console
from producers.cli.exits import Exit, StillWaiting, Stopped
from worker.errors import FlashdutyError, QueueUnavailable, WarroomsError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code. WARROOMS_DEBUG=1 lets tracebacks through."""
    console.prepare()
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `warrooms status | head`
        console.forget_stdout()
        return Exit.NOBODY_READS
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # a person in an outage has no use for a traceback
        if os.environ.get("WARROOMS_DEBUG") == "1":
            raise
        sentence, code = _translated(error)
        console.complain(sentence)
    return code


def _run(args: Sequence[str] | None) -> int:
    import typer  # noqa: PLC0415 - inside the net above, as the commands are

    from producers.cli.commands import app  # noqa: PLC0415

    try:
        outcome: Any = app(args, prog_name=console.PROGRAM, standalone_mode=False)
    except SystemExit as left:  # typer's own way out of a broken pipe
        if isinstance(left.__context__, BrokenPipeError):
            raise left.__context__ from None
        raise
    except typer.TyperException as error:
        # Not a wrong line: a bare `warrooms` shows its help.
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
        else:
            console.complain(_usage(error))
        return Exit.BAD_INPUT
    return outcome if isinstance(outcome, int) else Exit.DONE


def _usage(error: Any) -> str:  # noqa: ANN401 - typer keeps the class of its usage errors to itself
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else console.PROGRAM
    return f"{message[:1].lower()}{message[1:]} (see: {command} --help)"


def _translated(error: Exception) -> tuple[str, Exit]:
    sentence = str(error)
    match error:
        case QueueUnavailable() | FlashdutyError():
            code = Exit.UNREACHABLE
        case StillWaiting():
            code = Exit.JOBS_FAILED
        case Stopped():
            code = error.exit
        case WarroomsError():
            code = Exit.BAD_INPUT
        case ModuleNotFoundError():
            sentence = f"this command needs {error.name!r}; install it with: pip install 'warrooms[demo]'"
            code = Exit.BAD_INPUT
        case OSError():
            sentence, code = f"{error.strerror or error} {error.filename or ''}".strip(), Exit.BAD_INPUT
        case _:
            sentence = f"our own fault, {type(error).__name__}: {error} (WARROOMS_DEBUG=1 shows where)"
            code = Exit.OUR_FAULT
    return sentence, code
