"""Datasets, runs and inspected sources as directories on disk: create, open, list.

Every file has one writer, is written under a temporary name and put in place by `os.replace`,
so a reader never sees half a file and a full disk never costs the file before it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scdiff_core import config as cfg
from scdiff_core.config_files import from_yaml
from scdiff_core.errors import ScdiffError, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
CONFIG = {"inspect": "inspect.yaml", "prepare": "prepare.yaml", "train": "config.yaml",
          "screen": "screen.yaml"}


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place.

    Raises
    ------
    ScdiffError
        The disk is full or not writable; what stood at `path` before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as this user's files are; some libraries write for the owner alone
        write(temporary)
        temporary.chmod(mode)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if is_full(error):
            raise disk_full(path) from error
        if isinstance(error, PermissionError):
            raise ScdiffError(f"{path.name} could not be saved.", f"'{path.parent}' is not writable.",
                              "Choose another workspace, or ask for the right to write there.") from error
        raise


def is_full(error: BaseException) -> bool:
    """Say whether an error, of Python or of a library that writes by itself, means a full disk or quota."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return any(words in str(error) for words in ("No space left", "quota exceeded", "File too large"))


def disk_full(path: Path) -> ScdiffError:
    """Return the error that tells what to free when `path` could not be written."""
    free = shutil.disk_usage(path.parent).free / 1e6
    return ScdiffError(
        f"{path.name} could not be saved.",
        f"The disk is full, or your share of it is ({free:.0f} MB free); what was saved before is intact.",
        f"Free some space on the disk that holds '{path.parent}' (old runs, their outputs and the trash "
        "folder of the workspace are the first to look at), then resume.")


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    atomic_write(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; a non-finite number is an error, not `NaN`."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False))


def read_json(path: Path, default: Any = None) -> Any:
    """Read JSON; `default` where the file is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return default


def check_name(name: str) -> str:
    """Return `name` if it can name a directory of the workspace.

    Raises
    ------
    ScdiffError
        It is empty, too long, or has a character that is not a letter, digit, dot, dash or underscore.
    """
    if not NAME.fullmatch(name):
        raise ScdiffError(f"'{name}' cannot be a name.",
                          "A name has letters, digits, dots, dashes and underscores only, begins with "
                          "a letter or digit, and is at most 80 long.",
                          "Choose another name, for example 'pbmc-donor1'.")
    return name


def new_id() -> str:
    """Return the name of a folder that is made now: names sort by time."""
    return time.strftime("%y%m%d-%H%M%S-") + secrets.token_hex(2)


@dataclass(frozen=True)
class JobDir:
    """One directory of a job: an inspected source, a dataset or a run."""

    path: Path
    kind: str  # inspect | prepare | train | screen (which lies in its run)

    @property
    def id(self) -> str:
        """The directory's name, by which commands and pages know it."""
        return self.path.name

    @property
    def outputs(self) -> Path:
        """Where generated cells lie, each set in a directory of its own."""
        return self.path / "outputs"

    @property
    def checkpoints(self) -> Path:
        """Where `last` and `best` lie."""
        return self.path / "checkpoints"

    @property
    def saved_ns(self) -> int:
        """When a checkpoint was written last, in nanoseconds; 0 where there is none."""
        return max((p.stat().st_mtime_ns for p in self.checkpoints.rglob("*")), default=0)

    @property
    def preview(self) -> Path:
        """Small arrays for the live view."""
        return self.path / "preview"

    def config(self) -> Any:
        """Read the job's configuration; raises `ScdiffError` where it is broken."""
        return from_yaml(self.path / CONFIG[self.kind])

    def status(self) -> dict[str, Any]:
        """Return the last status as the job wrote it (`jobs.watch` checks that it is alive)."""
        value = read_json(self.path / "status.json", {})
        return value if isinstance(value, dict) else {}

    def write_status(self, **values: Any) -> None:
        """Put `values` into status.json, keeping the others. The job's process alone calls this."""
        write_json(self.path / "status.json", {**self.status(), **values, "updated": time.time()})

    def notes(self) -> dict[str, Any]:
        """Return what people wrote about it: `title` and `note`. The page alone writes it."""
        value = read_json(self.path / "notes.json", {})
        return value if isinstance(value, dict) else {}

    def write_notes(self, **values: str) -> None:
        """Put `title` or `note` into notes.json."""
        write_json(self.path / "notes.json", {**self.notes(), **values})

    def append_metric(self, **values: Any) -> None:
        """Append one object to metrics.jsonl, flushed. The job's process alone calls this."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps(values, allow_nan=False) + "\n")
            handle.flush()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the objects of metrics.jsonl; a torn last line is dropped."""
        try:
            text = (self.path / "metrics.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        rows = []
        for line in text.splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def stop_requested(self) -> bool:
        """Say whether somebody asked the job to finish its step, save and end."""
        return (self.path / "stop").exists()


Jobs = list[JobDir]  # named, since `Workspace.list` hides the builtin within the class


def create_job(path: Path, config: Any) -> JobDir:
    """Make the directory of a job, ready for `jobs.start`; raises `FileExistsError` where there is one."""
    job = JobDir(path, config.kind)
    job.path.mkdir(parents=True, exist_ok=False)
    write_text(job.path / CONFIG[job.kind], cfg.to_yaml(config))
    write_json(job.path / "status.json", {"state": "new", "created": time.time()})
    return job


class Workspace:
    """The directory that holds everything: `datasets/`, `runs/`, `inbox/`, `trash/`.

    Parameters
    ----------
    root
        The directory; default `SCDIFF_WORKSPACE`, or `./workspace`. Made on first use.
    """

    FOLDERS: ClassVar[dict[str, str]] = {"prepare": "datasets", "train": "runs", "inspect": "inbox"}
    WORDS: ClassVar[dict[str, str]] = {
        "prepare": "dataset", "train": "run", "inspect": "inspected source"}

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("SCDIFF_WORKSPACE") or "workspace").expanduser().absolute()

    def folder(self, kind: str) -> Path:
        """Return the folder that holds the jobs of one kind."""
        return self.root / self.FOLDERS[kind]

    def create(self, config: Any, job_id: str | None = None) -> JobDir:
        """Make the directory of a job and write its configuration, once.

        Raises
        ------
        ScdiffError
            A directory of that name is there already, or the name is not allowed.
        """
        job_id = check_name(job_id or new_id())
        path = self.folder(config.kind) / job_id
        try:
            return create_job(path, config)
        except FileExistsError:
            raise ScdiffError(f"A {self.WORDS[config.kind]} '{job_id}' is there already.",
                              f"It lies in '{path}'.",
                              "Choose another name, or delete that one first.") from None

    def open(self, kind: str, job_id: str) -> JobDir:
        """Return the directory of a job by its name.

        Raises
        ------
        ScdiffError
            There is none of that name; the nearest ones are named.
        """
        path = self.folder(kind) / job_id
        if not NAME.fullmatch(job_id) or not path.is_dir():
            known = [j.id for j in self.list(kind)]
            raise ScdiffError(f"There is no {self.WORDS[kind]} '{job_id}'.",
                              nearest(job_id, known) or f"The workspace '{self.root}' holds "
                              + (", ".join(known[:10]) if known else "none yet") + ".",
                              f"Use one of the names that `{self.FOLDERS[kind]}` lists."
                              if kind != "inspect" else "Open the file again.")
        return JobDir(path, kind)

    def list(self, kind: str) -> Jobs:
        """Return the jobs of one kind, the newest first."""
        folder = self.folder(kind)
        if not folder.is_dir():
            return []
        jobs = [JobDir(p, kind) for p in folder.iterdir() if p.is_dir() and NAME.fullmatch(p.name)]
        made = {j.id: j.status().get("created") for j in jobs}
        age = {k: v if isinstance(v, int | float) else 0 for k, v in made.items()}
        return sorted(jobs, key=lambda j: (age[j.id], j.id), reverse=True)

    def datasets(self) -> Jobs:
        """Return the prepared datasets (those whose preparation has ended well), the newest first."""
        return [j for j in self.list("prepare") if (j.path / "prepared.h5ad").exists()]

    def trash(self, job: JobDir) -> Path:
        """Move a job's directory to the trash folder and return where it lies now."""
        target = self.root / "trash" / f"{job.path.parent.name}-{job.id}-{new_id()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(job.path, target)
        return target
