"""Thinning, simple ways of denoising, odd cells, doublets and the study of rare types, against what is known."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from scdiff_core.analysis import filling, smoothing, thinning, typicality


def two_types(n: int = 120, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Counts of two types, their true rates, and which is which."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    rates = np.full((2, 40), 0.3)
    rates[0, :10] = rates[1, 10:20] = 3.0
    return sp.csr_matrix(rng.poisson(rates[kind]).astype(np.float32)), rates[kind], kind


def test_halves_add_up_and_know_nothing_of_each_other() -> None:
    counts, rates, _ = two_types(4000)
    total = np.asarray(counts.sum(1)).ravel() + 7
    halves = thinning.halve(counts, total, 0)
    assert abs(halves.seen + halves.kept - counts).sum() == 0
    assert np.array_equal(halves.total_seen + halves.total_kept, total)
    first, second = (m.toarray()[::2, 0] for m in (halves.seen, halves.kept))  # one type: the rate is the same
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
    assert first.mean() == pytest.approx(rates[0, 0] / 2, rel=0.06)


def test_the_deviance_is_twice_the_loss_of_log_likelihood_and_least_for_the_truth() -> None:
    counts, rates, _ = two_types(200)
    total = np.full(200, 1000.0)
    found = thinning.deviance(counts, total, rates / 1000)
    x = counts.toarray()
    best = np.where(x > 0, stats.poisson.logpmf(x, np.maximum(x, 1e-12)), 0).sum(1)
    assert np.allclose(found, 2 * (best - stats.poisson.logpmf(x, rates).sum(1)), rtol=1e-4)
    for wrong in (0.7, 1.5):
        assert thinning.deviance(counts, total, wrong * rates / 1000).mean() > found.mean()


def test_simple_ways_bring_cells_nearer_to_their_rates() -> None:
    counts, rates, _ = two_types(200)
    total = np.full(200, 100.0)
    place = counts.toarray()
    company = smoothing.Company(place[:40], counts[:40], total[:40], place[40:], counts[40:], total[40:])
    truth = rates[:40] / 100
    raw = np.mean((smoothing.scaled(company, 1e-9) - truth) ** 2)
    for share in (smoothing.nearest_summed(company, 20), smoothing.diffused(company, 10, 3)):
        assert np.mean((share - truth) ** 2) < 0.35 * raw
    assert np.allclose(smoothing.scaled(company, 1e12), np.asarray(counts[40:].sum(0)).ravel() / 16000, atol=1e-6)


def test_scores_are_put_on_the_scale_of_like_cells() -> None:
    rng = np.random.default_rng(0)
    total = rng.lognormal(7, 0.5, 2000)
    values = 3 * np.log(total) + rng.normal(0, 2, 2000)
    reference = np.arange(2000) < 1500
    found = typicality.standardised(values, total, reference)
    assert found[reference].mean() == pytest.approx(0, abs=1e-6) and found[reference].std() == pytest.approx(1)
    assert abs(np.corrcoef(found, np.log(total))[0, 1]) < 0.05
    rank = typicality.rank_among_like(found, total, reference)
    assert rank[~reference].mean() == pytest.approx(0.5, abs=0.05) and 0 <= rank.min() <= rank.max() <= 1


def test_doublets_are_between_their_cells_and_are_found_again() -> None:
    counts, _, kind = two_types(300)
    total = np.asarray(counts.sum(1)).ravel().astype(np.float32)
    made, depth, pairs = typicality.doublets(counts, total, 400, 0)
    both = total[pairs].sum(1)
    assert np.all(depth <= both + 1e-3) and np.all(depth >= total[pairs].max(1) - 1e-3)
    assert np.asarray(made.sum(1)).ravel().sum() == pytest.approx(depth.sum(), rel=0.02)
    sims = np.stack([np.asarray(made[:, a:a + 10].sum(1)).ravel() for a in (0, 10)])
    cells = np.stack([np.asarray(counts[:, a:a + 10].sum(1)).ravel() for a in (0, 10)])
    mixed = kind[pairs[:, 0]] != kind[pairs[:, 1]]
    score = typicality.doublet_share(np.concatenate([cells.T, sims.T[mixed]]), cells.T, sims.T,
                                     np.concatenate([np.arange(300), np.full(int(mixed.sum()), -1)]))
    assert score[300:].mean() > score[:300].mean() + 0.3


def test_a_cell_is_not_its_own_neighbour() -> None:
    places = np.array([[0.0], [1.0], [3.0]])
    assert typicality.distance(places, np.arange(3), np.arange(3)).tolist() == [2.0, 1.5, 2.5]
    assert typicality.distance(np.array([[0.0], [1.0], [3.0], [9.0]]), np.array([3]), np.arange(3))[0] == 7.0


def test_filling_up_is_said_to_help_only_where_it_does() -> None:
    def runs(**f1: list[float]) -> dict[str, list[dict[str, float]]]:
        return {way: [{"f1": v} for v in f1[name]] for way, name in zip(filling.WAYS, "abcd", strict=True)}

    low, mid, high = [0.5, 0.51, 0.5], [0.7, 0.71, 0.7], [0.9, 0.9, 0.91]
    assert filling.sentence(runs(a=low, b=mid, c=high, d=mid), "NK", 50).startswith("It helps:")
    assert "no more than a simpler way" in filling.sentence(runs(a=low, b=high, c=high, d=low), "NK", 50)
    assert filling.sentence(runs(a=mid, b=mid, c=mid, d=mid), "NK", 50).startswith("It does not help")
    assert filling.sentence(runs(a=high, b=mid, c=low, d=mid), "NK", 50).startswith("It does harm")
    assert "only 4" in filling.sentence(runs(a=mid, b=mid, c=mid, d=mid), "NK", 4)


def test_a_classifier_with_too_few_cells_is_helped_by_true_ones() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["many"] * 400 + ["rare"] * 60)
    x = rng.normal(0, 1, (460, 6)) + 1.6 * (labels == "rare")[:, None] * np.eye(6)[:2].sum(0)
    train = np.r_[0:300, 400:408]
    test = np.setdiff1d(np.arange(460), train)

    def made(seed: int) -> filling.Made:
        r = np.random.default_rng(seed + 9)
        return filling.Made(r.normal(0, 1, (200, 6)) + 1.6 * np.eye(6)[:2].sum(0), np.full(200, "rare", dtype=object))

    steps = filling.study(x, labels.astype(object), train, test, "rare", 150, made, seeds=3)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            rows = {row["way"]: row for row in end.value["rows"]}
            break
    assert rows[filling.FILLED]["f1"] > rows[filling.AS_IS]["f1"] + 0.05
