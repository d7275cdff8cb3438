"""Inverse design held against a known truth: ours, gradient guidance, rejection and latent editing.

    python -m benchmarks.design [--seeds 0 1 2] [--preset standard] [--data demo pbmc] [--quick]

Targets of three rows (two genes up, one down) at base rates of 10, 1, 0.25 and 0 % of the training cells; the genes are
drawn by the seed among those that vary, and their levels follow from the base rate. The truth on `demo:perturb` is the
many more cells of the same simulation that meet the target; on PBMC3k, where nobody has more cells, those that the
model itself makes when it is asked long enough. Prints markdown tables; writes results/design.json and design.md, of
another preset than the standard one design_PRESET.json and .md.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: CPU seconds, not cores, are compared

import numpy as np
import torch

from benchmarks import design_data as data
from benchmarks import design_tables, stages
from scdiff_core import keys
from scdiff_core.analysis import metrics
from scdiff_core.analysis.design.figures_of import Ground, spread
from scdiff_core.config import GenerateConfig
from scdiff_core.diffusion import sampler
from scdiff_core.engine.denoised import Denoised
from scdiff_core.engine.design import design, prepare
from scdiff_core.engine.design_config import DesignConfig
from scdiff_core.engine.generate import condition_of, conditions
from scdiff_core.engine.latent_edit import edit
from scdiff_core.engine.realism import codes_of, ground_of, log1p_of, mild_of, sampled
from scdiff_core.engine.steps import follow
from scdiff_core.target import parse
from scdiff_core.workspace import Workspace, write_json, write_text

CELLS = 512
FREE, FREE_TRUTH = 20_000, 200_000  # cells that the model makes without being asked; where they stand for the truth
AT_ONCE = 2000
TRUE = 3000  # of the truth that are held against
CANDIDATES, HIGHEST_CORRELATION = 150, 0.4

Row = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """Cells that stand for the whole: codes [N, D], and points of cells by their rows."""

    z: torch.Tensor
    points: Any


def targets_of(case: data.Case, real: Denoised, seed: int) -> list[tuple[float, list[Row]]]:
    """Return (base rate, rows) of a target that gets ever harder; levels are quantiles of the training cells."""
    names = tuple(map(str, case.model.genes))
    levels = real.levels(names)
    varies = [g for g in sorted(names, key=lambda g: -levels[g].std()) if levels[g].mean() > 0.5][:CANDIDATES]
    rng = np.random.default_rng([seed, 5])
    while True:
        chosen = [varies[i] for i in rng.choice(len(varies), data.ROWS, replace=False)]
        if np.abs(np.corrcoef([levels[g] for g in chosen]) - np.eye(data.ROWS)).max() < HIGHEST_CORRELATION:
            break
    kept = {g: levels[g] for g in chosen}
    real.known.clear()

    def rows(q: float) -> list[Row]:
        return [{"gene": g, "direction": "down" if i == data.ROWS - 1 else "up",
                 "level": float(np.quantile(kept[g], 1 - q if i == data.ROWS - 1 else q))}
                for i, g in enumerate(chosen)]

    found = []
    for rate in data.RATES:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if meet(rows(middle), kept).mean() > rate else (low, middle)
        found.append((rate, rows(high)))
    return found


def meet(rows: list[Row], levels: dict[str, np.ndarray]) -> np.ndarray:
    """Return which cells meet all rows, bool [N]."""
    met = [levels[r["gene"]] >= r["level"] if r["direction"] == "up" else levels[r["gene"]] <= r["level"]
           for r in rows]
    return np.all(met, axis=0)


def free(case: data.Case) -> tuple[torch.Tensor, float]:
    """Return codes [N, D] of cells that the model makes without demands, and the CPU seconds that a cell takes."""
    model, generator = case.model, torch.Generator().manual_seed(case.seed)
    n = FREE_TRUTH if case.truth is None else FREE
    began = time.process_time()
    codes, conts = conditions(model, GenerateConfig(run=model.run, n_cells=n), generator)
    walk, parts = sampler.make("sde", model.denoiser, model.denoiser.schedule, 20), []
    for first in range(0, n, AT_ONCE):
        condition = condition_of(model, codes[first:first + AT_ONCE], conts[first:first + AT_ONCE])
        with torch.no_grad():
            parts.append(walk.sample(walk.start(len(condition), model.codec.n_dims, generator), condition, generator))
    return torch.cat(parts).float(), (time.process_time() - began) / n


def as_real(case: data.Case, z: torch.Tensor) -> Denoised:
    """Return codes as if they were real cells', to ask for their levels."""
    n = len(z)
    return Denoised(case.model, np.arange(n), z, np.full(n, ""), np.zeros((n, 0), np.int64), np.zeros((n, 0)))


def cell_points(case: data.Case, z: torch.Tensor, seed: int) -> np.ndarray:
    """Return codes as points [n, P]: cells with their counts drawn, in the same components."""
    values, totals = sampled(case.model, z, torch.Generator().manual_seed(seed))
    return case.prepared.project(log1p_of(case.model, values, totals))


def methods(case: data.Case, real: Denoised, coded: Ground, rows: list[Row], loose: tuple[torch.Tensor, float],
            ) -> dict[str, tuple[torch.Tensor, float, float, dict[str, Any]]]:
    """Return for each method its codes, the share that meets the target, CPU seconds, and what else is to be said."""
    target, made = parse({"genes": rows}), {}
    for name, method in (("ours", "smc"), ("gradient guidance", "gradient")):
        config = DesignConfig(run=case.model.run, target=target, n_cells=CELLS, method=method,  # type: ignore[arg-type]
                              seed=case.seed)
        began, clock = time.process_time(), time.perf_counter()
        found = follow(design(case.model, real, config, None, coded), lambda step, share: None)
        seconds, wall = time.process_time() - began, time.perf_counter() - clock
        z = found.z[torch.from_numpy(found.met)] if found.met.any() else found.z
        made[name] = (z, float(found.met.mean()), seconds, {"ancestors": found.ancestors, "wall_s": wall,
                                                            "word": found.feasibility.word})
    objective = prepare(case.model, real, target).objective
    began = time.process_time()
    chosen = torch.randperm(len(real.z), generator=torch.Generator().manual_seed(case.seed))[:CELLS]
    z = edit(objective, real.z[chosen])
    hit = (objective.all_margins(z) >= 0).all(1)
    made["latent editing"] = (z[hit] if hit.any() else z, float(hit.float().mean()), time.process_time() - began, {})
    codes, a_cell = loose
    fits = meet(rows, as_real(case, codes).levels(tuple(r["gene"] for r in rows)))
    if fits.any():
        made["rejection"] = (codes[torch.from_numpy(fits)][:CELLS], 1.0, a_cell * CELLS / fits.mean(),
                             {"found": int(fits.sum()), "note": f"{int(fits.sum())} of {len(codes):,} draws"})
    return made


def measure(case: data.Case, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row for each base rate and method."""
    real = Denoised.of(case.model, case.prepared)
    ground, loose = ground_of(case.prepared), free(case)
    held_out = Denoised.of(case.model, case.prepared, keys.TEST)
    coded = codes_of(real, held_out)
    if case.truth is not None:
        sample = data.simulated(case, asked.sample)
        truth = Truth(torch.from_numpy(sample.z), lambda rows: case.prepared.project(sample.log1p[rows]))
    else:
        truth = Truth(loose[0], lambda rows: cell_points(case, loose[0][torch.from_numpy(rows)], 7))
    out = []
    for rate, rows in targets_of(case, real, case.seed):
        fits = np.flatnonzero(meet(rows, as_real(case, truth.z).levels(tuple(r["gene"] for r in rows))))[:TRUE]
        base = {"data": case.name, "seed": case.seed, "rate": rate, "true_share": len(fits) / len(truth.z),
                "rows": [f"{r['gene']} {r['direction']} {r['level']:.3g}" for r in rows], "n_true": len(fits)}
        stages.say(f"{case.name} seed {case.seed}: base rate {100 * rate:g} %, {len(fits)} true cells")
        known = np.flatnonzero(meet(rows, held_out.levels(tuple(r["gene"] for r in rows))))
        if len(known):
            out.append({**base, "method": "held-out cells", "hits": 1.0, "n": len(known),
                        "unreal": float(ground.beyond(case.prepared.X_pca[held_out.rows[known]]).mean())})
        real_points = truth.points(fits) if len(fits) else np.zeros((0, 2))
        real_mild = mild_of(case.model, case.prepared, truth.z[torch.from_numpy(fits)])
        half = len(fits) // 2
        n = min(CELLS, half)
        if n >= 20:
            out.append({**base, "method": "floor", "hits": 1.0, **figures(
                real_points[:half], real_mild[:half], real_points, real_mild, ground, n)})
            if case.truth is not None:  # what the codec alone makes of true cells: no sampler has a part in it
                again = cell_points(case, truth.z[torch.from_numpy(fits[:half])], case.seed)
                out.append({**base, "method": "codec alone", "hits": 1.0, **figures(
                    again, real_mild[:half], real_points, real_mild, ground, n)})
        for name, (z, hits, seconds, more) in methods(case, real, coded, rows, loose).items():
            points, mild = cell_points(case, z, case.seed), mild_of(case.model, case.prepared, z)
            own = figures(points, mild, real_points, real_mild, ground, n)
            apart = float(coded.beyond(z.numpy()).mean())
            out.append({**base, "method": name, "hits": hits, "seconds": seconds, "unreal_codes": apart, **more, **own})
    return out


def figures(points: np.ndarray, mild: np.ndarray, real: np.ndarray, real_mild: np.ndarray, ground: Ground,
            n: int) -> dict[str, float | None]:
    """Return realism, and, where there are enough true cells, distances and diversity; n cells a side.

    Distances are to the second half of the true cells, since the first is the floor; diversity is held against all of
    them: a few of another kind make up much of it, and one half may have them all.
    """
    found: dict[str, float | None] = {"unreal": float(ground.beyond(points).mean())}
    enough = n >= 20 and len(points) >= 20
    m, second = min(n, len(points)), slice(len(real) // 2, None)
    found["energy"] = metrics.energy_distance(mild[:m], real_mild[second][:m]) if enough else None
    found["energy_cells"] = metrics.energy_distance(points[:m], real[second][:m]) if enough else None
    found["diversity"] = spread(points) / spread(real) if enough else None
    found["diversity_mild"] = spread(mild) / spread(real_mild) if enough else None
    return found


def blood(case: data.Case) -> list[dict[str, Any]]:
    """Return what comes of two questions that a biologist would ask of blood cells."""
    from scdiff_core.engine.design_cells import Bench, design_cells
    from scdiff_core.engine.design_live import facts

    bench = Bench(case.model, case.prepared)
    mono = parse({"genes": [{"gene": "HLA-DRA", "top": 0.3}, {"gene": "CST3", "top": 0.3},
                            {"gene": "S100A8", "direction": "down", "top": 0.3}], "cell_type": "CD14+ Mono"})
    config = DesignConfig(run=case.model.run, target=mono, n_cells=CELLS, seed=case.seed)
    made = follow(design_cells(bench, config), lambda step, share: None)
    report = made.measured.report
    likely = sum(v for k, v in report.neighbours["types"].items() if "Mono" in k or k == "DC")
    out = [{"what": "CD14+ Mono, HLA-DRA and CST3 up, S100A8 down", "seed": case.seed, "words": report.words,
            "word": report.feasibility["word"], "unreal": report.of("designed").unreal,  # type: ignore[union-attr]
            "believable": likely}]
    for name in ("Naive CD4 T", "Memory CD4 T", "CD8 T"):
        found = facts(bench.model, bench.real, parse({"genes": [{"gene": "MS4A1"}], "cell_type": name}))
        out.append({"what": f"{name}, MS4A1 up", "seed": case.seed, "word": found.feasibility.word,
                    "words": f"{found.feasibility.n} of {found.feasibility.n_type} cells at least "
                             f"{found.target.genes[0].level:.2f}"})
    return out


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Inverse design held against a known truth.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="standard", help="of the models, as in `train`")
    parser.add_argument("--data", nargs="+", choices=("demo", "pbmc"), default=["demo", "pbmc"])
    parser.add_argument("--sample", type=int, default=data.SAMPLE, help="cells of the simulation that are the truth")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for results")
    parser.add_argument("--quick", action="store_true", help="one seed of the simulation: only to try it")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.data, asked.sample = asked.seeds[:1], ["demo"], min(asked.sample, 20_000)
    torch.set_num_threads(1)
    workspace, rows, questions = Workspace(stages.CACHE), [], []
    for seed in asked.seeds:
        for name in asked.data:
            case = (data.demo if name == "demo" else data.pbmc)(workspace, seed, asked.preset)
            if case is None:
                continue
            rows += measure(case, asked)
            questions += blood(case) if name == "pbmc" and case.prepared.roles.cell_type else []
            found = {"about": {"preset": asked.preset, "seeds": asked.seeds, "cells": CELLS, "sample": asked.sample},
                     "rows": rows, "questions": questions}
            write_json(asked.results / f"{name_of(asked)}.json", found)
    words = design_tables.text(found)
    write_text(asked.results / f"{name_of(asked)}.md", words + "\n")
    print(words)


def name_of(asked: argparse.Namespace) -> str:
    """Return the name of the files of results."""
    return "design" if asked.preset == "standard" else f"design_{asked.preset}"


if __name__ == "__main__":
    main()
