"""A step of the diffusion model never waits for the device, and a run may go on where it did not begin."""

from __future__ import annotations

import pytest
import torch
from engine_data import small_config, small_prepared
from torch.utils._python_dispatch import TorchDispatchMode

from scdiff_core.engine.train import Training

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::unique_dim",
         "aten::_unique2", "aten::repeat_interleave.Tensor"}  # what must know a value, or a size, on the host


class Told(TorchDispatchMode):
    """Takes note of every operation by name."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def diffusion():
    prepared = small_prepared()
    phase = Training(prepared, small_config(prepared)).phase("diffusion")
    phase.begin()
    return phase


def test_no_step_waits_for_a_value():
    phase = diffusion()
    phase.advance()
    with Told() as told:
        phase.advance()
        phase.advance()
    assert len(told.names) > 100
    assert not WAITS & set(told.names)
    with Told() as told:
        float(phase.advance())
    assert "aten::_local_scalar_dense" in told.names  # such a wait would be seen


def test_random_state_of_another_kind_of_device_begins_anew():
    phase = diffusion()
    phase.advance()
    tensors, meta = phase.state()
    tensors["random.generator"] = torch.zeros(16, dtype=torch.uint8)  # as CUDA saves it
    ends = []
    for _ in range(2):
        other = diffusion()
        other.restore(tensors, meta)
        assert other.step == 1
        ends.append(other.advance())
    assert torch.isfinite(ends[0])
    assert torch.equal(*ends)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_draws_are_made_there_and_the_host_is_never_waited_for():
    prepared = small_prepared()
    phase = Training(prepared, small_config(prepared, device="cuda")).phase("diffusion")
    phase.begin()
    phase.advance()
    assert phase.generator.device.type == phase.latents.mean.device.type == "cuda"
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = phase.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tensors, meta = phase.state()
    phase.restore(tensors, meta)
    assert torch.isfinite(loss)
