"""`warrooms limit …`: the commands and their options, nothing else."""

from __future__ import annotations

import typer

from producers.cli.options import Account, Json  # noqa: TC001 - typer reads them

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Whether and how fast an account is called.",
)


@app.callback()
def limit() -> None:
    """Whether and how fast an account is called."""


@app.command("resume")
def resume_(*, account: Account = None, json: Json = False) -> int:
    """Call an account again that is suspended or down, without waiting for the next probe.

    Without --account, every account that is suspended or down. A pause that the API asked for with a 429 stays.
    """
    from producers.cli.limits import resume  # noqa: PLC0415

    return resume(account, json=json)
