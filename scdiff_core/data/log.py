"""What was done to a source, step by step, for report.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scdiff_core.data.findings import Finding


@dataclass
class Log:
    """The steps of a preparation with the cells and genes they left, and what was found on the way."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def step(self, name: str, words: str, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Put down a step: one sentence, and (cells, genes) before and after it."""
        self.steps.append({"name": name, "words": words, "cells_before": before[0], "cells_after": after[0],
                           "genes_before": before[1], "genes_after": after[1]})

    def note(self, level: str, title: str, detail: str, fix: str = "") -> None:
        """Put down a finding (level ``"ok"``, ``"note"`` or ``"warning"``)."""
        self.findings.append(Finding(level, title, detail, fix))
