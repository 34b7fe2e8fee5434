"""What a re-weighting run keeps in its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, NonNegativeInt

from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.whole_file import write_whole

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
        write_whole(path, self.model_dump_json(indent=1) + "\n")
