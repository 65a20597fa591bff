"""The command `warrooms sandbox`, or `python -m sandbox`: read the options, serve until told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from typing import Annotated

import typer

from sandbox.api import INTEGRATION_ID
from sandbox.config import SandboxConfig
from sandbox.errors import ConfigError
from sandbox.faults import FaultRule
from sandbox.server import Server
from sandbox.state import State

WRONG_OPTION = 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(  # long because each option is a parameter
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.")] = 0,
    app_key: Annotated[
        list[str] | None,
        typer.Option(help="KEY or KEY=ACCOUNT, repeatable; keys of one account share its limits. [sandbox-key]"),
    ] = None,
    model: Annotated[
        str, typer.Option(help="fixed, sliding-log, sliding-counter, token-bucket or gcra.")
    ] = "sliding-log",
    rates: Annotated[str, typer.Option(help="The account's limits.")] = "50/second;1000/minute",
    phase: Annotated[float, typer.Option(help="Where fixed windows begin, in seconds after the start.")] = 0.0,
    count_refused: Annotated[bool, typer.Option("--count-refused", help="Refused calls spend too.")] = False,  # noqa: FBT002
    retry_after: Annotated[str, typer.Option(help="On refusals: none, seconds or http-date.")] = "none",
    latency: Annotated[
        str, typer.Option(help="constant:S, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA or exponential:MEAN.")
    ] = "constant:0",
    seed: Annotated[int, typer.Option(help="Of latencies, faults and incident ids.")] = 1,
    incidents: Annotated[int, typer.Option(help="How many incidents exist.")] = 0,
    strict_incidents: Annotated[  # noqa: FBT002
        bool, typer.Option("--strict-incidents", help="create asks for an incident that exists.")
    ] = False,
    empty_after_loss: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--empty-after-loss", help="create answers {} where the group was deleted in the IM."),
    ] = False,
    fault: Annotated[list[str] | None, typer.Option(help="A fault rule as JSON, repeatable.")] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="One line a call on stderr.")] = False,  # noqa: FBT002
) -> None:
    """A Flashduty account on your laptop: the documented API on loopback, strict limits, faults on demand."""
    try:
        config = SandboxConfig(
            **({"app_keys": _keys(app_key)} if app_key else {}),
            model=model,
            rates=rates,
            phase_s=phase,
            count_refused=count_refused,
            retry_after=retry_after,
            latency=latency,
            seed=seed,
            incidents=incidents,
            strict_incidents=strict_incidents,
            empty_after_loss=empty_after_loss,
            faults=tuple(_fault(text) for text in fault or ()),
            host=host,
            port=port,
            access_log=access_log,
        )
        asyncio.run(_serve(State(config)))
    except ConfigError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        raise typer.Exit(WRONG_OPTION) from None


def _keys(options: list[str]) -> dict[str, str]:
    pairs = (option.partition("=") for option in options)
    return {key: account or "sandbox" for key, _, account in pairs}


def _fault(text: str) -> FaultRule:
    try:
        value = json.loads(text)
    except ValueError:
        raise ConfigError('--fault is a JSON object such as \'{"kind": "cut", "calls": 1}\'') from None
    return FaultRule.of(value)


async def _serve(state: State) -> None:
    """Serve until SIGTERM or SIGINT; says on stdout where, to a program as which process, too."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(state)
    url = await server.start()
    key = next(iter(state.config.app_keys))
    sys.stdout.write(_for_people(url, key) if sys.stdout.isatty() else _for_programs(url))
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


def _for_programs(url: str) -> str:
    return json.dumps({"url": url, "pid": os.getpid()}) + "\n"


def _for_people(url: str, key: str) -> str:
    exports = {
        "FLASHDUTY_BASE_URL": url,
        "FLASHDUTY_APP_KEY": key,
        "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
    }
    lines = [f"  export {name}={shlex.quote(value)}" for name, value in exports.items()]
    return "\n".join(["A Flashduty account on this machine, until Ctrl-C. In other terminals:", *lines, ""])


def main() -> None:
    """Run the command."""
    app(prog_name="warrooms sandbox")
