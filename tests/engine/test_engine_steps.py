"""Work that is done step by step: every step is told of, the result comes back, and an error ends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scdiff_core.engine.steps import follow


@dataclass(frozen=True)
class Step:
    """How far it is."""

    done: int
    total: int


def work(n: int, closed: list[bool]) -> Any:
    def steps() -> Iterator[Step]:
        try:
            for i in range(n):
                yield Step(i + 1, n)
        finally:
            closed.append(True)
        return "result"  # type: ignore[return-value]

    return steps()


def test_every_step_is_told_with_the_share_that_is_done() -> None:
    told: list[float] = []
    assert follow(work(4, []), lambda step, share: told.append(share)) == "result"
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert follow(work(0, []), lambda step, share: told.append(share)) == "result" and len(told) == 4


def test_nothing_to_do_is_no_division_by_zero() -> None:
    def steps() -> Any:
        yield Step(0, 0)
        return 3

    shares: list[float] = []
    assert follow(steps(), lambda step, share: shares.append(share)) == 3 and shares == [0.0]


def test_whoever_is_told_may_end_it() -> None:
    closed: list[bool] = []

    def tell(step: Step, share: float) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(work(4, closed), tell)
    assert closed == [True]
