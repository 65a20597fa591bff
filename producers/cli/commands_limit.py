"""`warrooms limit …`: the commands and their options, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from producers.cli.options import Account, Json  # noqa: TC001 - typer reads them

Rates = Annotated[str | None, typer.Argument(metavar="RATES", help="Like '20/second;500/minute'.", show_default=False)]
For = Annotated[str | None, typer.Option("--for", metavar="10m", help="How long; otherwise until it is taken back.")]

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
    """Call an account again that a person paused, or that is suspended or down, without waiting for the next probe.

    Without --account, every account that is suspended or down; a person's pause ends only if its account is named, or
    is the only one. A pause that the API asked for with a 429 stays.
    """
    from producers.cli.limits import resume  # noqa: PLC0415

    return resume(account, json=json)


@app.command("show")
def show_(
    *,
    history: Annotated[
        bool, typer.Option("--history", help="Also what went out in the last 24 hours: its worst second and minute.")
    ] = False,
    account: Account = None,
    json: Json = False,
) -> int:
    """Show an account's limits, who set them, whether it is paused, and how long what waits takes."""
    from producers.cli.limit_orders import show  # noqa: PLC0415

    return show(account, history=history, json=json)


@app.command("set")
def set_(
    rates: Rates = None,
    *,
    for_: For = None,
    configured: Annotated[bool, typer.Option("--configured", help="Back to the rates of the settings.")] = False,
    above: Annotated[
        bool, typer.Option("--above", help="Even if they are above the settings: the API allows more now.")
    ] = False,
    account: Account = None,
    json: Json = False,
) -> int:
    """Set the rates of an account while the workers run: all of them obey within a second.

    The settings say what the API allows; rates that could send more are refused, unless you say --above.
    """
    from producers.cli.limit_orders import set_ as set_rates  # noqa: PLC0415

    return set_rates(rates, for_, account, configured=configured, above=above, json=json)


@app.command("pause")
def pause_(*, for_: For = None, account: Account = None, json: Json = False) -> int:
    """Let no call of an account go out, on all workers, for a while or until `limit resume`. No job is lost."""
    from producers.cli.limit_orders import pause  # noqa: PLC0415

    return pause(for_, account, json=json)


@app.command("what-if")
def what_if_(
    *,
    rates: Annotated[str, typer.Option("--rates", metavar="RATES", help="Like '20/second;500/minute'.")],
    account: Account = None,
    json: Json = False,
) -> int:
    """Say how long what waits now would take at other rates; changes nothing."""
    from producers.cli.limit_orders import what_if  # noqa: PLC0415

    return what_if(rates, account, json=json)
