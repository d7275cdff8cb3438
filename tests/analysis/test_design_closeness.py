"""Distances to a design, with intervals, held against other implementations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from scdiff_core.analysis.design import closeness, recovery
from scdiff_core.analysis.design.candidates import Trust
from scdiff_core.analysis.design.closeness import CENTRED, COSINE, DISTANCE, LIKELY, Populations, Shifts
from scdiff_core.analysis.perturb.scores import Space, e_distance

RNG = np.random.default_rng(0)
G = 12


def space(n: int = 4) -> Space:
    axes, _ = np.linalg.qr(RNG.normal(size=(G, n)))
    return Space(RNG.normal(size=G).astype(np.float32), axes.T.astype(np.float32))


def populations(shift: float = 1.0, n: int = 80) -> tuple[Populations, np.ndarray]:
    start = RNG.normal(size=(n, G)).astype(np.float32)
    goal = (RNG.normal(size=(n, G)) + shift).astype(np.float32)
    return Populations(goal, start, space()), start


def shifts(move: np.ndarray, sd: float = 0.0, own: tuple[tuple[int, ...], ...] | None = None) -> Shifts:
    return Shifts(move, move, np.full(move.shape, sd), own or ((),) * len(move))


def test_the_distance_is_the_e_distance_in_the_components() -> None:
    held, start = populations()
    cells = start + 0.5
    want = (e_distance(held.space.place(cells), held.space.place(held.goal)),
            e_distance(held.space.place(start), held.space.place(held.goal)))
    assert held.energy(cells, ()) == pytest.approx(want, abs=1e-5)


def test_genes_that_are_left_out_do_not_count() -> None:
    held, start = populations()
    wild = start.copy()
    wild[:, [2, 5]] += 50
    assert held.energy(wild, (2, 5)) == pytest.approx(held.energy(start, (2, 5)), abs=1e-4)
    assert held.energy(wild, ())[0] > 10 * held.energy(start, ())[0]
    dropped = np.where(np.isin(np.arange(G), [2, 5]), 0, held.space.components)
    alone = Space(held.space.mean, dropped.astype(np.float32))
    want = e_distance(alone.place(start), alone.place(held.goal))
    assert held.energy(start, (2, 5))[0] == pytest.approx(want, abs=1e-4)


def test_a_candidate_that_is_the_goal_goes_all_the_way_and_one_that_does_nothing_none_of_it() -> None:
    held, start = populations()
    rng = np.random.default_rng(1)
    none = np.zeros((1, G))
    there = held.way(RNG.normal(size=(80, G)).astype(np.float32) + 1, (), none, rng)
    nothing = held.way(start, (), none, rng)
    assert there.way[0] > 0.9 and there.gain_low > 0
    assert abs(nothing.way[0]) < 1e-6 and nothing.gain_low <= 0
    for way in (there, nothing):
        assert way.way[1] <= way.way[0] <= way.way[2] and way.energy[1] <= way.energy[0] <= way.energy[2]


def test_errors_of_the_mean_move_all_cells_as_adding_them_does() -> None:
    held, start = populations()
    error = -np.abs(RNG.normal(size=(1, G)))  # away from the goal: the interval ends beyond the distance without it
    rng = np.random.default_rng(2)
    by_error = held.way(start, (3,), error, rng, draws=200)
    moved = held.way((start + error).astype(np.float32), (3,), np.zeros((1, G)), np.random.default_rng(2), draws=200)
    assert by_error.energy[2] == pytest.approx(moved.energy[2], rel=1e-3)  # the same draws of cells


def test_intervals_of_the_distance_hold_the_true_one() -> None:
    # of normals a distance 2 apart in one direction: closed form of E|N(d, 2)| for one component
    axis = np.zeros((1, G), np.float32)
    axis[0, 0] = 1

    def mean_abs(d: float) -> float:
        s = np.sqrt(2)
        return float(s * np.sqrt(2 / np.pi) * np.exp(-d**2 / (2 * s**2)) + d * (1 - 2 * norm.cdf(-d / s)))

    true = 2 * mean_abs(2.0) - 2 * mean_abs(0.0)
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = (rng.normal(size=(100, G)).astype(np.float32) for _ in range(2))
        y[:, 0] += 2
        way = Populations(y, x, Space(np.zeros(G, np.float32), axis)).way(x, (), np.zeros((1, G)), rng)
        inside += way.energy[1] <= true <= way.energy[2]
    assert 32 <= inside <= 40


def test_closed_forms() -> None:
    wanted = RNG.normal(size=G)
    move = np.stack([wanted, 0 * wanted, -wanted, 3 * wanted])
    no_noise = np.zeros(G)
    found = closeness.closed_form(shifts(move, 0.1), wanted, no_noise, np.full(G, 2.0), np.zeros(G))
    expected = [((wanted**2).sum() - ((m - wanted) ** 2 + 0.01).sum()) / 4 for m in move]
    assert found[DISTANCE] == pytest.approx(expected)
    assert found[COSINE] == pytest.approx([1, 0, -1, 1])
    typical = RNG.normal(size=G)
    centred = closeness.closed_form(shifts(move, 1.0), wanted, no_noise, np.ones(G), typical)[CENTRED]
    a, b = move[3] - typical, wanted - typical
    assert centred[3] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    # its own gene is left out, as are those that nobody compares
    own = closeness.closed_form(shifts(move, 0.0, ((0,), (), (), ())), wanted, np.ones(G), np.ones(G), typical,
                                np.arange(G) != 1)
    assert own[DISTANCE][0] == pytest.approx((wanted[2:] ** 2).sum())


def test_the_likelihood_is_that_of_a_normal_prediction() -> None:
    wanted, noise = RNG.normal(size=G), np.full(G, 0.3)
    move, sd = RNG.normal(size=(5, G)), RNG.uniform(0.1, 2.0, size=(5, G))
    found = closeness.closed_form(Shifts(move, move, sd, ((),) * 5), wanted, noise, np.ones(G), np.zeros(G))[LIKELY]
    want = norm.logpdf(wanted, move, np.sqrt(sd**2 + noise)).sum(axis=1)
    assert found - found.mean() == pytest.approx(want - want.mean())


def test_what_nothing_is_known_of_is_likelier_than_what_is_known_to_do_something_else() -> None:
    wanted, noise = np.full(G, 1.0), np.full(G, 0.1)
    move = np.stack([wanted, -wanted, 0 * wanted])  # right, wrong, and nobody knows
    sd = np.array([0.1, 0.1, 1.5])[:, None] * np.ones(G)
    right, wrong, unknown = closeness.closed_form(Shifts(move, move, sd, ((),) * 3), wanted, noise, np.ones(G),
                                                  np.zeros(G))[LIKELY]
    assert right > unknown > wrong


def test_leaving_out_its_own_gene_makes_a_candidate_neither_likelier_nor_less_likely() -> None:
    # the first gene moves a lot and nobody but its own perturbation, which leaves it out, could say why
    wanted, move = np.r_[9.0, np.zeros(G - 1)], np.zeros((3, G))
    found = closeness.closed_form(Shifts(move, move, np.ones((3, G)), ((0,), (), ())), wanted, np.ones(G),
                                  np.ones(G), np.zeros(G))[LIKELY]
    assert found == pytest.approx(0)


def test_prefilter_keeps_whoever_is_first_by_any_rule() -> None:
    scores = {DISTANCE: np.arange(50.0), CENTRED: -np.arange(50.0), COSINE: np.roll(np.arange(50.0), 25)}
    kept = closeness.prefilter(scores, 9)
    assert {49, 0, 24} <= set(kept.tolist()) and len(kept) == 9


def test_area_and_recall_of_ranks() -> None:
    n = np.full(101, 101)
    assert recovery.area(np.array([1, 101]), np.array([101, 101])).tolist() == [1, 0]
    assert recovery.area(np.arange(1, 102), n).mean() == pytest.approx(0.5)  # chance
    rank = RNG.integers(1, 102, size=300)
    curve = np.array([(rank <= k).mean() for k in range(1, 101)])  # the share found among the first k
    assert recovery.area(rank, np.full(300, 101)).mean() == pytest.approx(curve.mean())
    assert recovery.recall(np.array([1, 5, 11, 30]), 10) == 0.5
    assert recovery.chance(np.array([20, 5]), 10) == pytest.approx(0.75)


def test_the_e_distance_ranks_unless_another_is_better_beyond_its_error() -> None:
    n = np.full(30, 30)
    far, near = RNG.integers(10, 30, size=30).astype(float), np.ones(30)
    usual = {r: far.copy() for r in closeness.RULES}
    assert recovery.choose(usual, n) == closeness.ENERGY
    assert recovery.choose({**usual, DISTANCE: near}, n) == DISTANCE
    one_off = far.copy()
    one_off[0] -= 1
    assert recovery.choose({**usual, COSINE: one_off}, n) in (closeness.ENERGY, COSINE)


@pytest.mark.parametrize(("candidates", "said"), [
    (9, "came before 80 % of the other 8 on average (by chance 50 %; by the plain signature 60 %)"),
    (33, "70 % were among the first 10 of 33 (by chance 30 %; by the plain signature 50 %)")])
def test_what_the_check_found_is_said_by_what_can_differ(candidates: int, said: str) -> None:
    trust = Trust("energy", 12, candidates, {"energy": 0.8, "cosine": 0.6}, {"energy": 0.7, "cosine": 0.5}, 0.3)
    assert said in trust.words()


def test_ranks_share_ties_and_put_what_is_unknown_last() -> None:
    assert closeness.ranks(np.array([3.0, 1.0, 3.0, np.nan])).tolist() == [1.5, 3, 1.5, 4]
    a, b = RNG.normal(size=(2, 30))
    assert spearmanr(a, b)[0] == pytest.approx(np.corrcoef(closeness.ranks(a), closeness.ranks(b))[0, 1])
