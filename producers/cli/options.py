"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Account = Annotated[str | None, typer.Option(metavar="NAME", help="The Flashduty account; not needed if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
BatchToSee = Annotated[str | None, typer.Option("--batch", metavar="NAME", help="Only the jobs of this batch.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
