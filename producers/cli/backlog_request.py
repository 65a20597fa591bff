"""What a person asks of `warrooms backlog`. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from producers.bookmark import Asked
from producers.cli.filters import PROGRESS, SEVERITIES, names, numbers
from producers.cli.views import account_option
from worker.jobs import Lane

OPEN: Final = "Triggered,Processing"
"""The progress of incidents that can have a room: closed ones are refused one."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command."""

    since: str
    until: str | None = None
    severity: str | None = None
    progress: str | None = None
    channel: str | None = None
    account: str | None = None
    integration: int | None = None
    without_room: bool = False
    urgent: bool = False
    batch: str | None = None
    dry_run: bool = False
    wait: bool = False
    json: bool = False

    @property
    def lane(self) -> Lane:
        """The jobs' lane."""
        return Lane.URGENT if self.urgent else Lane.BULK

    def asked(self, integration_id: int = 1) -> Asked:
        """What is asked of the API, for rooms in this integration.

        Raises:
            BadInput: a filter is wrong.
        """
        return Asked(
            since=self.since,
            until=self.until,
            severity=names("--severity", self.severity, SEVERITIES),
            progress=names("--progress", OPEN if self.progress is None else self.progress, PROGRESS),
            channel_ids=numbers("--channel", self.channel),
            integration_id=integration_id,
            without_room=self.without_room,
        )

    def command(self, batch: str) -> str:
        """The command that goes on with a batch."""
        options = (
            ("--since", self.since), ("--until", self.until), ("--severity", self.severity),
            ("--progress", self.progress), ("--channel", self.channel), ("--integration", self.integration),
        )  # fmt: skip
        flags = (
            ("--without-room", self.without_room), ("--urgent", self.urgent), ("--wait", self.wait),
            ("--json", self.json),
        )  # fmt: skip
        words = [word for name, value in options if value is not None for word in (name, str(value))]
        words += [name for name, is_set in flags if is_set]
        return f"warrooms backlog {shlex.join(words)}{account_option(self.account)} --batch {batch}"
