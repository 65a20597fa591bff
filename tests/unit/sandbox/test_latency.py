from __future__ import annotations

from random import Random
from statistics import fmean, median

import pytest

from sandbox.errors import ConfigError
from sandbox.latency import CAP_S, Latency


def draws(text: str, seed: int = 1) -> list[float]:
    latency, random = Latency.of(text), Random(seed)
    return [latency.draw(random) for _ in range(4000)]


def test_a_constant_is_constant() -> None:
    assert set(draws("constant:0.2")) == {0.2}


def test_uniform_fills_its_range() -> None:
    drawn = draws("uniform:0.5:2")
    assert 0.5 <= min(drawn) < 0.51
    assert 1.99 < max(drawn) <= 2


def test_lognormal_has_its_median_and_is_capped() -> None:
    assert median(draws("lognormal:0.3:0.5")) == pytest.approx(0.3, rel=0.05)
    assert max(draws("lognormal:10:3")) == CAP_S
    assert max(draws("lognormal:1:1:2")) == 2


def test_exponential_has_its_mean_and_is_capped() -> None:
    assert fmean(draws("exponential:0.3")) == pytest.approx(0.3, rel=0.1)
    assert max(draws("exponential:1:2")) == 2


def test_the_same_seed_gives_the_same_latencies() -> None:
    assert draws("uniform:0:2", seed=7) == draws("uniform:0:2", seed=7) != draws("uniform:0:2", seed=8)


@pytest.mark.parametrize(
    "text", ["", "fast", "constant", "constant:x", "constant:-1", "uniform:1", "uniform:2:1", "constant:inf"]
)
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no latency"):
        Latency.of(text)
