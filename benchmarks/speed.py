"""How fast it trains and generates: each preset on this machine's CPU, and a GPU where there is one.

    python -m benchmarks.speed [--presets quick standard] [--quick]

PBMC3k (2,000 genes). Training is in CPU seconds of the one thread that trains, pictures and checkpoints included.
Generating is timed in a warm process: CPU seconds on one thread, and seconds on the clock with the
threads that the product takes (one less than there are cores: more under contention are far slower). On a GPU, one
step of the diffusion model as it is (bf16, fused AdamW, latents and random draws on the device, no wait for the host)
is held against a plain float32 loop of the same model: draws on the CPU, loss read at each step. Without a GPU that row
says so. Writes benchmarks/results/speed.json.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import stages, tables
from scdiff_core.config import GenerateConfig, TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.diffusion.loss import denoising_loss
from scdiff_core.engine.generate import generate
from scdiff_core.engine.model import Model
from scdiff_core.engine.presets import preset
from scdiff_core.engine.train import Training
from scdiff_core.engine.train_diffusion import LEVELS, DiffusionPhase
from scdiff_core.process import threads_for
from scdiff_core.workspace import Workspace, write_json

SIZES = (1_000, 10_000)
WARM, TIMED = 10, 60  # steps
BATCHES = (256, 4096)  # of the GPU rows: the presets' own, and one that fills the device


def cells(model: Model, n: int) -> None:
    """Generate n cells with the settings that nobody changed."""
    for _ in generate(model, GenerateConfig(run=model.run, n_cells=n)):
        pass


def generating(run: Any, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return the seconds that generating takes in a warm process, by number of cells."""
    model, times = Model.load(run, "cpu"), {}
    for n in sizes:
        for name, threads in (("cpu", 1), ("clock", threads_for(0))):
            torch.set_num_threads(threads)
            cells(model, 64)
            began, clock = time.process_time(), time.perf_counter()
            cells(model, n)
            spent = {"cpu": time.process_time() - began, "clock": time.perf_counter() - clock}
            times[f"{n}_{name}"] = spent[name]
    torch.set_num_threads(1)
    return times


def rate(step: Callable[[], object], n: int, wait: Callable[[], None] | None = None) -> float:
    """Return how many cells a step of n cells goes through: a CPU second, or on the clock where one must `wait`."""
    clock = time.process_time if wait is None else time.perf_counter
    wait = wait or (lambda: None)
    for _ in range(WARM):
        step()
    wait()
    began = clock()
    for _ in range(TIMED):
        step()
    wait()
    return TIMED * n / (clock() - began)


def phases(prepared: Prepared, name: str, device: str, minibatch: int | None = None) -> Training:
    """Return a training of a preset, before its first step."""
    codec, diffusion = preset(name, prepared.values)
    if minibatch:
        diffusion = diffusion.model_copy(update={"minibatch": minibatch})
    return Training(prepared, TrainConfig(dataset=prepared.name, fingerprint=prepared.fingerprint, codec=codec,
                                          diffusion=diffusion, device=device, threads=1))


def on_cpu(prepared: Prepared, run: Any, name: str, seconds: float, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of one preset on one thread of the CPU."""
    training = phases(prepared, name, "cpu")
    rates = {}
    for part in ("codec", "diffusion"):
        phase = training.phase(part)
        rates[part] = rate(phase.advance, training.config.codec.minibatch if part == "codec"
                           else training.config.diffusion.minibatch)
    return {"preset": name, "train_s": seconds, "rates": rates, **generating(run, sizes)}


def plain_step(phase: DiffusionPhase) -> Callable[[], float]:
    """Return a step of the same model as one writes it at first: float32, draws on the CPU, the loss read each time."""
    network, config, device = phase.network, phase.config, phase.device
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0,
                                  foreach=False, fused=False)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    mean, std = phase.latents.mean.cpu(), phase.latents.std.cpu()
    known = phase.condition.to("cpu")

    def step() -> float:
        rows = torch.randint(len(mean), (config.minibatch,), generator=generator)
        shape = (config.minibatch, mean.shape[1])
        x0 = mean[rows] + std[rows] * torch.randn(shape, generator=generator)
        condition = known.rows(rows).drop(config.drop_condition, generator)
        sigma, noise = LEVELS.draw(config.minibatch, generator), torch.randn(shape, generator=generator)
        loss = denoising_loss(phase.denoiser, x0.to(device), condition.to(device), sigma.to(device),
                              noise.to(device)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for key, value in network.state_dict().items():
                average[key].lerp_(value, 1 - config.ema)
        return loss.item()

    network.train()
    return step


def on_gpu(prepared: Prepared, run: Any, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return cells per second of training and generating on CUDA, and of a plain loop."""
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "training": []}
    for n in BATCHES:
        training = phases(prepared, "standard", "cuda", n)
        training.phase("calibrate").advance()
        ours, plain = (training.phase("diffusion") for _ in range(2))
        assert isinstance(plain, DiffusionPhase)
        found["training"].append({"minibatch": n, "ours": rate(ours.advance, n, torch.cuda.synchronize),
                                  "plain": rate(plain_step(plain), n, torch.cuda.synchronize)})
    model = Model.load(run, "cuda")
    for n in sizes:
        cells(model, n)
        torch.cuda.synchronize()
        began = time.perf_counter()
        cells(model, n)
        found[f"{n}_clock"] = time.perf_counter() - began
    return found


def table(results: dict[str, Any]) -> str:
    """Return the results as markdown."""
    sizes = results["sizes"]
    lines = [["on the CPU", *(r["preset"] for r in results["cpu"])],
             ["training, CPU s", *(f"{r['train_s']:.0f}" for r in results["cpu"])]]
    for part in ("codec", "diffusion"):
        lines.append([f"cells a CPU second in training, {part}", *(f"{r['rates'][part]:,.0f}" for r in results["cpu"])])
    for n in sizes:
        lines.append([f"{n:,} cells, CPU s on one thread", *(f"{r[f'{n}_cpu']:.2f}" for r in results["cpu"])])
        lines.append([f"{n:,} cells, seconds on the clock, {results['cores']} cores",
                      *(f"{r[f'{n}_clock']:.2f}" if r[f"{n}_clock"] else tables.MISSING for r in results["cpu"])])
    lines.append(["cells a CPU second in generating",
                  *(f"{sizes[-1] / r[f'{sizes[-1]}_cpu']:,.0f}" for r in results["cpu"])])
    head = ["on a GPU", "cells a second", "a plain float32 loop", "ratio"]
    gpu = results["gpu"]
    if gpu is None:
        return tables.markdown(lines) + "\n\n" + tables.markdown(
            [head, *([what, tables.MISSING, tables.MISSING, tables.MISSING] for what in ("training", "generating"))])
    rows = [[f"training, {r['minibatch']} cells a step, {gpu['device']}", f"{r['ours']:,.0f}", f"{r['plain']:,.0f}",
             f"{r['ours'] / r['plain']:.2f}"] for r in gpu["training"]]
    rows += [[f"generating {n:,} cells", f"{n / gpu[f'{n}_clock']:,.0f}", "", ""] for n in sizes]
    return tables.markdown(lines) + "\n\n" + tables.markdown([head, *rows])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="How fast it trains and generates.")
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"])
    parser.add_argument("--results", type=Path, default=stages.RESULTS)
    parser.add_argument("--quick", action="store_true", help="the quick preset alone, to try it")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace(stages.CACHE)
    dataset, _ = stages.prepare(workspace, stages.DATA / "pbmc3k_counts.h5ad")
    prepared = Prepared.open(dataset)
    rows, run = [], None
    for name in ["quick"] if asked.quick else asked.presets:
        run, seconds = stages.train(workspace, dataset, name, 0)
        rows.append(on_cpu(prepared, run, name, seconds, SIZES))
    results = {"cores": os.cpu_count(), "sizes": SIZES, "cpu": rows,
               "gpu": on_gpu(prepared, run, SIZES) if torch.cuda.is_available() else None}
    write_json(asked.results / "speed.json", results)
    print(f"## Speed: PBMC3k, {prepared.n_genes:,} genes\n\n{table(results)}")


if __name__ == "__main__":
    main()
