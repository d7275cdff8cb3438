"""The mean log1p of counts, against draws of them."""

import numpy as np
import pytest
import torch

from scdiff_core.nn.log_mean import log1p_mean


@pytest.mark.parametrize(("mean", "theta", "scale"), [
    (0.001, 1.0, 10.0), (0.01, 0.3, 5.0), (0.3, 0.3, 5.0), (2.0, 0.5, 3.0), (10.0, 1.0, 2.0), (50.0, 3.0, 0.5),
    (500.0, 2.0, 0.5)])
def test_it_is_the_mean_of_draws(mean: float, theta: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.log1p(scale * rng.poisson(mean / theta * rng.gamma(theta, 1, 1_000_000))).mean()
    found = log1p_mean(*(torch.tensor([[np.log(v)]], dtype=torch.float32) for v in (mean, theta)),
                       torch.tensor([np.log(scale)], dtype=torch.float32))
    assert float(found) == pytest.approx(drawn, rel=0.04)


def test_it_rises_with_the_mean_and_goes_on_beyond_the_table() -> None:
    mean = torch.linspace(-12, 9, 200)[None]
    level = log1p_mean(mean, torch.zeros_like(mean), torch.zeros(1))[0]
    assert bool((level.diff() > 0).all())
    assert float(level[-1] - level[-20]) == pytest.approx(float(mean[0, -1] - mean[0, -20]), rel=0.02)
    assert float(level[0] / level[5]) == pytest.approx(float((mean[0, 0] - mean[0, 5]).exp()), rel=0.02)
