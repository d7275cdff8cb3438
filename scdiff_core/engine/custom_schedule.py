"""Noise schedules that a user writes in Python: a file in the workspace's folder `schedules` with a class `Schedule`.

    import torch

    class Schedule:
        def __call__(self, t):
            '''t: times from 0 (clean) to 1 (noise), a tensor; return alpha and sigma of x_t = alpha x0 + sigma eps.'''
            angle = 0.05 + 1.45 * t
            return torch.cos(angle), torch.sin(angle)

Data has unit spread. The noise-to-signal ratio sigma / alpha has to rise from at most `CLEAN` to at least `NOISE`. In
training t is uniform, and a sampler's steps are even in t. The file is run when a training begins, and only if that was
allowed (`run_code`); what it says is kept as a table, so that nobody has to run it to use the model.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from scdiff_core.analysis.choices import SCHEDULE_EXAMPLE, SCHEDULES
from scdiff_core.engine.custom import own_class, where_it_failed
from scdiff_core.errors import ScdiffError

CLASS = "Schedule"
POINTS = 257
CLEAN, NOISE = 0.5, 5.0  # ratios at t = 0 and t = 1 that a schedule has to reach


def find(root: Path, name: str) -> Path:
    """Return the file of a name in a workspace's folder; raises `ScdiffError` where a path is given."""
    if Path(name).name != name:
        raise ScdiffError(f"The schedule '{name}' cannot be used.", "It is a path, not the name of a file.",
                          f"Put the file into '{root / SCHEDULES}' and give its name alone.")
    return root / SCHEDULES / name


def tabulate(path: Path, allowed: bool) -> Tensor:
    """Run a file and return log(sigma / alpha) at even times, float64 [POINTS].

    Raises
    ------
    ScdiffError
        Running it was not allowed, there is no such file, it fails, or what it says is no schedule.
    """
    own = own_class(path, CLASS, "__call__", allowed, what="schedule", example=SCHEDULE_EXAMPLE,
                    without="choose another one", switch="--set run_code=true, or the switch on the Train page")
    t = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    try:
        alpha, sigma = own(t.clone())
    except Exception as error:
        raise ScdiffError(f"The custom schedule '{path.name}' failed.", where_it_failed(error, path.name),
                          "Correct the file, or choose another schedule.") from error
    said = {"alpha": alpha, "sigma": sigma}
    for name, value in said.items():
        if not isinstance(value, Tensor) or value.shape != t.shape:
            _refuse(path, f"its {name} is not a tensor of the shape of t")
        if not bool((torch.isfinite(value) & (value > 0)).all()):
            _refuse(path, f"its {name} is not a finite number above zero at t = {_at(t, ~(value > 0))}")
    log_ratio = (sigma.double().log() - alpha.double().log()).detach()
    falls = log_ratio.diff() <= 0
    if bool(falls.any()):
        _refuse(path, f"the share of noise does not rise at t = {_at(t[1:], falls)}")
    low, high = float(log_ratio[0].exp()), float(log_ratio[-1].exp())
    if low > CLEAN or high < NOISE:
        _refuse(path, f"sigma / alpha goes from {low:.3g} to {high:.3g}, and has to go from at most {CLEAN:g} to at "
                      f"least {NOISE:g}")
    return log_ratio


def _at(t: Tensor, where: Tensor) -> str:
    found = where.nonzero()
    return f"{float(t[found[0]]):.3g}" if len(found) else "some times"


def _refuse(path: Path, why: str) -> None:
    raise ScdiffError(f"The custom schedule '{path.name}' cannot be used.", f"{why[0].upper()}{why[1:]}.",
                      f"Write it like this:\n{SCHEDULE_EXAMPLE}")
