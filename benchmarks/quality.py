"""How true the generated cells are: prepare, train, generate and score, for each dataset, preset, peer and seed.

    python -m benchmarks.quality [--data NAME_OR_PATH ...] [--seeds 0 1 2] [--presets quick standard] [--no-peers]

Prints a markdown table a dataset: each figure of the presets and of the peers beside its floor (real training cells
against real held-out cells), two baselines, and what it must reach; and writes
benchmarks/results/quality-<dataset>.json. The data is PBMC3k, Kang and pancreas of the folder that SCDIFF_TEST_DATA
names (default ../shared/data). What has been made already is taken from `.bench/` (see stages.py). CPU seconds are
those of the one thread that trains.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import stages, tables
from benchmarks.peers import run as peers
from benchmarks.stages import prepare, score, train
from scdiff_core.workspace import JobDir, Workspace, write_json


def extra(made: Any, train_cells: Any, test: Any, seed: int) -> dict[str, Any]:
    """Return CFGen's protocol for the cells and for as many training cells; nothing where there are no types."""
    import numpy as np

    from scdiff_core.analysis.metrics import subsample
    from scdiff_core.analysis.types import cfgen_w2

    if made.labels is None or test.labels is None:
        return {}
    floor = train_cells.take(subsample(len(train_cells), len(test), np.random.default_rng(seed)))
    found = {"cfgen_w2": cfgen_w2(made.log1p, made.labels, test.log1p, test.labels, seed=seed),
             "cfgen_w2_floor": cfgen_w2(floor.log1p, floor.labels, test.log1p, test.labels, seed=seed)}
    return {key: value["w2"] for key, value in found.items() if np.isfinite(value["w2"])}


def measure(workspace: Workspace, source: Path, presets: list[str], seeds: list[int], fresh: bool,
            peer_seeds: list[int], epochs: int | None, thorough: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the results of one dataset, presets first, and what could not be measured."""
    name = source.name.split(".")[0]
    dataset, prepare_s = prepare(workspace, source, fresh)
    results, failed = [], []
    for preset in presets:
        for seed in seeds:
            stages.say(f"{name}: {preset}, seed {seed}")
            run, train_s = train(workspace, dataset, preset, seed, fresh=fresh)
            cells, generate_s = stages.generate(dataset, run, seed)
            results.append({"dataset": name, "kind": "preset", "method": preset, "title": preset, "seed": seed,
                            "prepare_s": round(prepare_s, 2), "train_s": round(train_s, 2),
                            "generate_s": round(generate_s, 2),
                            "report": score(dataset, cells, seed, extra, fresh, thorough)})
    if peer_seeds:
        made, failed = peer_results(dataset, name, peer_seeds, epochs, fresh, thorough)
        results += made
    return results, failed


def peer_results(dataset: JobDir, name: str, seeds: list[int], epochs: int | None, fresh: bool,
                 thorough: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the results of the peers, ordered by peer, and why some are missing."""
    results: list[dict[str, Any]] = []
    for seed in seeds:
        stages.say(f"{name}: peers, seed {seed}")
        try:
            found = peers.run(dataset, seed, epochs, fresh)
        except (subprocess.CalledProcessError, OSError) as error:
            return results, [f"{name}: the peers failed at seed {seed} ({error})."]
        for key, made in found.items():
            peer = peers.PEERS[key]
            results.append({"dataset": name, "kind": "peer", "method": key, "title": peer.title, "note": peer.note,
                            "seed": seed, "train_s": made["train_s"], "generate_s": made["generate_s"],
                            "epochs": made["epochs"], "versions": made["versions"],
                            "report": score(dataset, made["cells"], seed, extra, fresh, thorough)})
    order = list(peers.PEERS)
    return sorted(results, key=lambda r: (order.index(r["method"]), r["seed"])), []


def about(seeds: list[int]) -> dict[str, Any]:
    """Return what the figures were measured with."""
    import numpy
    import torch

    from scdiff_core import __version__

    return {"version": __version__, "learn": stages.learn_hash(), "judge": stages.judge_hash(), "seeds": seeds,
            "python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
            "machine": platform.machine()}


def seeds_of(results: list[dict[str, Any]]) -> str:
    """Return how many seeds there are, in words."""
    n = len({r["seed"] for r in results})
    return f"{n} seed{'s' if n != 1 else ''}"


def text(results: list[dict[str, Any]], failed: list[str]) -> str:
    """Return the section of one dataset as markdown."""
    thorough = results[0]["report"]["settings"]["thorough"]
    name, rows = results[0]["dataset"], [results[0]["report"]["n_cells"]]
    parts = [f"## Quality: {name}", f"{rows[0]:,} cells a side; mean (± standard deviation) of "
             f"{seeds_of(tables.ours(results))}.{'' if thorough else ' Small forests: only to try it.'}",
             tables.quality(results)]
    every = [r for r in results if r["kind"] == "peer"]
    notes = {r["title"]: f"{r['note']} ({seeds_of([o for o in every if o['method'] == r['method']])}"
             + (f", {r['epochs']} epochs only)" if r["epochs"] else ")") for r in every}
    if notes:
        parts.append("\n".join(f"- {title}: {note}." for title, note in notes.items()))
    table = tables.cfgen(results, name)
    if table:
        parts.append("### CFGen's protocol\n\nPCA-30 of the test cells, centred; exact transport, type by type, then "
                     "averaged. Published figures are of other splits and other normalisation: hold each against its "
                     "own real cells.\n\n" + table)
    parts += [f"Not measured: {words}" for words in failed]
    return "\n\n".join(parts)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How true the generated cells are.")
    parser.add_argument("--data", nargs="+", default=list(stages.DATASETS), help="paths, or names in the data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"])
    parser.add_argument("--no-peers", action="store_true", help="measure the product alone")
    parser.add_argument("--peer-seeds", type=int, nargs="+", default=None, help="other seeds for the peers, as 0")
    parser.add_argument("--epochs", type=int, default=None, help="at most so many epochs for a peer (default: its own)")
    parser.add_argument("--fresh", action="store_true", help="make everything anew")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for the JSON files")
    parser.add_argument("--quick", action="store_true", help="one dataset, seed and preset, small forests")
    asked = parser.parse_args()
    if asked.quick:
        asked.data, asked.seeds, asked.presets, asked.epochs = asked.data[:1], [0], ["quick"], 5
    sources, missing = stages.paths_of(asked.data), []
    if not sources:
        sys.exit("There is nothing to measure. Set SCDIFF_TEST_DATA, or give a path with --data.")
    trouble = None if asked.no_peers else peers.environment()
    if trouble:
        stages.say(f"{trouble} Their columns are left out.")
        missing.append(trouble)
    workspace = Workspace(stages.CACHE)
    for source in sources:
        results, failed = measure(workspace, source, asked.presets, asked.seeds, asked.fresh,
                                  [] if asked.no_peers or trouble else asked.peer_seeds or asked.seeds, asked.epochs,
                                  thorough=not asked.quick)
        write_json(asked.results / f"quality-{results[0]['dataset']}.json",
                   {"about": about(asked.seeds), "results": results, "not_measured": missing + failed})
        print(text(results, missing + failed) + "\n", flush=True)


if __name__ == "__main__":
    main()
