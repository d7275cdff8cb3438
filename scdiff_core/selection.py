"""A selection: some cells of one or several sources, under an id that is their content; rows packed as text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import NAME

REAL = "real"  # the source of the dataset's own cells; generated ones are "RUN/SET"
LONGEST = 80  # characters of a name


def pack_rows(mask: np.ndarray) -> str:
    """Return a mask as base64 of its bits (`np.packbits`): 8.3 kB for 50,000 cells."""
    return base64.b64encode(np.packbits(np.asarray(mask, dtype=bool)).tobytes()).decode("ascii")


def unpack_rows(text: str, n: int) -> np.ndarray:
    """Return the mask [n] that `pack_rows` packed.

    Raises
    ------
    ScdiffError
        It is not base64, or holds another number of cells.
    """
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError) as error:
        raise ScdiffError("The selection cannot be read.", "It is not written as base64.",
                          "Select the cells again.") from error
    return unpack_bits(bits, n)


def unpack_bits(bits: np.ndarray, n: int) -> np.ndarray:
    """Return the mask [n] of packed bits; raises `ScdiffError` where they are of another number of cells."""
    if n < 0 or bits.dtype != np.uint8 or bits.ndim != 1 or len(bits) != -(-n // 8):
        raise _other_length(f"{8 * bits.size - 7:,} to {8 * bits.size:,}" if bits.size else "no", n)
    return np.unpackbits(bits, count=n).astype(bool)


def _other_length(has: str, n: int) -> ScdiffError:
    return ScdiffError("The selection does not fit these cells.", f"It was made among {has} cells; there are {n:,}.",
                       "Select the cells again.")


def check_source(source: str) -> str:
    """Return a source, "real" or "RUN/SET"; raises `ScdiffError` where it is neither."""
    run, _, made = source.partition("/")
    if source != REAL and not (NAME.fullmatch(run) and NAME.fullmatch(made)):
        raise ScdiffError(f"There are no cells '{source[:80]}'.",
                          "Cells are 'real', or a generated set, named by its run and its own name (RUN/SET).",
                          "Choose one of these.")
    return source


def check_words(name: str) -> str:
    """Return the name of a selection or list, in any words, without spaces at its ends or twice in a row.

    Raises
    ------
    ScdiffError
        It is empty, longer than 80 characters, or has one that cannot be seen.
    """
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    hidden = any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") for c in name)
    if not name or len(name) > LONGEST or hidden:
        why = "It is empty." if not name else "It has a character that cannot be shown." if hidden else \
            f"It has {len(name)} characters; {LONGEST} are the most."
        raise ScdiffError("This cannot be a name.", why, "Choose another one, for example 'activated T cells'.")
    return name


@dataclass(frozen=True, eq=False)
class Selection:
    """Some cells of one or several sources.

    Parameters
    ----------
    masks
        Source ("real", or "RUN/SET" of a generated set) -> bool [n]. Sources without a selected cell are left out.
    """

    masks: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        kept = {}
        for source in sorted(self.masks):
            mask = np.array(self.masks[source])
            if mask.dtype != bool or mask.ndim != 1:
                raise ScdiffError("The selection cannot be used.", f"'{source}' has no mask of its cells.",
                                  "Select the cells again.")
            if mask.any():
                mask.flags.writeable = False
                kept[check_source(source)] = mask
        object.__setattr__(self, "masks", kept)

    @property
    def id(self) -> str:
        """The hash of its content, 12 hexadecimal digits."""
        digest = hashlib.sha256()
        for source, mask in self.masks.items():
            digest.update(f"{source}\0{len(mask)}\0".encode() + np.packbits(mask).tobytes())
        return digest.hexdigest()[:12]

    @property
    def n(self) -> int:
        """The number of selected cells of all sources."""
        return int(sum(mask.sum() for mask in self.masks.values()))

    def mask(self, source: str, n: int) -> np.ndarray:
        """Return which of the n cells of a source are selected, bool [n]; raises where there were not n cells."""
        mask = self.masks.get(source)
        if mask is None:
            return np.zeros(n, dtype=bool)
        if len(mask) != n:
            raise _other_length(f"{len(mask):,}", n)
        return mask

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)
