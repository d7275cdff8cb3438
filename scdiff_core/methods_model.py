"""The part of the methods that tells of the data, the codec and the diffusion model, from their recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scdiff_core import keys
from scdiff_core.config import TrainConfig
from scdiff_core.data.split import words as rule_words
from scdiff_core.methods_choices import machine_words, network_words, noise_words, term_words
from scdiff_core.references import Citations

Facts = Mapping[str, Any]

# as the engine has them (tests/test_methods_text.py holds them against it: this storey cannot import torch)
PCA_STEPS, HELD_OUT, HELD_OUT_MAX, FEWEST_TO_SPLIT, N_QUANTILES = 300, 0.06, 2000, 50, 64
UMAP_NEIGHBOURS, UMAP_MIN_DIST = 15, 0.3


def listed(words: list[str]) -> str:
    """Return words as a list in prose: `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def number(value: float) -> str:
    """Return a number as a person writes it."""
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) else f"{value:.4g}"


def data_words(data: Facts, cite: Citations) -> str:
    """Return what the data was and how it was prepared."""
    config = data.get("config") or {}
    source = str(data.get("source", ""))
    steps = {s["name"]: s for s in data.get("steps") or ()}
    name = source.removeprefix("demo:") if source.startswith("demo:") else source.replace("\\", "/").rsplit("/", 1)[-1]
    out = [f"The source ({name or data.get('name', 'unnamed')}, {data.get('kind') or data.get('values')}"
           f"{cite('zheng2017massively') if source == 'demo:pbmc68k' else ''}) was read and prepared with scanpy"
           f"{cite('wolf2018scanpy')} and anndata{cite('virshup2024anndata')}"]
    if "read" in steps:
        out[0] += f": {steps['read']['cells_after']:,} cells and {steps['read']['genes_after']:,} genes"
    out[0] += "."
    if "recovered" in str(data.get("kind")):
        out.append("The counts were recovered from the log-normalised values.")
    out += quality_words(data, config, steps, cite)
    out += gene_words(data, config, steps, cite)
    n_train, n_test = data.get("n_train"), data.get("n_test")
    if n_train is not None and n_test is not None:
        out.append(split_words(data, config, int(n_train), int(n_test)))
    if data.get("values") == keys.COUNTS:
        out.append("Where normalised expression is meant, counts were scaled to 10,000 a cell and log1p was taken.")
    if data.get("n_pca"):
        out.append(f"{data['n_pca']} principal components and, for pictures, a UMAP{cite('mcinnes2018umap')} "
                   f"({UMAP_NEIGHBOURS} neighbours, minimum distance {UMAP_MIN_DIST}) were fitted on the training "
                   "cells; the test cells were projected into them.")
    return " ".join(out)


def quality_words(data: Facts, config: Facts, steps: Mapping[str, Any], cite: Citations) -> list[str]:
    """Return which cells were left out, and by what."""
    out = []
    qc = data.get("qc") or {}
    names = {"min_genes": "at least {} detected genes", "max_genes": "at most {} detected genes",
             "min_counts": "at least {} counts", "max_counts": "at most {} counts",
             "max_pct_mt": "at most {} % mitochondrial counts"}
    kept = [words.format(number(qc[k])) for k, words in names.items() if qc.get(k) is not None]
    if kept:
        lost = steps["qc"]["cells_before"] - steps["qc"]["cells_after"] if "qc" in steps else None
        how = ""
        if "qc" in config and config["qc"] is None and data.get("values") == keys.COUNTS:
            how = (", thresholds at the median plus or minus five scaled median absolute deviations on the log scale"
                   + (" (the mitochondrial share from above, not below 5 %)" if qc.get("max_pct_mt") else ""))
        out.append(f"Cells were kept with {listed(kept)}{how}"
                   + (f"; {lost:,} {'was' if lost == 1 else 'were'} left out." if lost is not None else "."))
    if "doublets" in steps:
        lost = steps["doublets"]["cells_before"] - steps["doublets"]["cells_after"]
        batch = (data.get("roles") or {}).get("batch")
        out.append(f"Doublets were called with Scrublet{cite('wolock2019scrublet')}"
                   + (f" within each {batch}" if batch else "")
                   + f"; {lost:,} {'was' if lost == 1 else 'were'} left out.")
    return out


def gene_words(data: Facts, config: Facts, steps: Mapping[str, Any], cite: Citations) -> list[str]:
    """Return which genes were kept."""
    if not data.get("n_genes"):
        return []
    told = str(steps.get("genes", {}).get("words", ""))
    n, least = f"{data['n_genes']:,}", (data.get("qc") or {}).get("min_cells_per_gene")
    if "most variable" in told:
        if data.get("values") == keys.COUNTS:
            how = f" by analytic Pearson residuals{cite('lause2021analytic')}"
        else:
            how = f" by their dispersion{cite('satija2015spatial')}" if data.get("kind") == "log-normalised" else ""
        words = f"The {n} genes kept are the most variable ones of the training cells{how}"
        if "ranked within each" in told:
            words += f", ranked within each {(data.get('roles') or {}).get('batch', 'batch')}"
        if ", with " in told:
            words += ", with those that were perturbed or named"
    else:
        words = f"All {n} genes" + (f" found in at least {least} training cells" if least else "") + " were kept"
    return [f"{words}."]


def split_words(data: Facts, config: Facts, n_train: int, n_test: int) -> str:
    """Return how the cells were split into those learnt from and those held out."""
    roles = data.get("roles") or {}
    within = [str(roles[k]) for k in (keys.CELL_TYPE, keys.PERTURBATION) if roles.get(k)]
    words = f"{n_train:,} cells were used for training and {n_test:,} held out for testing"
    rules = data.get("hold_out") or config.get("hold_out") or ()
    whole = [f"all cells with {rule_words(r)}" for r in rules]
    if whole:
        words += f": {listed(whole)}, and of the others"
    elif config:
        words += ":"
    if config:
        words += f" {100 * config.get('test_fraction', 0.3):.3g} % drawn at random" + (
            f" within each {' and '.join(within)}" if within else "") + f" (seed {config.get('seed', 0)})"
    return f"{words}. All that was fitted was fitted on the training cells alone."


def codec_words(run: TrainConfig, values: str, data: Facts | None, cite: Citations) -> str:
    """Return what the codec was and how it learned."""
    c = run.codec
    counts, known = values == keys.COUNTS, bool(values)
    if c.kind == "genes":
        return ("There was no codec: each gene's " + ("log1p expression" if counts else "value") + ", scaled to unit "
                "spread, is a dimension of the diffusion"
                + (", and the library size, as a normal score, one more. On the way back, values at the library size "
                   "drawn with them were rounded up or down at random so that the mean stays." if counts else "."))
    if c.kind == "pca":
        width = min(c.n_latent, int((data or {}).get("n_pca") or c.n_latent))
        out = [f"Cells were encoded as {width} principal component scores of their "
               f"{'log1p' if counts else 'values'}" + (" expression" if counts else "") + "."]
    else:
        hidden = " and ".join(map(str, c.hidden))
        out = [f"Cells were encoded by a variational autoencoder{cite('kingma2014auto')} with {c.n_latent} latent "
               f"dimensions and hidden layers of {hidden} units (layer normalisation, no batch normalisation)."]
    if counts:
        out.append("The library size, as a normal score, is one more latent dimension. The decoder gives each gene a "
                   f"negative binomial distribution of counts{cite('lopez2018deep')} whose dispersion depends on the "
                   "gene and on its mean" + (", with a small share of stray counts" if c.stray > 0 else "") + ".")
    elif known:
        out.append("The values are continuous: the decoder gives each gene a probability of exactly zero and else a "
                   "normal distribution whose spread depends on the gene and on its mean"
                   + (", with a small share of values far out" if c.stray > 0 else "") + ".")
    if c.kind == "vae":
        prior = (f"The prior of the codes was a mixture of {c.prior} normal distributions learnt with the codec"
                 f"{cite('tomczak2018vamp')}" if c.prior > 1 else "The prior of the codes was one normal distribution "
                 "learnt with the codec")
        out.append(f"{prior}; the weight of the Kullback-Leibler term was {c.kl_weight:g} after a warm-up.")
        if counts and c.thin < 1:
            out.append(f"In training the encoder saw each cell with between {100 * c.thin:g} and 100 % of its "
                       "molecules, thinned at random, while the decoder answered for all of them.")
    if c.start_from is not None:
        out.append("It began with the weights of a codec trained before, matched gene by gene.")
    steps = codec_steps(run)
    learner = "codec" if c.kind == "vae" else "distributions round the components"
    out.append(f"The {learner} learned for {steps:,} steps of {c.minibatch:,} cells "
               f"(AdamW{cite('loshchilov2019decoupled')}, learning rate {c.lr:g}"
               + (f", weight decay {c.weight_decay:g}" if c.weight_decay else "")
               + (f", dropout {c.dropout:g}" if c.kind == "vae" and c.dropout else "") + ").")
    out.append(f"Gene by gene, a table of {N_QUANTILES} quantiles of the training cells' randomised probability "
               f"integral transforms{cite('dunn1996randomized')} recalibrated the decoder, as far as it brought cells "
               "drawn anew nearer to cells that were watched, not learnt from.")
    return " ".join(out)


def codec_steps(run: TrainConfig) -> int:
    """Return how many steps the codec learned for."""
    steps = run.codec.steps
    return {"vae": steps, "pca": min(steps, PCA_STEPS), "genes": 0}[run.codec.kind]


def diffusion_words(run: TrainConfig, training: Facts, covariates: Mapping[str, str], data: Facts | None,
                    cite: Citations) -> str:
    """Return what the diffusion model was and how it learned."""
    d = run.diffusion
    what = "cells" if run.codec.kind == "genes" else "codes"
    fresh = ", drawn anew from the encoder at each step" if run.codec.kind == "vae" else ""
    latent = cite("rombach2022high") if run.codec.kind != "genes" else ""
    out = [f"A diffusion model of these {what}{latent}, scaled to unit spread{fresh}, was trained "
           f"{noise_words(d, cite)}; {network_words(d, cite)}.{term_words(d, cite)}{machine_words(run)}"]
    if covariates:
        columns = listed([f"{column} ({role.replace('_', ' ')})" for role, column in covariates.items()])
        each = "each " if len(covariates) > 1 else ""
        dropped = (f"; {each}left out at random for {100 * d.drop_condition:.3g} % of the cells in training"
                   f"{cite('ho2022classifier')}") if d.drop_condition else ""
        out.append(f"It is conditioned on {columns}{dropped}.")
    codec = codec_steps(run)
    taken = int(training.get("step") or 0) - codec - 1
    early = 0 < taken < d.steps and training.get("state") == "finished"
    steps = f"{taken:,} of at most {d.steps:,}" if early else f"{d.steps:,}"
    if 0 < taken < d.steps and not early:
        steps = f"{taken:,} of {d.steps:,}"
    n_train = (data or {}).get("n_train")
    watched = ""
    if n_train and n_train >= FEWEST_TO_SPLIT:
        n = min(HELD_OUT_MAX, max(1, round(HELD_OUT * n_train)))
        watched = (f" The loss was watched on {n:,} of the training cells that were not learnt from, which chose the "
                   "weights kept" + (" and ended the training once they improved no more" if early else "") + ".")
    out.append(f"It learned for {steps} steps of {d.minibatch:,} cells (AdamW{cite('loshchilov2019decoupled')}, "
               f"learning rate {d.lr:g}" + (f", weight decay {d.weight_decay:g}" if d.weight_decay else "")
               + (f", dropout {d.dropout:g}" if d.dropout else "")
               + f"; exponential moving average of the weights, decay {d.ema:g}).{watched}")
    return " ".join(out)
