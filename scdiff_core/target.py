"""What designed cells are to be: the target file, the same one that the page writes and `design` reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, model_validator

from scdiff_core.config import Frozen, validate
from scdiff_core.errors import ScdiffError, nearest

UP: Final = "up"
DOWN: Final = "down"
BETWEEN: Final = "between"
Direction = Literal["up", "down", "between"]
AWAY = 0.5  # cells that stay away from a program have it lower than half of the real ones
EXAMPLE = "genes:\n  - {gene: HLA-DRA, direction: up, level: 2.0}\n  - {gene: S100A8, direction: down}"


class Row(Frozen):
    """One demand on a level, in log1p units of the denoised expression; no level: that of the real cells' top tenth."""

    direction: Direction = UP
    level: float | None = Field(default=None, ge=0)
    upper: float | None = Field(default=None, ge=0)  # of `between`, whose `level` is the lower end
    top: float | None = Field(default=None, gt=0, lt=1)  # instead of a level: like so many of the real cells
    weight: float = Field(default=1.0, gt=0)  # of soft rows
    hard: bool = True

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.direction == BETWEEN and (self.level is None or self.upper is None or self.upper <= self.level):
            raise ValueError("'between' needs a level and a higher upper level")
        if self.direction != BETWEEN and self.upper is not None:
            raise ValueError("an upper level belongs to 'between' only")
        if self.top is not None and self.direction == BETWEEN:
            raise ValueError("'between' has two levels, and no 'top'")
        return self

    @property
    def name(self) -> str:
        """What the row is about."""
        raise NotImplementedError

    def words(self) -> str:
        """Return the demand in words."""
        if self.direction == BETWEEN:
            return f"{self.name} between {self.level:.3g} and {self.upper:.3g}"
        up = self.direction == UP
        bound = f" {'at least' if up else 'at most'} {self.level:.3g}" if self.level is not None else \
            "" if self.top is None else f", like the {'top' if up else 'lowest'} {100 * self.top:.3g} % of real cells"
        return f"{self.name} {'high' if up else 'low'}{bound}"


class GeneRow(Row):
    """A demand on one gene."""

    gene: str

    @property
    def name(self) -> str:
        """The gene."""
        return self.gene


class ProgramRow(Row):
    """A demand on a gene set: the mean of its genes."""

    program: str
    members: tuple[str, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The program."""
        return self.program


class Start(Frozen):
    """Which real cells to begin from, and how far they may move.

    Attributes
    ----------
    cell_type, selection, where
        A type, the name of a saved selection, and column -> value; what is given must all hold.
    move
        Share of the way to pure noise that they are sent back before they are led to the target: near 0 they hardly
        move, at 1 nothing of them is left. None: the least that suffices.
    """

    cell_type: str | None = None
    selection: str | None = None
    where: dict[str, str] = Field(default_factory=dict)
    move: float | None = Field(default=None, gt=0, le=1)


class Target(Frozen):
    """Everything asked of designed cells.

    Attributes
    ----------
    cell_type
        The type they are to be of; None: any.
    away_from
        ``cell_type`` -> types that they are not to be of. Programs to stay away from are rows that are low (`parse`).
    start
        The real cells to begin from; None: from noise.
    objective
        A Python file with further demands (`engine.objectives.Custom`), which runs only where that is allowed.
    """

    genes: tuple[GeneRow, ...] = ()
    programs: tuple[ProgramRow, ...] = ()
    cell_type: str | None = None
    away_from: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    start: Start | None = None
    objective: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        other = sorted(set(self.away_from) - {"cell_type"})
        if other:
            raise ValueError(f"cells can stay away from 'cell_type' and 'programs', not from '{other[0]}'")
        return self

    @property
    def rows(self) -> tuple[Row, ...]:
        """Genes, then programs."""
        return (*self.genes, *self.programs)

    def needed(self) -> tuple[str, ...]:
        """Return every gene that a row reads, each once."""
        return tuple(dict.fromkeys([*(r.gene for r in self.genes), *(g for p in self.programs for g in p.members)]))


def check(target: Target, genes: Collection[str]) -> Target:
    """Return the target as a model with these genes can follow it: programs keep the genes it has.

    Raises
    ------
    ScdiffError
        It asks for nothing, for an unknown gene (the nearest are named) or a program without a known gene, twice for
        the same, or for what contradicts itself.
    """
    if not target.rows and target.objective is None:
        raise ScdiffError("There is nothing to design.", "The target has no gene and no program.",
                          "Add at least one row, for example HLA-DRA up.")
    known = set(map(str, genes))
    for row in target.genes:
        if row.gene not in known:
            raise ScdiffError(f"The model does not know the gene '{row.gene}'.",
                              nearest(row.gene, known) or f"It is not among the {len(known):,} genes that were kept.",
                              "Choose a gene of the data, or prepare it again and keep this gene (--keep-genes).")
    programs = []
    for program in target.programs:
        members = tuple(g for g in program.members if g in known)
        if not members:
            raise ScdiffError(f"The program '{program.program}' cannot be used.",
                              f"None of its {len(program.members)} genes is in the data.",
                              "Choose another one, or check that gene names are written alike.")
        programs.append(program.model_copy(update={"members": members}))
    contradictions(target)
    return target.model_copy(update={"programs": tuple(programs)})


def contradictions(target: Target) -> None:
    """Raise `ScdiffError` where rows about the same contradict each other, or the types do."""
    bounds: dict[str, tuple[float, float]] = {}
    seen: set[tuple[str, str]] = set()
    for row in target.rows:
        if (row.name, row.direction) in seen:
            raise ScdiffError(f"'{row.name}' stands twice in the target.", "One row says all about a gene.",
                              "Remove one of the two.")
        seen.add((row.name, row.direction))
        low, high = bounds.get(row.name, (0.0, float("inf")))
        if row.direction in (UP, BETWEEN) and row.level is not None:
            low = max(low, row.level)
        if row.direction == DOWN and row.level is not None:
            high = min(high, row.level)
        if row.direction == BETWEEN and row.upper is not None:
            high = min(high, row.upper)
        unsaid = row.level is None and {(row.name, UP), (row.name, DOWN)} <= seen  # a `top` says no number yet
        if low > high or unsaid:
            why = "It is to be up and down at once." if unsaid else \
                f"It is to be at least {low:.3g} and at most {high:.3g}."
            raise ScdiffError(f"The rows of '{row.name}' contradict each other.", why, "Change or remove one of them.")
        bounds[row.name] = (low, high)
    if target.cell_type is not None and target.cell_type in target.away_from.get("cell_type", ()):
        raise ScdiffError("The target contradicts itself.",
                          f"Cells are to be of the type '{target.cell_type}' and to stay away from it.",
                          "Remove one of the two.")


def read(path: Path | str, sets: Mapping[str, tuple[str, ...]] | None = None) -> Target:
    """Read a target file; `sets` are the gene sets that its programs may be named from.

    Raises
    ------
    ScdiffError
        There is no such file, it is no yaml, has an unknown field, or names a program that is in no gene set.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScdiffError(f"The target '{path.name}' cannot be read.", f"{type(error).__name__}: it is not there, or "
                          "is no text.", "Check the path.") from None
    except yaml.YAMLError:
        raise ScdiffError(f"The target '{path.name}' cannot be read.", "It is not valid yaml.",
                          f"Write it like this:\n{EXAMPLE}") from None
    return parse(values, sets, path.name)


def parse(values: Any, sets: Mapping[str, tuple[str, ...]] | None = None, where: str = "The target") -> Target:
    """Make a target of plain values, as yaml gives them; raises as `read` does."""
    if not isinstance(values, dict):
        raise ScdiffError(f"{where} cannot be used.", "It is empty, or no list of rows.",
                          f"Write it like this:\n{EXAMPLE}")
    rows = []
    away = values.get("away_from") or {}
    away = dict(away) if isinstance(away, dict) else {"cell_type": away}
    avoided = [{**(row if isinstance(row, dict) else {"program": row}), "direction": DOWN, "top": AWAY}
               for row in away.pop("programs", None) or ()]
    for row in [*(values.get("programs") or ()), *avoided]:
        row = dict(row) if isinstance(row, dict) else {"program": row}
        row["program"] = name = row.pop("name", row.get("program"))
        if not row.get("members"):
            if name not in (sets or {}):
                raise ScdiffError(f"The program '{name}' is not known.",
                                  nearest(str(name), sets or ()) or "No gene sets were given, or none has this name.",
                                  "Give the file with the gene sets (--gene-sets F.gmt), or list its genes as members.")
            row["members"] = list((sets or {})[name])
        rows.append(row)
    return validate(Target, {**values, "genes": values.get("genes") or (), "programs": rows, "away_from": away}, where)


def from_list(text: str, genes: Collection[str]) -> tuple[tuple[GeneRow, ...], tuple[str, ...]]:
    """Return the rows of a pasted list, and the words that name no gene.

    One gene a line, or several with commas between; behind a gene may stand a direction and a level ("CST3 up 2",
    "S100A8 down", "S100A8-"). Case does not matter where one gene alone is meant. A gene that stands twice counts once.
    """
    exact = set(map(str, genes))
    folded: dict[str, list[str]] = {}
    for gene in exact:
        folded.setdefault(gene.casefold(), []).append(gene)
    rows: dict[str, GeneRow] = {}
    unknown = []
    for entry in re.split(r"[\n,;]+", text):
        words = entry.split()
        if not words:
            continue
        name, rest = words[0], [w.casefold() for w in words[1:]]
        near = [name] if name in exact else folded.get(name.casefold(), [])
        if not near and name[-1] in "+-" and len(name) > 1:  # "CD8A-", unless a gene is called so
            rest, name = [DOWN if name[-1] == "-" else UP, *rest], name[:-1]
            near = [name] if name in exact else folded.get(name.casefold(), [])
        if len(near) != 1:
            unknown.append(words[0])
            continue
        low = any(w in (DOWN, "low", "-", "↓") for w in rest)
        levels = [float(w) for w in rest if re.fullmatch(r"\d+(\.\d*)?", w)]
        rows.setdefault(near[0], GeneRow(gene=near[0], direction=DOWN if low else UP,
                                         level=levels[0] if levels else None))
    return tuple(rows.values()), tuple(dict.fromkeys(unknown))


def write(target: Target) -> str:
    """Return the target as yaml text, for a file."""
    return yaml.safe_dump(target.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
