"""`make bench`: every figure of the README in one command, part by part.

    python -m benchmarks.bench [--quick] [--only PART ...] [--write-readme] [-- what quality takes besides]

The parts: quality (three datasets, three seeds, presets and peers), samplers (quality against steps), speed, scaling,
canvas (the cell scatter beside plotly's), differential expression, pages (what a click costs), perturb (what a
perturbation does, beside every baseline), screen (of a list), design, edit (of a target), modes (of generation),
recovery (known ones again from their cells), choices (of training) and uses (denoising, odd cells, doublets, rare
types). Each is a process of its own that prints its tables on stdout as markdown; they go into
benchmarks/results/<part>.md, and all of them together into summary.md. A part that fails or is not there is said to
be not measured, and the others go on.
`--write-readme` puts the table of quality and those of speed between the markers `<!-- bench:start -->` and `<!--
bench:end -->` of README.md. `--quick` tries every part in minutes, with one dataset, one seed and a few steps, into
`.bench/quick`: its figures are not those of the README.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

GIVEN = "OMP_NUM_THREADS" in os.environ  # before stages sets it for its own process

from benchmarks import stages, tables  # noqa: E402
from scdiff_core.workspace import read_json, write_text  # noqa: E402

HERE = Path(__file__).resolve().parent
README = stages.ROOT / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"


@dataclass(frozen=True)
class Part:
    """One part of the benchmark: a module of this package that takes --quick and --results and prints tables."""

    name: str
    title: str
    front: bool = True  # whether its tables stand in the README as they are


PARTS = {part.name: part for part in (
    Part("quality", "Quality", front=False),
    Part("samplers", "Samplers", front=False),
    Part("speed", "Speed"),
    Part("scaling", "Scaling"),
    Part("canvas", "The cell canvas"),
    Part("differential", "Differential expression"),
    Part("pages", "Pages"),
    Part("perturb", "Perturbations", front=False),
    Part("screen", "A screen", front=False),
    Part("design", "Inverse design", front=False),
    Part("edit", "The answer to an edit of a target", front=False),
    Part("modes", "Modes of generation", front=False),
    Part("recovery", "Known perturbations found again", front=False),
    Part("choices", "Choices of training", front=False),
    Part("uses", "Uses: denoising, odd cells, doublets, rare types", front=False),
)}


def threads() -> dict[str, str]:
    """Return the environment as it was given: each part says itself how many threads it takes."""
    return {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS" or GIVEN}


def run(part: Part, quick: bool, results: Path, more: list[str]) -> tuple[str, bool]:
    """Run one part; returns its tables and True, or one line that says why there are none and False."""
    if not (HERE / f"{part.name}.py").exists():
        return f"## {part.title}\n\nNot measured: this copy of the project has no benchmarks/{part.name}.py.", False
    command = [sys.executable, "-m", f"benchmarks.{part.name}", *(["--quick"] if quick else []),
               "--results", str(results), *(more if part.name == "quality" else ())]
    stages.say(f"\n== {' '.join(command[1:])}")
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=stages.ROOT, env=threads())
    stages.say(f"== {part.name}: {(time.monotonic() - began) / 60:.1f} minutes")
    if done.returncode or not done.stdout.strip():
        return f"## {part.title}\n\nNot measured: the part ended with code {done.returncode}.", False
    return done.stdout.strip(), True


def quality_results(results: Path) -> dict[str, list[tables.Result]]:
    """Return the results of quality on disk, the standard case first: dataset -> results."""
    names = [name.split(".")[0] for name in stages.DATASETS]
    read = {name: read_json(results / f"quality-{name}.json") for name in names}
    return {name: value["results"] for name, value in read.items() if isinstance(value, dict) and value.get("results")}


def summary(by_dataset: dict[str, list[tables.Result]]) -> str:
    """Return how many musts hold and the table of quality for the front page; empty without results."""
    if not by_dataset:
        return ""
    seeds = len({r["seed"] for found in by_dataset.values() for r in tables.ours(found)})
    held = ", ".join(f"{n} of {m} on {name.split('_')[0]}" for name, (n, m) in tables.count(by_dataset).items())
    return (f"Mean of {seeds} seed{'s' if seeds > 1 else ''}; in brackets real training cells in the place of the "
            f"generated ones; ✗ where the must does not hold. Musts that hold: {held}.\n\n{tables.summary(by_dataset)}")


def front(by_dataset: dict[str, list[tables.Result]], results: Path) -> str:
    """Return what stands in the README: the summary of quality, and the tables of the parts meant for it."""
    files = [results / f"{part.name}.md" for part in PARTS.values() if part.front]
    rest = [f.read_text(encoding="utf-8").strip().replace("## ", "### ") for f in files if f.exists()]
    return "\n\n".join(words for words in (summary(by_dataset), *rest) if words)


def put(text: str, block: str) -> str | None:
    """Return a page with `block` between its two markers; None where it has no such pair."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        return None
    head, rest = text.split(START)
    return f"{head}{START}\n{block}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Every figure of the README.")
    parser.add_argument("--quick", action="store_true", help="try every part in minutes; not the figures of the README")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="these parts alone")
    parser.add_argument("--write-readme", action="store_true", help="put the summary between the markers of README.md")
    parser.add_argument("quality", nargs="*", help="after --, options for quality, such as --peer-seeds 0")
    asked = parser.parse_args()
    if asked.quick and asked.write_readme:
        sys.exit("A quick run's figures are not for the README: leave one of --quick and --write-readme out.")
    results = stages.CACHE / "quick" if asked.quick else stages.RESULTS
    failed = []
    for name in asked.only:
        words, measured = run(PARTS[name], asked.quick, results, asked.quality)
        if not measured:
            failed.append(name)
        write_text(results / f"{name}.md", words + "\n")
    found = [results / f"{name}.md" for name in PARTS]
    by_dataset = quality_results(results)
    head = summary(by_dataset)
    whole = "\n\n".join(["# Benchmark", "Written by `make bench`; see benchmarks/README.md for how to read it.",
                         *([f"## Summary\n\n{head}"] if head else []),
                         *(p.read_text(encoding="utf-8").strip() for p in found if p.exists())])
    write_text(results / "summary.md", whole + "\n")
    print(whole)
    stages.say(f"\nWritten to {os.path.relpath(results / 'summary.md')}")
    if asked.write_readme:
        page = put(README.read_text(encoding="utf-8"), front(by_dataset, results))
        if page is None:
            sys.exit(f"README.md has no pair of markers {START} and {END}, so it was left as it is.")
        write_text(README, page)
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
