"""Library sizes as normal scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from scdiff_core.nn.library_size import LibrarySize


@pytest.fixture
def two_heaps() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logs = torch.cat([6 + 0.2 * torch.randn(700, generator=generator), 8 + 0.5 * torch.randn(300, generator=generator)])
    return logs.exp().round()


def test_scores_are_normal_and_lead_back(two_heaps):
    library = LibrarySize()
    library.fit(two_heaps)
    scores = library.score(two_heaps)
    assert scipy.stats.kstest(scores.numpy(), "norm").pvalue > 0.5
    torch.testing.assert_close(library.log_total(scores), two_heaps.log(), rtol=1e-4, atol=1e-3)


def test_the_map_is_that_of_scipys_ranks_and_rises_everywhere(two_heaps):
    library = LibrarySize()
    library.fit(two_heaps)
    ranks = scipy.stats.rankdata(two_heaps.numpy())
    expected = scipy.stats.norm.ppf((ranks - 0.5) / len(ranks))
    inner = np.abs(expected) < 2
    np.testing.assert_allclose(library.score(two_heaps).numpy()[inner], expected[inner], atol=0.1)
    grid = torch.linspace(-5, 5, 2001)
    assert torch.all(library.log_total(grid).diff() > 0)


def test_beyond_the_training_cells_it_goes_on_as_for_log_normal_sizes(two_heaps):
    library = LibrarySize()
    library.fit(two_heaps)
    end = library.log_total(torch.tensor([4.0, 5.0]))
    assert float(end.diff()) == pytest.approx(float(two_heaps.log().std()), rel=1e-4)
    far = torch.tensor([1e7])
    torch.testing.assert_close(library.log_total(library.score(far)), far.log(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("total", [[1000.0] * 50, [500.0], [0.0, 0.0, 3.0]])
def test_equal_or_few_sizes_give_finite_scores(total):
    library = LibrarySize()
    library.fit(torch.tensor(total))
    scores = library.score(torch.tensor(total))
    assert torch.isfinite(scores).all()
    assert torch.all(scores.abs() < 5)
    assert float(library.log_total(torch.zeros(1)).exp()) == pytest.approx(
        math.exp(np.median(np.log(np.maximum(total, 1)))), rel=0.02)
