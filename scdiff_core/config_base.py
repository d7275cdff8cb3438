"""What all configurations have in common."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict

FORMAT = 1  # raised when a file on disk changes in a way that older versions cannot read

T = TypeVar("T", bound="Frozen")


class Frozen(BaseModel):
    """Base of every configuration: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
