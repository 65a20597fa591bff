"""`warrooms backlog` and `warrooms integrations`: the commands that ask Flashduty, and their options, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from producers.cli.options import Account, DryRun, Integration, Json  # noqa: TC001 - typer reads them

app = typer.Typer(rich_markup_mode=None)


@app.command("backlog")
def backlog_(
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="Started since: 90m, 24h, 3d ago, or an ISO instant.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Started until; now without it.")] = None,
    severity: Annotated[str | None, typer.Option(metavar="LIST", help="Critical,Warning,Info; all without it.")] = None,
    progress: Annotated[
        str | None, typer.Option(metavar="LIST", help="Triggered,Processing,Closed. [Triggered,Processing]")
    ] = None,
    channel: Annotated[str | None, typer.Option(metavar="LIST", help="Channels by id, with commas; 0 is none.")] = None,
    account: Account = None,
    integration: Integration = None,
    without_room: Annotated[
        bool,
        typer.Option(
            "--without-room",
            help="Leave out incidents that have a room whose group is still there: "
            "one more call for each incident, and one for each room.",
        ),
    ] = False,
    urgent: Annotated[bool, typer.Option("--urgent", help="Overtake the bulk jobs.")] = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The batch that counts them; given again, an interrupted one goes on."),
    ] = None,
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until all are finished.")] = False,
    json: Json = False,
) -> int:
    """Queue the incidents that Flashduty lists. Needs the app key here; its calls keep the workers' limit.

    Run again, it doubles nothing. An incident that is queued or has been opened by us stays as it is.
    """
    from producers.cli.backlog import backlog  # noqa: PLC0415
    from producers.cli.backlog_request import Request  # noqa: PLC0415

    return backlog(
        Request(
            since=since,
            until=until,
            severity=severity,
            progress=progress,
            channel=channel,
            account=account,
            integration=integration,
            without_room=without_room,
            urgent=urgent,
            batch=batch,
            dry_run=dry_run,
            wait=wait,
            json=json,
        )
    )


@app.command("integrations")
def integrations_(*, account: Account = None, json: Json = False) -> int:
    """List the IM integrations with war rooms enabled, and say which one is used when a job names none."""
    from producers.cli.integrations import integrations  # noqa: PLC0415

    return integrations(account, json=json)
