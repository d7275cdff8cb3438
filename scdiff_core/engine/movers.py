"""The last few movers that were made, for the next question about the same cells."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from scdiff_core.engine.move import Mover

KEPT, KEPT_VALUES = 8, 10_000_000  # movers that are kept, and values [n, G] of them all


class Movers:
    """The last few movers that were made: those of a screen's perturbations, one after another, are the same.

    A mover is the same where its cells are and the generator's state before it; that is what it is kept by. Found
    again, it leaves the generator as making it would have. Several threads may ask at once: one makes it, and the
    others wait. Movers are only read once they are made.
    """

    def __init__(self, most: int = KEPT, values: int = KEPT_VALUES) -> None:
        self.most, self.values = most, values
        self._kept: OrderedDict[tuple[bytes, bytes], tuple[Mover, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rows: np.ndarray, generator: torch.Generator, make: Callable[[torch.Generator], Mover]) -> Mover:
        """Return the mover of these cells, made by `make` if need be.

        Parameters
        ----------
        rows
            What names the cells, of one codec and one dataset.
        generator
            Advanced as by `make`.
        """
        with self._lock:
            key = np.asarray(rows, np.int64).tobytes(), generator.get_state().numpy().tobytes()
            found = self._kept.pop(key, None)
            if found is None:
                mover = make(generator)
                found = mover, generator.get_state()
            generator.set_state(found[1])
            self._kept[key] = found
            while len(self._kept) > self.most or sum(m.here.u.numel() for m, _ in self._kept.values()) > self.values:
                self._kept.popitem(last=False)
            return found[0]
