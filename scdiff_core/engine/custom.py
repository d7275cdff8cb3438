"""Demands that a user writes in Python: a file with a class `Objective` that has one method.

    import torch

    class Objective:
        def log_likelihood(self, log1p, genes):
            '''log1p: denoised expression, a tensor [cells, genes]; return one number a cell, higher is better.'''
            ratio = log1p[:, genes.index("CD4")] - log1p[:, genes.index("CD8A")]
            return -0.5 * ((ratio - 1.0) / 0.25) ** 2

The method is called at every step, on estimates of clean cells, and has to be made of torch operations, since the
sampler follows its gradient. minus infinity means: never. The file is code that runs with the rights of whoever
starts it, so nothing is run unless that was allowed (`DesignConfig.custom`).
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from scdiff_core.errors import ScdiffError

FOLDER = "objectives"  # in the workspace
CLASS = "Objective"
EXAMPLE = "class Objective:\n    def log_likelihood(self, log1p, genes):\n        return log1p[:, genes.index('CD4')]"


class Custom(Protocol):
    """What a user writes: one method."""

    def log_likelihood(self, log1p: Tensor, genes: list[str]) -> Tensor:
        """Return how well cells are what is wanted, [B], of their denoised expression log1p [B, G]."""
        ...


class Checked:
    """A custom objective whose mistakes are told in plain words."""

    def __init__(self, own: Custom, name: str, genes: list[str]) -> None:
        self.own, self.name, self.genes = own, name, genes

    def __call__(self, log1p: Tensor) -> Tensor:
        """Return its log-likelihood [B].

        Raises
        ------
        ScdiffError
            It raises, returns something else than one number a cell, or one that is not a number.
        """
        try:
            value = self.own.log_likelihood(log1p, self.genes)
        except ScdiffError:
            raise
        except Exception as error:
            raise ScdiffError(f"The custom objective '{self.name}' failed.", where_it_failed(error, self.name),
                              "Correct the file, or take the objective out of the target.") from error
        if not isinstance(value, Tensor) or value.shape != (len(log1p),):
            shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ScdiffError(f"The custom objective '{self.name}' cannot be used.",
                              f"It returned {shape}; one number for each of {len(log1p)} cells is wanted.",
                              "Return a tensor of shape [cells].")
        wrong = int(torch.isnan(value).sum())
        if wrong:
            raise ScdiffError(f"The custom objective '{self.name}' cannot be used.",
                              f"It is not a number (NaN) for {wrong:,} of {len(log1p):,} cells.",
                              "Keep logarithms and roots away from zero, for example with clamp(min=1e-6).")
        return value.to(log1p.dtype)


def load(path: Path, genes: list[str], allowed: bool) -> Checked:
    """Run a file and return its objective.

    Raises
    ------
    ScdiffError
        Running it was not allowed, there is no such file, it fails, or it has no class `Objective` with the method.
    """
    own = own_class(path, CLASS, "log_likelihood", allowed, what="objective", example=EXAMPLE,
                    without="take the objective out of the target", switch="design --run-code, or the switch on the "
                    "page", named=f"The target names a file of code, '{path.name}', which was not run.")
    return Checked(own, path.name, genes)


def own_class(path: Path, name: str, method: str, allowed: bool, *, what: str, example: str, without: str,
              switch: str, named: str = "") -> Any:
    """Run a user's file and return an instance of its class `name`, which has to have a method.

    Parameters
    ----------
    what, example
        What it is in words, and how it is written.
    without, switch
        What can be done instead, and how running code is allowed.
    named
        What is said first where it was not allowed.

    Raises
    ------
    ScdiffError
        Running it was not allowed, there is no such file, it fails, or it has no such class with the method.
    """
    if not allowed:
        raise ScdiffError(named or f"The {what} is a file of code, '{path.name}', which was not run.",
                          "Code in a file can do anything that you can, so it is off unless you allow it.",
                          f"Read the file; if you trust it, allow it ({switch}), or {without}.")
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ScdiffError(f"The custom {what} '{path.name}' cannot be read.", "There is no such text file.",
                          "Check the path.") from None
    space: dict[str, Any] = {"__name__": f"scdiff_{what}_{path.stem}", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), space)  # the whole point; allowed by the user just now
        own = space[name]()
    except KeyError:
        raise ScdiffError(f"The custom {what} '{path.name}' cannot be used.", f"It has no class '{name}'.",
                          f"Write it like this:\n{example}") from None
    except Exception as error:
        raise ScdiffError(f"The custom {what} '{path.name}' failed.", where_it_failed(error, path.name),
                          f"Correct the file, or {without}.") from error
    if not callable(getattr(own, method, None)):
        raise ScdiffError(f"The custom {what} '{path.name}' cannot be used.",
                          f"Its class '{name}' has no method '{method}'.", f"Write it like this:\n{example}")
    return own


def where_it_failed(error: BaseException, name: str) -> str:
    """Return what was raised, and at which line of the file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == name]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{type(error).__name__}: {error}" + (f" (line {line})." if line else ".")
