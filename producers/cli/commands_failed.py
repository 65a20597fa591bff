"""`warrooms failed …`: the commands and their options, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from producers.cli.options import Account, BatchToSee, DryRun, Json  # noqa: TC001 - typer reads them

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See the jobs that failed for good, queue them again, or give them up.",
)

Targets = Annotated[
    list[str] | None, typer.Argument(metavar="JOB", help="Job ids or incident ids; otherwise filters say which.")
]
Code = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="CODE", help="Only with this error code, in any case; repeatable."),
]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Failed longer ago than this: 30s, 15m, 2h, 3d.")
]
Newer = Annotated[
    str | None, typer.Option("--newer-than", metavar="TIME", help="Failed within the last 30s, 15m, 2h, 3d.")
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def list_(
    jobs: Targets = None,
    *,
    batch: BatchToSee = None,
    code: Code = None,
    older_than: Older = None,
    newer_than: Newer = None,
    account: Account = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show the newest N only; all are counted.")
    ] = None,
    json: Json = False,
) -> int:
    """List dead letters, the newest first: when, job, code, attempts, reason; and how many there are of each code."""
    from producers.choice import Choice  # noqa: PLC0415
    from producers.cli.failed import list_failed  # noqa: PLC0415

    return list_failed(Choice.of(jobs, batch, code, older_than, newer_than, account), limit, json=json)


@app.command("show")
def show_(
    job: Annotated[str, typer.Argument(metavar="JOB_ID|INCIDENT_ID", help="The job.")],
    *,
    account: Account = None,
    json: Json = False,
) -> int:
    """Show everything about one dead letter, and what to do."""
    from producers.cli.failed import show  # noqa: PLC0415

    return show(job, account, json=json)


@app.command("refused")
def refused_(*, json: Json = False) -> int:
    """List the messages of other Celery clients that the workers refused because they are no jobs; the last hundred."""
    from producers.cli.refused import refused  # noqa: PLC0415

    return refused(json=json)


@app.command("replay")
def replay_(
    jobs: Targets = None,
    *,
    batch: BatchToSee = None,
    code: Code = None,
    older_than: Older = None,
    newer_than: Newer = None,
    account: Account = None,
    everything: All = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most N, the oldest first: try a few before all.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Queue dead letters again, at the end of their own lanes, with attempts counted anew.

    Nothing opens twice: a job whose last call may have opened a room looks for it first.
    """
    from producers.choice import Choice  # noqa: PLC0415
    from producers.cli.failed_actions import REPLAY, run  # noqa: PLC0415

    choice = Choice.of(jobs, batch, code, older_than, newer_than, account)
    return run(REPLAY, choice, everything=everything, dry_run=dry_run, most=limit, json=json)


@app.command("drop")
def drop_(
    jobs: Targets = None,
    *,
    batch: BatchToSee = None,
    code: Code = None,
    older_than: Older = None,
    newer_than: Newer = None,
    account: Account = None,
    everything: All = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Give dead letters up: they count as cancelled. Asks nothing, but must be told which."""
    from producers.choice import Choice  # noqa: PLC0415
    from producers.cli.failed_actions import DROP, run  # noqa: PLC0415

    choice = Choice.of(jobs, batch, code, older_than, newer_than, account)
    return run(DROP, choice, everything=everything, dry_run=dry_run, most=None, json=json)
