"""One of the processes of `test_engine_distributed`: trains the small run in a folder, as torchrun would start it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from engine_data import small_config, small_prepared

from scdiff_core.engine import distributed
from scdiff_core.engine.train import train
from scdiff_core.workspace import JobDir

if __name__ == "__main__":
    prepared = small_prepared()
    config = small_config(prepared, codec={"dropout": 0.0}, diffusion={"dropout": 0.0})
    job = JobDir(Path(distributed.told(sys.argv[1])), "train")
    for event in train(job, prepared, config, resume=False):
        if event.loss_test is not None and distributed.join().writes:
            job.append_metric(phase=event.phase, step=event.step, loss_train=event.loss_train,
                              loss_test=event.loss_test)
    distributed.leave()
