"""The record that a planner was validated."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ValidationRecord"]


class ValidationRecord(BaseModel):
    """Says that one source passed `validate_planner`; it is no signature, anybody can write one.

    Args:
        sha256: The hash of the source.
        library_version: The version of this package that validated it.
        states: On how many states.
        when: The time, in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    library_version: str
    states: int = Field(ge=1)
    when: datetime
