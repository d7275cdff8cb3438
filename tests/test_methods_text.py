"""The methods paragraphs: each variant tells its own facts, and cites what was used and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scdiff_core import methods_choices, methods_model, methods_text
from scdiff_core.config import CodecConfig, DiffusionConfig, GenerateConfig, TrainConfig
from scdiff_core.methods_text import Methods, methods
from scdiff_core.references import PAPERS

RUN = TrainConfig(dataset="mine", fingerprint="f" * 64, codec=CodecConfig(n_latent=31, steps=777),
                  diffusion=DiffusionConfig(width=321, steps=888), seed=7)
DATA: dict[str, Any] = {
    "values": "counts", "kind": "raw counts", "source": "/home/someone/secret/mine.h5ad", "n_cells": 900,
    "n_train": 600, "n_test": 300, "n_genes": 1234, "n_pca": 50, "fingerprint": "f" * 64,
    "roles": {"cell_type": "louvain", "batch": "donor", "control": None},
    "qc": {"min_genes": 200, "max_pct_mt": 7.5, "min_cells_per_gene": 3},
    "steps": [{"name": "read", "words": "", "cells_before": 1000, "cells_after": 1000, "genes_after": 20_000},
              {"name": "qc", "words": "", "cells_before": 1000, "cells_after": 900},
              {"name": "genes", "words": "1,234 genes: the most variable genes kept, ranked within each 'donor'."}],
    "config": {"qc": {"min_genes": 200}, "hold_out": [], "test_fraction": 0.3, "seed": 5}}
TRAINING = {"state": "finished", "step": 777 + 1 + 888, "seconds": 1234.0, "used_device": "cpu"}
ENVIRONMENT = {"versions": {"scdiff_core": "9.8.7", "torch": "2.99"}, "threads": 3}


def recipe(**asked: Any) -> dict[str, Any]:
    return {"n_cells": 450, "values": "counts", "version": "9.8.7",
            "config": GenerateConfig(run="r", n_cells=450, seed=3, **asked).model_dump(mode="json")}


def report(*keys: str) -> dict[str, Any]:
    return {"n_cells": 300, "settings": {"trees": 80, "folds": 2, "seed": 3},
            "rows": [{"key": k, "value": 0.625, "floor": 0.511, "unit": "AUC"} for k in keys]}


def write(data: dict[str, Any] | None = DATA, run: TrainConfig = RUN, generated: dict[str, Any] | None = None,
          card: dict[str, Any] | None = None, training: dict[str, Any] = TRAINING) -> Methods:
    return methods(data, run, training, generated, card, ENVIRONMENT)


def cited(told: Methods) -> set[str]:
    return {r.key for r in told.references}


def test_counts_with_the_autoencoder_tell_every_fact_of_the_recipe() -> None:
    told = write(generated=recipe(where={"louvain": "B cells"}), card=report("rf_genes", "mmd"))
    text = re.sub(r" \[[\d,]+\]", "", told.text)
    for fact in ("mine.h5ad", "1,000 cells and 20,000 genes", "at least 200 detected genes",
                 "at most 7.5 % mitochondrial counts; 100 were left out", "1,234 genes", "analytic Pearson residuals",
                 "ranked within each donor", "600 cells were used for training and 300 held out",
                 "30 % drawn at random",
                 "within each louvain", "(seed 5)", "scaled to 10,000", "31 latent dimensions", "negative binomial",
                 "mixture of 64 normal", "777 steps of 256", "888 steps of 256", "321 units", "EDM",
                 "louvain (cell type) and donor (batch)", "450 cells were generated with louvain B cells",
                 "DPM-Solver++(2M) in 8 steps", "scale 1.15", "0.625 (0.511)", "80 trees and 2 folds",
                 "scDiff Studio 9.8.7", "torch 2.99", "21 min on CPU with 3 threads",
                 "training 7, generation 3 and evaluation 3", "f" * 16, "36 of the training cells"):
        assert fact in text, fact
    assert "secret" not in text  # where a file lay is nobody's business
    assert {"wolf2018scanpy", "virshup2024anndata", "mcinnes2018umap", "lopez2018deep", "tomczak2018vamp",
            "lause2021analytic", "karras2022elucidating", "lu2022dpm", "ho2022classifier", "gretton2012kernel",
            "breiman2001random"} <= cited(told)


def test_what_was_not_done_is_neither_told_nor_cited() -> None:
    told = write()
    assert not cited(told) & {"wolock2019scrublet", "song2021denoising", "ho2020denoising", "lu2022dpm",
                              "song2021score", "satija2015spatial", "zheng2017massively", "breiman2001random",
                              "nichol2021improved", "mckay1979comparison"}
    for word in ("Doublet", "Evaluation", "generated.", "recovered from", "median absolute", "early", "at most 888"):
        assert word not in told.text.replace("A diffusion", ""), word


def test_doublets_recovered_counts_proposed_thresholds_and_held_out_values_are_told_where_they_are() -> None:
    steps = [*DATA["steps"], {"name": "doublets", "words": "", "cells_before": 900, "cells_after": 880}]
    config = {**DATA["config"], "qc": None, "hold_out": [{"column": "condition", "values": ["IFN", "TNF"]}]}
    told = write({**DATA, "steps": steps, "kind": "log-normalised, counts recovered", "config": config})
    assert "wolock2019scrublet" in cited(told) and "within each donor; 20 were left out" in told.text
    assert "The counts were recovered" in told.text and "median absolute deviations" in told.text
    assert "all cells with IFN or TNF in condition, and of the others 30 %" in told.text


def test_continuous_values_and_components_say_what_they_were() -> None:
    data = {**DATA, "values": "continuous", "kind": "log-normalised", "config": {**DATA["config"], "qc": None}}
    told = write(data, RUN, {**recipe(), "values": "continuous"})
    assert "probability of exactly zero" in told.text and "satija2015spatial" in cited(told)
    for word in ("negative binomial", "library size", "molecules", "10,000", "median absolute", "Pearson residuals"):
        assert word not in told.text, word
    assert not cited(told) & {"lopez2018deep", "lause2021analytic"}
    pca = write(run=RUN.model_copy(update={"codec": CodecConfig(kind="pca", n_latent=40, steps=2000)}),
                training={**TRAINING, "step": 300 + 1 + 888})
    assert "40 principal component scores of their log1p expression" in pca.text and "300 steps" in pca.text
    assert "888 steps" in pca.text
    assert not cited(pca) & {"kingma2014auto", "tomczak2018vamp"} and "Kullback" not in pca.text
    assert "drawn anew from the encoder" not in pca.text


@pytest.mark.parametrize(("sampler", "said", "paper"), [
    ("dpm", "DPM-Solver++(2M)", "lu2022dpm"), ("heun", "Heun", "karras2022elucidating"),
    ("ode", "Runge-Kutta", "song2021score"), ("sde", "reverse-time SDE", "song2021score"),
    ("ddim", "DDIM with eta 0", "song2021denoising"), ("ddpm", "DDPM", "ho2020denoising")])
def test_each_sampler_is_named_and_cited_alone(sampler: str, said: str, paper: str) -> None:
    told = write(generated=recipe(sampler=sampler, steps=17))
    assert said in told.text and "in 17 steps" in told.text and paper in cited(told)
    others = {"song2021denoising", "ho2020denoising", "song2021score", "lu2022dpm"} - {paper}
    assert not cited(told) & (others - ({"lu2022dpm"} if sampler == "sde" else set()))


def test_guidance_is_told_as_it_was() -> None:
    assert "plainly conditional" in write(generated=recipe(guidance_scale=1.0)).text
    assert "were not used" in write(generated=recipe(guidance_scale=0.0)).text
    alone = {**DATA, "roles": {"cell_type": None}}
    told = write(alone, generated=recipe())
    assert "guidance" not in told.text and "conditioned" not in told.text and "ho2022classifier" not in cited(told)


def test_a_training_that_ended_early_or_was_stopped_tells_its_own_steps() -> None:
    early = write(training={**TRAINING, "step": 777 + 1 + 500})
    assert "500 of at most 888 steps" in early.text and "improved no more" in early.text
    stopped = write(training={**TRAINING, "state": "stopped", "step": 777 + 1 + 500})
    assert "500 of 888 steps" in stopped.text and "improved no more" not in stopped.text


def test_without_the_dataset_nothing_is_said_of_it() -> None:
    told = write(None)
    assert "Data" not in dict(told.parts) and "genes" not in dict(told.parts)["Software and reproducibility"]
    assert not cited(told) & {"wolf2018scanpy", "mcinnes2018umap", "lopez2018deep"}


@pytest.mark.parametrize(("diffusion", "said", "papers"), [
    ({"schedule": "flow"}, "to predict the velocity of flow matching", {"lipman2023flow", "liu2023flow"}),
    ({"schedule": "linear"}, "linear variance-preserving schedule", {"ho2020denoising", "song2021score"}),
    ({"schedule": "edm"}, "mean -0.507", {"karras2022elucidating"}),
    ({"schedule": "custom", "schedule_file": "mine.py"}, "a schedule of our own, mine.py", set()),
    ({"prediction": "v"}, "to predict v", {"salimans2022progressive"}),
    ({"prediction": "eps"}, "to predict the noise", {"ho2020denoising"}),
    ({"backbone": "transformer"}, "transformer of 3 blocks over 16 programs of 64 units", {"peebles2023scalable"}),
    ({"terms": {"mmd": 0.5, "sparsity": 0.1}}, "discrepancy", {"gretton2012kernel"}),
])
def test_each_choice_of_training_is_told_and_cited(diffusion: dict[str, Any], said: str, papers: set[str]) -> None:
    run = RUN.model_copy(update={"diffusion": DiffusionConfig.model_validate({"steps": 888, **diffusion})})
    told, plain = write(run=run, generated=recipe()), write(generated=recipe())
    assert (said in told.text and said not in plain.text) or "peebles2023scalable" in papers
    assert papers <= cited(told)
    assert not (cited(plain) - cited(told)) - {"karras2022elucidating", "nichol2021improved"}


def test_genes_without_a_codec_and_a_codec_that_was_begun_with() -> None:
    told = write(run=RUN.model_copy(update={"codec": CodecConfig(kind="genes")}), generated=recipe(),
                 training={**TRAINING, "step": 1 + 888})
    assert "There was no codec" in told.text and "888 steps" in told.text and "Cells were sampled by" in told.text
    assert not cited(told) & {"kingma2014auto", "rombach2022high", "tomczak2018vamp", "lopez2018deep"}
    begun = write(run=RUN.model_copy(update={"codec": CodecConfig(steps=777, start_from="other")}))
    assert "weights of a codec trained before" in begun.text
    assert "bfloat16" in write(run=RUN.model_copy(update={"precision": "bf16"})).text


def test_numbers_of_citations_and_of_the_list_agree() -> None:
    told = write(generated=recipe(), card=report(*methods_text.FIGURES))
    body = told.text.split("\nReferences\n")[0]
    numbers = [int(n) for group in re.findall(r"\[([\d,]+)\]", body) for n in group.split(",")]
    assert set(numbers) == set(range(1, len(told.references) + 1))
    assert list(dict.fromkeys(numbers)) == sorted(set(numbers)), "numbered in the order of the text"
    assert told.text.count("\n[") == len(told.references) == told.bibtex.count("\n}\n")
    assert told.markdown.startswith("## Methods")


def test_every_paper_has_what_a_reference_needs_and_bibtex_is_ascii() -> None:
    for key, paper in PAPERS.items():
        assert paper.link and paper.authors and paper.title and 1950 < paper.year < 2030, key
        assert str(paper.year) in key and paper.bibtex().isascii(), key
        assert paper.bibtex().count("{") == paper.bibtex().count("}")
        assert not re.search(r"[a-z]\.\.", paper.text())


def test_constants_are_those_of_the_engine() -> None:
    from scdiff_core.data import embed
    from scdiff_core.engine import batches, schedules, train_codec
    from scdiff_core.nn import quantiles

    assert train_codec.PCA_STEPS == methods_model.PCA_STEPS and quantiles.N_QUANTILES == methods_model.N_QUANTILES
    assert (batches.HELD_OUT, batches.HELD_OUT_MAX, batches.FEWEST_TO_SPLIT) == (
        methods_model.HELD_OUT, methods_model.HELD_OUT_MAX, methods_model.FEWEST_TO_SPLIT)
    assert (schedules.LEVELS.mean, schedules.LEVELS.std) == (methods_choices.NOISE_MEAN, methods_choices.NOISE_STD)
    assert (schedules.EDM_LEVELS.mean, schedules.EDM_LEVELS.std) == (methods_choices.EDM_MEAN, methods_choices.EDM_STD)
    assert schedules.LEARNT == (methods_choices.LEARNT_MIN, methods_choices.LEARNT_MAX)
    assert schedules.SAMPLED == (methods_text.RATIO_MIN, methods_text.RATIO_MAX)
    assert (embed.N_NEIGHBORS, embed.MIN_DIST) == (methods_model.UMAP_NEIGHBOURS, methods_model.UMAP_MIN_DIST)
