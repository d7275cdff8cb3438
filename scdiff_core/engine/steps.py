"""Work that is done step by step: a generator that says how far it is, and returns what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Step(Protocol):
    """How far something is."""

    @property
    def done(self) -> int:
        """How much of it is done."""
        ...

    @property
    def total(self) -> int:
        """How much there is to do."""
        ...


SomeStep = TypeVar("SomeStep", bound=Step)


def follow(steps: Generator[SomeStep, None, Result], tell: Callable[[SomeStep, float], object]) -> Result:
    """Return what the steps lead to; `tell(step, share done)` is called after each, and may end them by raising."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        tell(step, step.done / max(1, step.total))
