"""How cells are looked at, as a session keeps it and another person opens it; and what can be undone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NoReturn, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from scdiff_core import __version__
from scdiff_core.config import Frozen, validate
from scdiff_core.errors import ScdiffError
from scdiff_core.gates import Gate
from scdiff_core.selection import Selection, check_source, check_words, pack_rows, unpack_rows

FORMAT = 1  # raised when a session file changes in a way that older versions cannot read
LARGEST = 20 * 1000 * 1000  # bytes of a session file
LONGEST = 300  # characters of a reason: a bad value may be megabytes
BOUND = 50  # steps that can be undone
T = TypeVar("T")


class View(Frozen):
    """What is on the canvas and in the figures. Words are those of the data: columns, genes, labels."""

    colour: str = ""  # a column, a gene or a gene-set score; "": as the page chooses
    place: Literal["UMAP", "PCA", "columns"] = "UMAP"
    x: str = ""  # a column or gene, where the place is by columns
    y: str = ""
    split: str = ""  # a column with one panel for each value
    show: Literal["both", "real", "generated"] = "both"
    grey: bool = True  # real cells in grey beneath the generated ones
    gates: tuple[Gate, ...] = ()
    genes: tuple[str, ...] = ()  # of the marker figures, in order
    groups: tuple[str, ...] = ()  # likewise
    palette: str = "Okabe-Ito"
    selection: str = Field(default="", pattern="^([0-9a-f]{12})?$")  # its id


class Rows(Frozen):
    """Some of n cells, as `selection.pack_rows` writes them."""

    n: int = Field(ge=0)
    bits: str

    @field_validator("bits")
    @classmethod
    def _fits(cls, bits: str, info: ValidationInfo) -> str:
        try:
            unpack_rows(bits, info.data.get("n", 0))
        except ScdiffError as error:
            raise ValueError(f"{error.what} {error.why}") from None
        return bits


class SessionFile(Frozen):
    """A session that another person can open."""

    kind: Literal["session"] = "session"
    format: int = FORMAT
    version: str = __version__
    dataset: str
    fingerprint: str  # of its preparation; the caller compares it
    view: View = View()
    selected: dict[str, Rows] = Field(default_factory=dict)  # source -> cells: what the view's id means
    selections: dict[str, dict[str, Rows]] = Field(default_factory=dict)  # name -> source -> cells
    gene_lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @field_validator("selected", "selections", "gene_lists")
    @classmethod
    def _named(cls, value: dict[str, object], info: ValidationInfo) -> dict[str, object]:
        try:
            for key, inner in value.items():
                if info.field_name == "selected":
                    check_source(key)
                    continue
                check_words(key)
                for source in inner if isinstance(inner, dict) else ():
                    check_source(source)
        except ScdiffError as error:
            raise ValueError(f"{error.what} {error.why}") from None
        return value

    def current(self) -> Selection | None:
        """Return what was selected, None if nothing was."""
        return _opened(self.selected) if self.selected else None

    def named(self) -> dict[str, Selection]:
        """Return the selections that had a name, in their order."""
        return {name: _opened(rows) for name, rows in self.selections.items()}


def _rows(selection: Selection) -> dict[str, Rows]:
    return {source: Rows(n=len(mask), bits=pack_rows(mask)) for source, mask in selection.masks.items()}


def _opened(rows: Mapping[str, Rows]) -> Selection:
    return Selection({source: unpack_rows(its.bits, its.n) for source, its in rows.items()})


def write_session(dataset: str, fingerprint: str, view: View, selections: Mapping[str, Selection] | None = None,
                  gene_lists: Mapping[str, tuple[str, ...]] | None = None, current: Selection | None = None) -> bytes:
    """Return a session as a .json file.

    Parameters
    ----------
    dataset, fingerprint
        What was looked at.
    selections
        Those with a name.
    current
        What is selected now, whether it has a name or not.

    Raises
    ------
    ScdiffError
        It is larger than such a file may be, or a name cannot be one.
    """
    session = _checked({
        "dataset": dataset, "fingerprint": fingerprint, "view": view,
        "selected": _rows(current) if current is not None else {},
        "selections": {name: _rows(its) for name, its in (selections or {}).items()},
        "gene_lists": {name: tuple(genes) for name, genes in (gene_lists or {}).items()}}, "The session")
    data = json.dumps(session.model_dump(mode="json"), indent=1).encode()
    if len(data) > LARGEST:
        raise ScdiffError("The session cannot be written.",
                          f"It has {len(data) / 1e6:.0f} MB; {LARGEST / 1e6:.0f} MB are the most.",
                          "Delete some of the saved selections first.")
    return data


def read_session(data: bytes) -> SessionFile:
    """Return the session of a file that somebody wrote; whether it fits the dataset is for the caller to compare.

    Raises
    ------
    ScdiffError
        It is too large, no session file, from a newer version, or has a field that is unknown or wrong.
    """
    if len(data) > LARGEST:
        _refuse(f"It has {len(data) / 1e6:.0f} MB; a session has {LARGEST / 1e6:.0f} MB at most.")
    try:
        values = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except (UnicodeDecodeError, RecursionError):
        _refuse("It is not a text file of the kind that a session is.")
    except ValueError as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        _refuse(f"It is not valid JSON{at}: it was cut off, or is another kind of file.")
    if not isinstance(values, dict) or values.get("kind") != "session":
        _refuse("It is JSON, but not a session of scDiff Studio.")
    version = values.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        _refuse("It does not say in which format it is.")
    if version > FORMAT:
        raise ScdiffError("The session cannot be opened.",
                          f"It was written by a newer version of scDiff Studio (format {version}, this one reads up to "
                          f"{FORMAT}).", "Update scDiff Studio, then open it again.")
    return _checked(values, "The session file")


def _checked(values: dict[str, Any], where: str) -> SessionFile:
    try:
        return validate(SessionFile, values, where)
    except ScdiffError as error:
        why = error.why.replace("Value error, ", "")
        if len(why) > LONGEST:  # the value itself, which is told last
            why = why.partition(" (it is ")[0][:LONGEST] + "."
        raise ScdiffError(error.what, why, error.fix[:LONGEST]) from None


def _refuse(why: str) -> NoReturn:
    raise ScdiffError("The session cannot be opened.", why,
                      "Take a file that was saved with 'Save session' on one of the pages that show cells.") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


@dataclass(frozen=True)
class History(Generic[T]):
    """A value with the ones before it and the ones that were undone; never changed, each step gives a new one."""

    present: T
    past: tuple[T, ...] = ()
    future: tuple[T, ...] = ()

    def do(self, value: T) -> History[T]:
        """Return the history with `value` as the present; of more than 50 steps the oldest go. The same: no step."""
        return self if value == self.present else History(value, (*self.past, self.present)[-BOUND:])

    def undo(self) -> History[T]:
        """Return the history one step back, or itself where there is none."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (self.present, *self.future))

    def redo(self) -> History[T]:
        """Return the history one step forward again, or itself where nothing was undone."""
        if not self.future:
            return self
        return History(self.future[0], (*self.past, self.present), self.future[1:])
