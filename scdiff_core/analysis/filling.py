"""Does it help to fill up a rare type? A classifier of it, taught in four ways, on real cells that were held out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

AS_IS, REPEATED, FILLED, WEIGHTED = "as they are", "rare cells repeated", "filled up with generated cells", "weighted"
WAYS = (AS_IS, REPEATED, FILLED, WEIGHTED)
SEEDS = 5
FEWEST = 3  # real cells of the type in training and held out, below which nothing can be said
FIGURES = {"ap": "average precision", "f1": "F1", "balanced": "balanced accuracy"}


@dataclass(frozen=True)
class Step:
    """How much of the study is done."""

    done: int
    total: int


@dataclass(frozen=True)
class Made:
    """Generated cells: places in PCA [m, P] and labels [m]."""

    x: np.ndarray
    labels: np.ndarray


def _fit(x: np.ndarray, y: np.ndarray, weights: str | None, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300, class_weight=weights,
                                                              random_state=seed)).fit(x, y)


def _judge(model: Any, x: np.ndarray, y: np.ndarray, rare: str) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

    said = model.predict(x)
    at = list(model.classes_).index(rare)
    return {"ap": float(average_precision_score(y == rare, model.predict_proba(x)[:, at])),
            "f1": float(f1_score(y == rare, said == rare, zero_division=0.0)),
            "balanced": float(balanced_accuracy_score(y == rare, said == rare))}


def _taught(way: str, x: np.ndarray, y: np.ndarray, rare: str, to: int, made: Made, rng: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Return what a classifier is taught in one of the ways: places, labels, and how classes are weighted."""
    lacks = max(0, to - int((y == rare).sum()))
    if way == REPEATED:
        more = rng.choice(np.flatnonzero(y == rare), lacks)
        return np.concatenate([x, x[more]]), np.concatenate([y, y[more]]), None
    if way == FILLED:
        more = rng.permutation(np.flatnonzero(made.labels == rare))[:lacks]
        return np.concatenate([x, made.x[more]]), np.concatenate([y, made.labels[more]]), None
    return x, y, "balanced" if way == WEIGHTED else None


def study(x: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, rare: str, to: int,
          made: Callable[[int], Made], seeds: int = SEEDS) -> Generator[Step, None, dict[str, Any]]:
    """Teach a classifier of a rare type in the ways of `WAYS`; the result is plain JSON.

    A logistic regression of all types on principal components is judged on real held-out cells. Each seed takes nine
    tenths of the training cells, other repeated and other generated cells: the spread is that of the seeds.

    Parameters
    ----------
    x, labels
        Places in PCA [N, P] and types [N] of all real cells, "" where there is none.
    train, test
        Rows of the cells to learn from, and of held-out ones.
    rare, to
        The type, and to how many of it the training cells are filled up.
    made
        seed -> generated cells.

    Raises
    ------
    ValueError
        There are too few cells of the type.
    """
    train, test = (rows[labels[rows] != ""] for rows in (train, test))
    counts = {name: int((labels[rows] == rare).sum()) for name, rows in (("train", train), ("test", test))}
    if min(counts.values()) < FEWEST:
        raise ValueError(f"too few cells of {rare}")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    done = 0
    for seed in range(seeds):
        cells = made(seed)
        rng = np.random.default_rng(seed)
        few = _most(labels, train, rng)
        for way in WAYS:
            places, names, weights = _taught(way, x[few], labels[few], rare, to, cells, rng)
            found[way].append(_judge(_fit(places, names, weights, seed), x[test], labels[test], rare))
            done += 1
            yield Step(done, seeds * len(WAYS))
    rows = [{"way": way, **{key: float(np.mean([r[key] for r in runs])) for key in FIGURES},
             **{f"{key}_sd": float(np.std([r[key] for r in runs], ddof=1)) for key in FIGURES}}
            for way, runs in found.items()]
    return {"rows": rows, "rare": rare, "to": to, "n_train": counts["train"], "n_test": counts["test"],
            "seeds": seeds, "by_seed": found, "sentence": sentence(found, rare, counts["test"])}


def _most(labels: np.ndarray, train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return nine tenths of the training cells of each type, two at least."""
    kept = []
    for value in np.unique(labels[train]):
        rows = rng.permutation(train[labels[train] == value])
        kept.append(rows[:max(2, round(0.9 * len(rows)))])
    return np.sort(np.concatenate(kept))


def sentence(found: dict[str, list[dict[str, float]]], rare: str, n_test: int) -> str:
    """Say whether filling up helps: by F1, over the seeds, against as they are and against the best simple way."""
    scores = {way: np.array([run["f1"] for run in runs]) for way, runs in found.items()}
    rival = max((REPEATED, WEIGHTED), key=lambda way: scores[way].mean())
    few = f" There are only {n_test} such cells to judge by." if n_test < 30 else ""

    def beats(one: str, other: str) -> bool:
        gain = scores[one] - scores[other]
        return bool(gain.mean() > 0.005 and gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain)))

    values = (f"F1 {scores[FILLED].mean():.2f} with generated cells, {scores[AS_IS].mean():.2f} without, "
              f"{scores[rival].mean():.2f} with cells that are {'only weighted' if rival == WEIGHTED else 'repeated'}")
    if beats(FILLED, AS_IS) and beats(FILLED, rival):
        return f"It helps: a classifier of {rare} gets better ({values}).{few}"
    if beats(FILLED, AS_IS):
        return f"It helps a classifier of {rare}, but no more than a simpler way does ({values}).{few}"
    if beats(AS_IS, FILLED):
        return f"It does harm here: a classifier of {rare} gets worse ({values}).{few}"
    return f"It does not help here: a classifier of {rare} is as good without ({values}).{few}"
