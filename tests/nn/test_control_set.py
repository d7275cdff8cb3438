"""The network over sets of control cells, and the distances of sets."""

import numpy as np
import pytest
import torch

from scdiff_core.analysis.perturb.scores import e_distance
from scdiff_core.nn.control_set import SetBackbone, SetCondition, energy_loss, mmd_loss


def network() -> SetBackbone:
    torch.manual_seed(0)
    made = SetBackbone(5, 3, width=16, depth=2)
    torch.nn.init.normal_(made.leave.weight)
    for block in made.blocks:
        torch.nn.init.normal_(block.modulate.weight, std=0.3)
    return made.eval()


def condition(n: int = 4, s: int = 7) -> SetCondition:
    g = torch.Generator().manual_seed(1)
    return SetCondition(torch.randn(n, 5, generator=g), torch.randn(n, 3, generator=g),
                        torch.randn(n, s, 5, generator=g), torch.ones(n, dtype=torch.bool))


def test_the_order_of_the_control_cells_does_not_matter() -> None:
    net, c = network(), condition()
    x, noise = torch.randn(4, 5), torch.zeros(4)
    turned = SetCondition(c.shift, c.pert, c.ctrl.flip(1), c.known)
    assert torch.allclose(net(x, noise, c), net(x, noise, turned), atol=1e-5)


def test_it_looks_at_all_that_is_told_and_at_nothing_when_nothing_is_known() -> None:
    net, c = network(), condition()
    x, noise = torch.randn(4, 5), torch.zeros(4)
    told = net(x, noise, c)
    others = (SetCondition(c.shift + 1, c.pert, c.ctrl, c.known), SetCondition(c.shift, c.pert + 1, c.ctrl, c.known),
              SetCondition(c.shift, c.pert, c.ctrl + 1, c.known))
    for other in others:
        assert not torch.allclose(told, net(x, noise, other), atol=1e-3)
        assert torch.allclose(net(x, noise, c.null()), net(x, noise, other.null()))


def test_the_energy_loss_is_the_energy_distance() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)), rng.normal(1, 1, size=(6, 3))
    found = energy_loss(torch.tensor(a)[None], torch.tensor(b)[None])
    assert float(found) == pytest.approx(e_distance(a, b), abs=1e-6)


@pytest.mark.parametrize("loss", [energy_loss, mmd_loss])
def test_losses_of_sets_fall_as_sets_come_together_and_have_gradients(loss: object) -> None:
    g = torch.Generator().manual_seed(0)
    real = torch.randn(200, 16, 3, generator=g)
    far, near = (loss(torch.randn(200, 16, 3, generator=g) + by, real).mean() for by in (2.0, 0.0))  # type: ignore[operator]
    assert float(far) > 20 * abs(float(near))
    x = real[:1].clone().requires_grad_()
    loss(x, real[:1]).sum().backward()  # type: ignore[operator]  # equal points: no infinite gradient
    assert x.grad is not None and bool(x.grad.isfinite().all())
