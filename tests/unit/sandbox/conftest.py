from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def start() -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox with these settings, wide limits unless said otherwise; it ends with the test."""
    running: list[Sandbox] = []

    def begin(**settings: object) -> Sandbox:
        settings.setdefault("rates", "100000/second")
        sandbox = Sandbox(SandboxConfig(**settings))  # type: ignore[arg-type] # tests pass wrong ones too
        running.append(sandbox.__enter__())
        return sandbox

    yield begin
    for sandbox in running:
        sandbox.__exit__(None, None, None)
