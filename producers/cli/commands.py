"""The commands and their options, nothing else: each imports its work when it runs. Long, because options are."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from producers.cli import commands_failed, commands_flashduty, commands_limit
from producers.cli.options import INT64_MAX, Account, BatchToSee, DryRun, Integration, Json

EXIT_CODES: Final = """\b
Exit codes: 0 done; 1 some jobs failed, --timeout passed, too late to cancel, or doctor found a problem; 2 bad usage,
input or settings (one bad line or job is enough, the good ones are done nevertheless unless --strict); 3 cannot reach
Redis or the API; 130 stopped by Ctrl-C (jobs go on)."""

app = typer.Typer(
    name="warrooms",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How a file writes its jobs; the same names as `producers.backlog.Form`, which is too heavy to import here."""

    CSV = "csv"
    JSONL = "jsonl"
    IDS = "ids"


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        from importlib.metadata import version  # noqa: PLC0415

        from producers.console import answer  # noqa: PLC0415

        answer(f"warrooms {version('warrooms')}")
        raise typer.Exit


@app.callback()
def warrooms(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Open incident war rooms through Flashduty, at the account's speed and never twice."""


@app.command("open")
def open_(
    incident_id: Annotated[str, typer.Argument(metavar="INCIDENT_ID", help="24 hexadecimal digits.")],
    *,
    integration: Integration = None,
    member: Annotated[
        list[int] | None,
        typer.Option(min=1, max=INT64_MAX, metavar="N", help="A person to invite, by id; repeatable."),
    ] = None,
    add_observers: Annotated[bool, typer.Option("--add-observers", help="Invite the observers too.")] = False,
    account: Account = None,
    bulk: Annotated[bool, typer.Option("--bulk", help="Stand in the bulk lane, behind live incidents.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the room is open, and print its link.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Wait at most so many seconds, then exit 1.")
    ] = None,
    json: Json = False,
) -> int:
    """Open the war room of one incident: urgent, before every bulk job."""
    from producers.cli.opening import open_one  # noqa: PLC0415

    fields: dict[str, object] = {
        "incident_id": incident_id,
        "integration_id": integration,
        "member_ids": member or None,
        "add_observers": add_observers,
        "urgent": not bulk,
    }
    return open_one(fields, account, wait=wait or timeout is not None, timeout_s=timeout, json=json)


@app.command("bulk")
def bulk_(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The jobs; '-' is standard input.")],
    *,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="How the jobs are written; without it the first line decides."),
    ] = None,
    integration: Integration = None,
    account: Account = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Urgent unless a line says otherwise.")] = False,
    batch: Annotated[
        str | None, typer.Option(metavar="NAME", help="The batch that counts them; a new name without it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, queue nothing.")] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Queue nothing if any line is bad. Reads the file twice; standard input is kept in a temporary "
            "file meanwhile, which is deleted afterwards.",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until all are finished.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every bad line, not the first 20 only.")] = False,
    json: Json = False,
) -> int:
    """Queue the jobs of a file: CSV or JSON Lines with the fields of a job, or incident ids, one a line.

    Queueing a file again does no harm: what is queued or open already is not doubled.
    """
    from producers.cli.bulk import Request, bulk  # noqa: PLC0415

    return bulk(
        Request(
            file=file,
            form=format_.value if format_ else None,
            integration=integration,
            account=account,
            urgent=urgent,
            batch=batch,
            dry_run=dry_run,
            strict=strict,
            wait=wait,
            verbose=verbose,
            json=json,
        )
    )


@app.command("status")
def status_(
    target: Annotated[
        str | None, typer.Argument(metavar="[JOB_ID|INCIDENT_ID]", help="One job; without it, the accounts.")
    ] = None,
    *,
    batch: BatchToSee = None,
    account: Account = None,
    json: Json = False,
) -> int:
    """Show the accounts, one job or one batch. Exits 1 if that job, or a job of that batch, failed."""
    from producers.cli.status import status  # noqa: PLC0415

    return status(target, batch, account, json=json)


@app.command("explain")
def explain_(
    target: Annotated[str, typer.Argument(metavar="JOB_ID|INCIDENT_ID", help="The job.")],
    *,
    account: Account = None,
    json: Json = False,
) -> int:
    """Say in words what a job waits for, and when it is expected to be done."""
    from producers.cli.explain import explain  # noqa: PLC0415

    return explain(target, account, json=json)


@app.command("watch")
def watch_(
    *,
    batch: BatchToSee = None,
    account: Account = None,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between lines where there is no terminal.")
    ] = 5.0,
    json: Json = False,
) -> int:
    """Watch jobs get done, until all are finished. Ctrl-C ends the watching only."""
    from producers.cli.follow import watch  # noqa: PLC0415

    return watch(batch, account, every_s=every, json=json)


@app.command("top")
def top_(
    *,
    account: Account = None,
    every: Annotated[float, typer.Option(min=0.2, metavar="S", help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, as where there is no terminal.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")] = False,
) -> int:
    """See the accounts live: is it draining, how fast, what does it wait for, what failed. Ctrl-C ends it."""
    from producers.cli.top import top  # noqa: PLC0415

    return top(account, every_s=every, once=once, json=json)


@app.command("cancel")
def cancel_(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB", help="Job ids or incident ids; or --batch.")
    ] = None,
    *,
    batch: Annotated[str | None, typer.Option("--batch", metavar="NAME", help="Every job of this batch.")] = None,
    account: Account = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Take back jobs that wait. A call that is out cannot be taken back: exits 1 if that is so of a job you named."""
    from producers.cli.cancelling import cancel  # noqa: PLC0415

    return cancel(jobs or [], batch, account, dry_run=dry_run, json=json)


app.add_typer(commands_flashduty.app)
app.add_typer(commands_failed.app, name="failed")
app.add_typer(commands_limit.app, name="limit")


@app.command("doctor")
def doctor_(*, json: Json = False) -> int:
    """Check settings and Redis: will jobs survive, may we do all we need? Says what to change. Exits 1 on a problem."""
    from producers.cli.doctor import doctor  # noqa: PLC0415

    return doctor(json=json)


@app.command("web")
def web_(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 picks a free one.")] = 8080,
) -> int:
    """Answer the HTTP API and Flashduty's webhook, until Ctrl-C. Needs WARROOMS_API_TOKENS."""
    from producers.http.serve import serve  # noqa: PLC0415

    serve(host, port)
    return 0


@app.command("demo")
def demo_(
    *,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="How many rooms to open.")] = 300,
    json: Json = False,
) -> int:
    """See it work on this machine: a sandbox of the API, a queue and workers, no account needed."""
    from producers.demo import run  # noqa: PLC0415

    return run(jobs, as_json=json)


@app.command("up")
def up_(
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Where the HTTP API listens, if not where the Procfile says."),
    ] = None,
) -> int:
    """Run everything on this machine until Ctrl-C."""
    from producers.up import run  # noqa: PLC0415

    return run(port=port)


@app.command(
    "sandbox", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def sandbox_(context: typer.Context) -> None:
    """Run a sandbox of Flashduty's API; its options: warrooms sandbox --help."""
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    # -P: a directory named `sandbox` where the person happens to stand is not ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sandbox", *context.args])  # noqa: S606
