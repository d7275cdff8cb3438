"""Training as a generator: codec, calibration, then what the task needs; stopped and resumed between any two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scdiff_core import keys, process
from scdiff_core.analysis import choices
from scdiff_core.analysis.perturb import knowledge
from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import checkpoint, custom_schedule, distributed, loss_terms, start_from
from scdiff_core.engine.batches import Cells, split_training
from scdiff_core.engine.calibrate import CalibratePhase
from scdiff_core.engine.device import choose, memory_mb
from scdiff_core.engine.model import Sizes, write_reference
from scdiff_core.engine.phase import Phase
from scdiff_core.engine.preview import Preview
from scdiff_core.engine.train_codec import CodecPhase, build_codec, codec_steps, is_positive, start_codec
from scdiff_core.engine.train_diffusion import TABLE, DiffusionPhase, build_backbone
from scdiff_core.engine.train_perturb import ResponsePhase, check_task
from scdiff_core.engine.train_sets import SetsPhase
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir

EVENT_EVERY = 0.2  # s between two events
CODEC_CHECKS = 40  # looks at the codec's held-out loss
PHASES = {"generate": ("codec", "calibrate", "diffusion"), "perturb": ("codec", "calibrate", "response", "sets")}


@dataclass(frozen=True)
class Event:
    """How far a training is. Losses: nats a cell (codec), disagreement (calibrate), 1 for no knowledge (diffusion)."""

    phase: str
    step: int
    total: int
    loss_train: float
    loss_test: float | None
    cells_per_s: float
    memory_mb: float
    device: str
    stopped: bool = False


class Training:
    """All that a run trains, built from the dataset and the configuration alone.

    Parameters
    ----------
    prepared, config
        What to learn from, and how.
    n_max
        Take no more cells than this; for timing.
    """

    def __init__(self, prepared: Prepared, config: TrainConfig, n_max: int | None = None) -> None:
        self.config = config
        self.group = distributed.Group()  # the processes that train together
        self.table: Tensor | None = None  # of a custom schedule
        self.device = choose(config.device)
        choices.check(config, prepared.values)
        if config.task == "perturb":
            check_task(prepared)
            knowledge.check(config.perturb, prepared)
        rows, kept = split_training(prepared, config.seed)
        rows, kept = rows[:n_max], kept[:n_max]
        if len(rows) < 2:
            raise ScdiffError("There is nothing to learn from.",
                              f"The dataset '{prepared.name}' has {len(rows)} training cells.",
                              "Prepare data with more cells, or with looser quality thresholds.")
        self.rows, self.prepared = rows, prepared
        self.response: ResponsePhase | None = None  # the phase that the set diffusion builds on
        self.cells, self.held_out = (Cells(prepared, r, self.device) for r in (rows, kept))
        self.sizes = Sizes(n_genes=prepared.n_genes, n_pca=len(prepared.pca_components),
                           counts=prepared.values == keys.COUNTS, positive=is_positive(prepared),
                           n_values=self.cells.condition.n_values,
                           n_continuous=self.cells.condition.conts.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.codec = build_codec(config.codec, self.sizes.n_genes, self.sizes.counts, self.sizes.positive,
                                     self.sizes.n_pca)
            self.network = build_backbone(config.diffusion, self.codec.n_dims, self.sizes.n_values,
                                          self.sizes.n_continuous)
        start_codec(self.codec, prepared, rows)
        if config.perturb.pretrained is not None:
            start_from.begin_with(self.codec, prepared, config.perturb.pretrained, same_genes=True)
        elif config.codec.start_from is not None:
            start_from.begin_with(self.codec, prepared, config.codec.start_from)
        self.terms = loss_terms.terms_of(config.diffusion.terms, self.codec, prepared.genes.tolist())
        self.codec, self.network = self.codec.to(self.device), self.network.to(self.device)

    def phase(self, name: str) -> Phase:
        """Make a phase; the one before it must be done."""
        phase = self._phase(name)
        phase.group = self.group
        self.group.share(t for m in phase.modules.values() for t in m.state_dict().values())
        return phase

    def _phase(self, name: str) -> Phase:
        seed = 3 * self.config.seed + PHASES[self.config.task].index(name)
        if name == "codec":
            return CodecPhase(self.codec, self.config.codec, self.cells, self.held_out, seed, self.device,
                              self.config.precision)
        self.codec.requires_grad_(False).eval()
        if name == "calibrate":
            return CalibratePhase(self.codec, self.cells, self.held_out, seed)
        if name == "response":
            self.response = ResponsePhase(self.codec, self.prepared, self.config, seed)
            return self.response
        if name == "sets":
            before = self.response or self.phase("response")
            assert isinstance(before, ResponsePhase)
            return SetsPhase(before, self.config, seed)
        config = self.config
        return DiffusionPhase(self.codec, self.network, config.diffusion, self.cells, self.held_out, seed, self.device,
                              self.terms, self.table, config.precision, config.gradient_checkpointing, config.compile)


def train(job: JobDir, prepared: Prepared, config: TrainConfig, *, resume: bool) -> Iterator[Event]:
    """Train a run to its end, or until somebody asks it to stop; yields an `Event` every so often.

    Writes `checkpoints/last` and `best` and the preview. Stopped and resumed, it gives the same weights
    as unbroken (on the CPU, bit by bit).

    Raises
    ------
    ScdiffError
        The loss is not finite, the disk is full, the device is not there, or the checkpoint is damaged.
    """
    torch.set_num_threads(process.threads_for(config.threads))
    group = distributed.join()
    training = Training(prepared, config)
    training.group = group
    return _Run(job, training, resume).events()


class _Run:
    """The loop over phases and steps, with its clock."""

    def __init__(self, job: JobDir, training: Training, resume: bool) -> None:
        self.job, self.training, self.config = job, training, training.config
        self.names = PHASES[self.config.task]
        if self.config.codec.kind == "genes":
            self.names = self.names[1:]  # there is nothing to learn
        if self.config.task == "perturb" and self.config.perturb.spread == "moved":
            self.names = self.names[:-1]
        self.offsets, self.total = self._plan()
        self.saved: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        if resume:
            self.saved = checkpoint.load(checkpoint.path_of(job, checkpoint.LAST))
            if self.saved[1]["fingerprint"] != self.config.fingerprint:
                raise ScdiffError("The run cannot be resumed.", "Its checkpoint was made from other data.",
                                  "Start a new run on this dataset.")
        elif training.group.writes:
            write_reference(job, training.prepared, self.config, training.sizes, training.rows)
        if self.config.diffusion.schedule_file is not None:
            training.table = self.saved[0][TABLE] if self.saved else custom_schedule.tabulate(
                custom_schedule.find(job.path.parent.parent, self.config.diffusion.schedule_file), self.config.run_code)
        self.losses: list[Tensor] = []
        self.event_at = self.save_at = time.monotonic()
        self.speed, self.shown, self.taken = 0.0, 0.0, 0

    def _plan(self) -> tuple[dict[str, int], int]:
        """Return at which step of the whole each phase begins, and the steps of the whole."""
        offsets, total = {}, 0
        steps = {"codec": codec_steps(self.config.codec), "diffusion": self.config.diffusion.steps,
                 "sets": self.config.diffusion.steps}
        for name in self.names:
            offsets[name] = total
            total += steps.get(name, 1)
        return offsets, total

    def events(self) -> Iterator[Event]:
        """Go through the phases that are left."""
        first = self.names.index(self.saved[1]["phase"]) if self.saved else 0
        if self.saved:
            self.training.codec.load_state_dict(checkpoint.under(self.saved[0], "codec"))
        for name in self.names[first:]:
            phase = self.training.phase(name)
            if self.saved:
                phase.restore(*self.saved)
                self.shown = float(self.saved[1]["loss_train"])
                self.saved = None
            else:
                phase.begin()
            stopped = yield from self._phase(phase)
            if stopped:
                return

    def _phase(self, phase: Phase) -> Generator[Event, None, bool]:
        """Take the steps of a phase; returns True (to `yield from`) if it was asked to stop."""
        preview = None
        group = self.training.group
        if isinstance(phase, DiffusionPhase) and group.writes:
            preview = Preview(self.job, self.training.prepared, self.training.cells, self.training.rows,
                              self.config.preview_every_s)
        every = (phase.check_every if isinstance(phase, DiffusionPhase)
                 else max(1, math.ceil(phase.steps / CODEC_CHECKS)))
        while not phase.finished:
            if group.first(self.job.stop_requested()):
                self._save(phase)
                yield self._event(phase, None, stopped=True)
                return True
            self.losses.append(phase.advance())
            checked = phase.step % every == 0 or phase.step >= phase.steps or phase.step == 1
            loss_test = None
            if checked:
                self._take_losses(phase)
                if not phase.comparable:
                    self.shown = phase.learnt()
                loss_test = self._finite(phase, group.first(phase.held_out()))
                if isinstance(phase, DiffusionPhase) and phase.check(loss_test) and group.writes:
                    checkpoint.save(checkpoint.path_of(self.job, checkpoint.BEST), phase.result(),
                                    self._meta(phase, {"phase": phase.name, "step": phase.step,
                                                       "held_out": loss_test}))
            now = time.monotonic()
            if now - self.save_at > self.config.checkpoint_every_s:
                self._save(phase)
            if preview is not None and (preview.due() or phase.finished):
                preview.write(self.offsets[phase.name] + phase.step, phase)  # type: ignore[arg-type]
            if checked or now - self.event_at >= EVENT_EVERY:
                yield self._event(phase, loss_test)
        self._save(phase)
        if phase.name == self.names[-1] and isinstance(phase, ResponsePhase | SetsPhase):
            tensors, meta = phase.result()
            checkpoint.save(checkpoint.path_of(self.job, checkpoint.BEST), tensors,
                            self._meta(phase, {**meta, "phase": phase.name, "step": phase.step}))
        return False

    def _take_losses(self, phase: Phase) -> None:
        """Take note of the training losses since the last time; raises where they are not numbers."""
        if self.losses:
            mean = self._finite(phase, float(torch.stack(self.losses).mean()))
            self.taken += len(self.losses)
            self.losses = []
            if phase.comparable:
                self.shown = mean

    def _finite(self, phase: Phase, loss: float) -> float:
        if math.isfinite(loss):
            return loss
        rate = (self.config.codec if phase.name == "codec" else self.config.diffusion).lr
        raise ScdiffError(
            "The training came apart.",
            f"The loss of the {phase.name} is not a finite number any more at step {phase.step} "
            f"(learning rate {rate:g}); the checkpoint before it is kept.",
            f"Lower the learning rate ({'codec' if phase.name == 'codec' else 'diffusion'}.lr), or look for "
            "cells or genes with extreme values on the Data page, and start a new run.")

    def _event(self, phase: Phase, loss_test: float | None, stopped: bool = False) -> Event:
        self._take_losses(phase)
        now = time.monotonic()
        if self.taken and now > self.event_at:
            size = {"codec": self.config.codec.minibatch, "diffusion": self.config.diffusion.minibatch,
                    "sets": self.config.diffusion.minibatch}
            rate = self.taken * size.get(phase.name, len(self.training.cells)) / (now - self.event_at)
            self.speed = rate if phase.step == self.taken else 0.7 * self.speed + 0.3 * rate
        self.event_at, self.taken = now, 0
        done = self.offsets[phase.name] + phase.step
        total = done if phase.name == self.names[-1] and phase.finished else self.total
        return Event(phase.name, done, total, self.shown, loss_test, round(self.speed, 1),
                     memory_mb(self.training.device), str(self.training.device.type), stopped)

    def _save(self, phase: Phase) -> None:
        """Write the checkpoint `last`."""
        self._take_losses(phase)
        if not self.training.group.writes:
            return
        tensors, meta = phase.state()
        if self.training.table is not None:
            tensors[TABLE] = self.training.table
        checkpoint.save(checkpoint.path_of(self.job, checkpoint.LAST), tensors, self._meta(phase, meta))
        self.save_at = time.monotonic()

    def _meta(self, phase: Phase, meta: dict[str, Any]) -> dict[str, Any]:
        return {**meta, "loss_train": self.shown, "fingerprint": self.config.fingerprint,
                "sizes": self.training.sizes.to_dict()}
