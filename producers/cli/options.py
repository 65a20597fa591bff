"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Final

import typer

INT64_MAX: Final = 2**63 - 1

Account = Annotated[str | None, typer.Option(metavar="NAME", help="The Flashduty account; not needed if there is one.")]
Integration = Annotated[
    int | None,
    typer.Option(
        min=1, max=INT64_MAX, metavar="N", help="The IM integration; not needed if one is set, or there is only one."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
BatchToSee = Annotated[str | None, typer.Option("--batch", metavar="NAME", help="Only the jobs of this batch.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
