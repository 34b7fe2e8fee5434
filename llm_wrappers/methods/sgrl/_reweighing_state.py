"""What a re-weighting run keeps in its file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, NonNegativeInt

from llm_wrappers.errors import GuidanceFileError

__all__ = ["ReweighingState"]

_ADVICE = "name another file, or delete it to begin anew"


class ReweighingState(BaseModel):
    """The state of a run; see `ReweighingRun` for what the numbers mean."""

    format: Literal[1] = 1
    env_steps: NonNegativeInt
    due: NonNegativeInt
    count: NonNegativeInt
    failures: NonNegativeInt
    episodes: NonNegativeInt
    reached: dict[str, NonNegativeInt]
    factors: dict[str, float]
    history: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> ReweighingState:
        """Return the state in a file.

        Raises:
            GuidanceFileError: If it cannot be read, or holds something else.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise GuidanceFileError(f"cannot read {path}: {error}; {_ADVICE}") from error
        except ValueError as error:
            raise GuidanceFileError(
                f"expected the state of a re-weighting run in {path}, got something else; "
                f"{_ADVICE}: {error}"
            ) from error

    def write(self, path: Path) -> None:
        """Write the state whole or not at all; missing folders are made.

        Raises:
            GuidanceFileError: If it cannot be written.
        """
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise GuidanceFileError(f"cannot write {path}: {error}; name another place") from error
