"""Selections of cells, kept with a dataset: which cells, under an id that is their content, and names for some.

`<dataset>/selections/` holds one small file for each selection and `names.json`. A selection belongs to one
preparation of its dataset, since rows mean other cells after another one. Several sessions may save at once: names are
changed under a lock. No streamlit and nothing heavy here, so that pages and the worker both use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from scdiff_core.config_screen import Chosen
from scdiff_core.errors import ScdiffError, nearest
from scdiff_core.queueing import try_lock
from scdiff_core.selection import LONGEST, REAL, Selection, check_words, pack_rows, unpack_bits
from scdiff_core.workspace import JobDir, atomic_write, read_json, write_json

FOLDER, NAMES, LOCK = "selections", "names.json", ".lock"
KEPT = 200  # selections without a name that stay
ID = re.compile(r"[0-9a-f]{12}")
PATIENCE = 10.0  # s that a session waits for another one that is saving


class Selections:
    """The selections of one preparation of a dataset.

    Parameters
    ----------
    dataset
        Its directory; the selections lie in `selections/`.
    fingerprint
        Of the preparation.
    n_cells
        How many real cells it has; a selection among another number is refused. None: not checked.
    """

    def __init__(self, dataset: JobDir, fingerprint: str, n_cells: int | None = None) -> None:
        self.dataset, self.fingerprint, self.n_cells = dataset, fingerprint, n_cells
        self.folder = dataset.path / FOLDER

    def keep(self, selection: Selection) -> str:
        """Write a selection and return its id; the same cells have the same id. Old ones without a name go."""
        self._check(selection)
        self._there()
        arrays: dict[str, Any] = {"fingerprint": np.array(self.fingerprint)}
        for i, (source, mask) in enumerate(selection.masks.items()):
            arrays |= {f"source{i}": np.array(source), f"n{i}": np.array(len(mask)), f"bits{i}": np.packbits(mask)}
        atomic_write(self._path(selection.id), lambda p: _savez(p, arrays))
        self._prune()
        return selection.id

    def open(self, id: str) -> Selection:
        """Return a selection by its id.

        Raises
        ------
        ScdiffError
            It is gone, was made on another preparation of the dataset, or is damaged.
        """
        path = self._path(id)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                count = sum(name.startswith("source") for name in arrays.files)
                selection = Selection({str(arrays[f"source{i}"]): unpack_bits(arrays[f"bits{i}"], int(arrays[f"n{i}"]))
                                       for i in range(count)})
                whole = str(arrays["fingerprint"]) == self.fingerprint and selection.id == id
        except FileNotFoundError:
            if any(self.folder.glob(f"{id}-*.npz")):
                raise self._prepared_again() from None
            raise ScdiffError("This selection is gone.",
                              f"Of selections without a name, the newest {KEPT} are kept.",
                              "Select the cells again, and save a selection under a name to keep it.") from None
        except (OSError, ValueError, KeyError, BadZipFile, EOFError):
            whole = False
        if not whole:
            raise ScdiffError("This selection cannot be opened.", f"Its file '{path.name}' is damaged.",
                              "Select the cells again.")
        self._check(selection)
        with contextlib.suppress(OSError):  # gone a moment ago, or nothing may be written here
            os.utime(path)  # used now: the oldest go first
        return selection

    def save(self, id: str, name: str) -> None:
        """Give a selection a name; another one of this name loses it.

        Raises
        ------
        ScdiffError
            The selection is gone or empty, or the name cannot be one.
        """
        name = check_words(name)
        with self._names() as names:
            if self.open(id).n == 0:
                raise ScdiffError(f"'{name}' was not saved.", "No cell is selected.", "Select some cells first.")
            names[name] = {"id": id, "fingerprint": self.fingerprint, "saved": time.time()}

    def named(self) -> dict[str, str]:
        """Return name -> id in the order saved; those of other preparations are left out (see `outdated`)."""
        return {name: entry["id"] for name, entry in self._read().items() if entry["fingerprint"] == self.fingerprint}

    def outdated(self) -> list[str]:
        """Return the names of selections that were made on another preparation of the dataset."""
        return [name for name, entry in self._read().items() if entry["fingerprint"] != self.fingerprint]

    def by_name(self, name: str) -> Selection:
        """Return a selection by its name; raises `ScdiffError` as `open` does, or where there is none of that name."""
        entry = self._known(self._read(), name)
        if entry["fingerprint"] != self.fingerprint:
            raise self._prepared_again(name)
        return self.open(entry["id"])

    def chosen(self, name: str, n_cells: int) -> Chosen:
        """Return the real cells, of so many, of a selection as requests take them; raises as `by_name` does."""
        found = self.by_name(name)
        return Chosen(id=found.id, name=name, rows=pack_rows(found.mask(REAL, n_cells)))

    def rename(self, old: str, new: str) -> None:
        """Give a selection another name, in the same place; raises `ScdiffError` where the name is taken."""
        new = check_words(new)
        with self._names() as names:
            self._known(names, old)
            if new != old and new in names and names[new]["fingerprint"] == self.fingerprint:
                raise ScdiffError(f"'{old}' was not renamed.", f"There is a selection '{new}' already.",
                                  "Choose another name, or delete that one first.")
            renamed = {new if name == old else name: its for name, its in names.items() if name != new or name == old}
            names.clear()
            names.update(renamed)

    def delete(self, name: str) -> None:
        """Take a name away; the selection itself stays for a while, so that this can be undone by its id."""
        with self._names() as names:
            self._known(names, name)
            del names[name]

    def _path(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise ScdiffError("There is no such selection.", f"'{id[:40]}' is not the id of one.",
                              "Choose one of the saved selections.")
        return self.folder / f"{id}-{hashlib.sha256(self.fingerprint.encode()).hexdigest()[:12]}.npz"

    def _there(self) -> None:
        """Refuse to write where the dataset was deleted: its directory would come back, empty."""
        if not self.dataset.path.is_dir():
            raise ScdiffError(f"There is no dataset '{self.dataset.id}'.", "It was deleted meanwhile.",
                              "Choose another dataset.")

    def _check(self, selection: Selection) -> None:
        if self.n_cells is not None:
            selection.mask(REAL, self.n_cells)

    def _prepared_again(self, name: str = "") -> ScdiffError:
        return ScdiffError((f"The selection '{name}'" if name else "This selection") + " cannot be opened.",
                           f"It was made on another preparation of '{self.dataset.id}', and the same rows are other "
                           "cells now.", "Select the cells again.")

    def _known(self, names: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in names:
            raise ScdiffError(f"There is no selection '{name[:LONGEST]}'.",
                              nearest(name, names) or "It was deleted or renamed meanwhile.",
                              "Choose one of the saved selections.")
        return names[name]

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self.folder / NAMES
        names = read_json(path)
        if names is None and not path.exists():
            return {}
        entries = names.values() if isinstance(names, dict) else [None]
        if not all(isinstance(e, dict) and {"id", "fingerprint"} <= set(e) for e in entries):
            # not taken as empty, or the next save would lose every name
            raise ScdiffError("The saved selections cannot be read.", f"'{path}' is damaged.",
                              "Put the file right or delete it; the selections themselves are beside it.")
        return names

    @contextlib.contextmanager
    def _names(self) -> Iterator[dict[str, dict[str, Any]]]:
        """Give the names to be changed, alone among all sessions, and write them at the end."""
        with self._locked():
            names = self._read()
            before = list(names.items())
            yield names
            if list(names.items()) != before:
                write_json(self.folder / NAMES, names)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the names; the system frees it however its holder ends."""
        self._there()
        until, lock = time.monotonic() + PATIENCE, None
        try:
            while (lock := try_lock(self.folder / LOCK)) is None and time.monotonic() < until:
                time.sleep(0.005)
        except OSError as error:
            raise ScdiffError("The selection was not saved.", f"'{self.folder}' is not writable.",
                              "Ask for the right to write there, or take another workspace.") from error
        if lock is None:
            raise ScdiffError("The selection was not saved.", "Another session is saving and does not end.",
                              "Try again in a moment.")
        with lock:
            yield

    def _prune(self) -> None:
        """Delete the oldest selections without a name."""
        if sum(1 for _ in self.folder.glob("*-*.npz")) <= KEPT:
            return
        with self._locked():
            named = {self._file_of(entry) for entry in self._read().values()}
            ages = []
            for path in self.folder.glob("*-*.npz"):
                with contextlib.suppress(FileNotFoundError):
                    if path.name not in named and not path.name.startswith("."):
                        ages.append((path.stat().st_mtime_ns, path))
            for _, path in sorted(ages)[:-KEPT]:
                path.unlink(missing_ok=True)

    def _file_of(self, entry: dict[str, Any]) -> str:
        return Selections(self.dataset, entry["fingerprint"])._path(entry["id"]).name


def _savez(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays into one .npz under exactly this name (numpy would add an ending)."""
    with open(path, "wb") as handle:
        np.savez_compressed(handle, **arrays)
