"""Gates: cells whose expression of a gene lies between two bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, model_validator

from scdiff_core.config import Frozen
from scdiff_core.errors import ScdiffError


class Gate(Frozen):
    """A gene and the bounds its values (log1p) must keep to; None is no bound, a value at a bound is within."""

    gene: str = Field(min_length=1, max_length=200)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Gate:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the lower bound of {self.gene} is above the upper one")
        return self

    def words(self) -> str:
        """Return the gate as a reader sees it, for example `1 ≤ CD3D ≤ 2.5`."""
        below = "" if self.low is None else f"{self.low:g} ≤ "
        return below + self.gene + ("" if self.high is None else f" ≤ {self.high:g}")


def apply(gates: Sequence[Gate], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which cells are within all gates; bool [N]. A missing value (nan) is outside of any bound.

    Parameters
    ----------
    values
        Gene -> its values [N], log1p; at least one gene, so that the number of cells is known.

    Raises
    ------
    ScdiffError
        A gene of a gate has no values, or genes have different numbers of them.
    """
    absent = [gate.gene for gate in gates if gate.gene not in values]
    if absent or not values:
        raise ScdiffError("The gates cannot be applied.",
                          f"There are no values of {', '.join(absent)}." if absent else "There are no values.",
                          "Take genes that the data has.")
    arrays = {gene: np.asarray(x) for gene, x in values.items()}
    sizes = {len(x) for x in arrays.values()}
    if len(sizes) > 1:
        raise ScdiffError("The gates cannot be applied.",
                          f"Genes have values of {' and '.join(f'{n:,}' for n in sorted(sizes))} cells.",
                          "Give each gene one value for each cell.")
    inside = np.ones(sizes.pop(), dtype=bool)
    for gate in gates:
        if gate.low is not None:
            inside &= arrays[gate.gene] >= gate.low
        if gate.high is not None:
            inside &= arrays[gate.gene] <= gate.high
    return inside
