"""The script against its twin: every reply, every level, over histories nobody thought of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.health import Sign
from worker.jobs import Lane

from .histories import COMMANDS, HEALTH, ORDERS, PLANS, Command, bucket_and_twin_agree, disagreement

if TYPE_CHECKING:
    from worker.rate_limit import Plan

    from .desk import Open


def histories(*more: str) -> st.SearchStrategy[list[Command]]:
    commands = st.builds(
        Command,
        what=st.sampled_from(("acquire", "acquire", "acquire", "wait", "wait", *COMMANDS, *more)),
        us=st.one_of(st.integers(0, 200_000), st.integers(0, 70_000_000)),
        lane=st.sampled_from(Lane),
        ticket=st.booleans(),
        which=st.integers(0, 5),
    )
    return st.lists(commands, min_size=5, max_size=40)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    plan=st.sampled_from(PLANS),
    horizon_us=st.sampled_from((125_000, 0, 1_000_001)),
    history=histories() | histories(*HEALTH, *[Sign.UNWELL] * 8) | histories(*ORDERS, *ORDERS),
)
def test_bucket_and_twin_give_the_same_replies(
    open_desk: Open, plan: Plan, horizon_us: int, history: list[Command]
) -> None:
    assert disagreement(open_desk(plan, horizon_us=horizon_us), history) is None


def test_bucket_and_twin_agree_over_long_crowded_histories(open_desk: Open) -> None:
    bucket_and_twin_agree(open_desk, seeds=2, length=700)
