"""The command `train` under torchrun: the first process does all that the command does, the others learn along."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import NoReturn

from scdiff_core import jobs
from scdiff_core.workspace import JobDir, Workspace


def launched() -> bool:
    """Say whether torchrun started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows() -> bool:
    """Say whether this is another than the first of torchrun's processes."""
    return launched() and os.environ.get("RANK", "0") != "0"


def lead(job: JobDir) -> None:
    """Tell the other processes which run is trained; nothing to do without them."""
    if launched():
        from scdiff_core.engine import distributed

        distributed.told(json.dumps({"path": str(job.path), "resume": jobs.has_checkpoint(job)}))


def leave() -> None:
    """End the company of the other processes, where there are any."""
    if launched():
        from scdiff_core.engine import distributed

        distributed.leave()


def follow() -> NoReturn:
    """Learn along with the first process to the end, writing nothing; it alone is asked to stop, and tells."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from scdiff_core.engine import distributed
    from scdiff_core.engine.outputs import open_dataset
    from scdiff_core.engine.train import train

    said = json.loads(distributed.told(""))
    job = JobDir(Path(said["path"]), "train")
    config = job.config()
    prepared = open_dataset(Workspace(job.path.parent.parent), config.dataset, config.fingerprint)
    for _ in train(job, prepared, config, resume=said["resume"]):
        pass
    distributed.leave()
    raise SystemExit(0)
