"""One row an idea: the standard preset with settings of its own, trained and scored with the thorough report card.

    python -m benchmarks.ideas                                    # every idea of IDEAS on PBMC3k, seed 0
    python -m benchmarks.ideas --only "as it is" "kl 1" --seeds 0 1 2 --data kang_ifnb_counts.h5ad
    python -m benchmarks.ideas --idea "kl 0.7" codec.kl_weight=0.7 --idea "strong guidance" generate.guidance_scale=2

An idea is a set of `codec.*` and `diffusion.*` settings of the training, and of `generate.*` settings of the sampling.
Ideas that share their training share the trained model. What has been made already is taken from `.bench/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks import quality, stages, tables
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import Workspace, write_json

FIGURES = ("rf_genes", "rf_pca", "mmd", "energy", "nn_accuracy", "precision", "recall", "zero_share", "gene_variance",
           "gene_correlation", "log2fc_slope", "label_agreement", "copy_rate")
IDEAS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "encoder sees all counts": ("codec.thin=1",),
    "no strays": ("codec.stray=0",),
    "KL weight 0.5": ("codec.kl_weight=0.5",),
    "KL weight 0.25": ("codec.kl_weight=0.25",),
    "32 latents": ("codec.n_latent=32",),
    "128 latents": ("codec.n_latent=128",),
    "codec of two layers": ("codec.hidden=[256, 256]",),
    "no dropout": ("codec.dropout=0",),
    "codes from PCA": ("codec.kind=pca",),
    "twice the steps": ("codec.steps=2400", "diffusion.steps=2600"),
    "denoiser half as wide": ("diffusion.width=192",),
    "shorter average of weights": ("diffusion.ema=0.99",),
    "no guidance": ("generate.guidance_scale=1",),
    "guidance 1.5": ("generate.guidance_scale=1.5",),
    "10 steps": ("generate.steps=10",),
    "40 steps": ("generate.steps=40",),
}


def parts(settings: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return an idea's settings of the training, and those of the sampling as values.

    Raises
    ------
    ScdiffError
        A setting has no `=`, or is neither of the codec, the diffusion nor the sampling.
    """
    training, sampling = [], {}
    for setting in settings:
        key, eq, text = setting.partition("=")
        section, _, leaf = key.partition(".")
        if not eq or not leaf or section not in ("codec", "diffusion", "generate"):
            raise ScdiffError(f"The setting '{setting}' cannot be used.", "It is not of the form section.key=value "
                              "with the section codec, diffusion or generate.", "Write for example codec.n_latent=32.")
        if section == "generate":
            sampling[leaf] = yaml.safe_load(text)
        else:
            training.append(setting)
    return tuple(training), sampling


def measure(workspace: Workspace, source: Path, preset: str, ideas: dict[str, tuple[str, ...]], seeds: list[int],
            fresh: bool) -> list[dict[str, Any]]:
    """Return the results of every idea on one dataset."""
    name = source.name.split(".")[0]
    dataset, prepare_s = stages.prepare(workspace, source)
    results = []
    for title, settings in ideas.items():
        training, sampling = parts(settings)
        for seed in seeds:
            stages.say(f"{name}: {title}, seed {seed}")
            run, train_s = stages.train(workspace, dataset, preset, seed, training, fresh)
            cells, generate_s = stages.generate(dataset, run, seed, sampling)
            results.append({"dataset": name, "kind": "preset", "method": title, "title": title, "seed": seed,
                            "settings": list(settings), "preset": preset, "prepare_s": round(prepare_s, 2),
                            "train_s": round(train_s, 2), "generate_s": round(generate_s, 2),
                            "report": stages.score(dataset, cells, seed, quality.extra, fresh)})
    return results


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="What each idea does to the figures of quality.")
    parser.add_argument("--data", nargs="+", default=[stages.DATASETS[0]], help="paths, or names in the data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--only", nargs="+", default=None, help="these ideas of the list alone")
    parser.add_argument("--idea", nargs="+", action="append", default=[], metavar=("NAME", "KEY=VALUE"),
                        help="an idea of your own in place of the list; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="make everything anew")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for the JSON files")
    asked = parser.parse_args()
    ideas = {i[0]: tuple(i[1:]) for i in asked.idea} or IDEAS
    unknown = [name for name in asked.only or [] if name not in ideas]
    if unknown:
        sys.exit(f"There is no idea '{unknown[0]}'. The ideas are: {', '.join(ideas)}.")
    ideas = {k: v for k, v in ideas.items() if asked.only is None or k in asked.only}
    workspace = Workspace(stages.CACHE)
    for source in stages.paths_of(asked.data):
        try:
            results = measure(workspace, source, asked.preset, ideas, asked.seeds, asked.fresh)
        except ScdiffError as error:
            sys.exit(str(error))
        name = results[0]["dataset"]
        write_json(asked.results / f"ideas-{name}.json", {"about": quality.about(asked.seeds), "results": results})
        print(f"## Ideas: {name}, {asked.preset}\n\n{tables.ideas(results, FIGURES)}\n", flush=True)


if __name__ == "__main__":
    main()
