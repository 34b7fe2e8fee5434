"""The guidance artefact: a folder of plain files that a person can read, diff and share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_wrappers._version import __version__
from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.guidance.program import PlannerProgram, read_program

__all__ = ["GuidanceArtefact", "Provenance", "load_artefact", "load_masks", "save_artefact"]

_MANIFEST, _PLANNER, _MASKS = "artefact.json", "planner.py", "masks.json"


class Provenance(BaseModel):
    """Where a guidance artefact comes from.

    Args:
        author: ``"hand"``, or the model that wrote it.
        environment: The id of the environment it is for.
        notes: Anything a reader should know.
        prompt_sha256: The hash of the prompts, where a model wrote it.
        usage: Calls, tokens and dollars, where a model wrote it.
        library_version: The version of this package that saved it.
    """

    model_config = ConfigDict(extra="forbid")

    author: str
    environment: str
    notes: str = ""
    prompt_sha256: str | None = None
    usage: dict[str, float] = Field(default_factory=dict)
    library_version: str = __version__


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    provenance: Provenance
    planner_sha256: str | None = None


class GuidanceArtefact(BaseModel):
    """A planner's source and a mask bank with their provenance; either may be absent."""

    model_config = ConfigDict(extra="forbid")

    provenance: Provenance
    planner_source: str | None = None
    masks: dict[str, list[str | int]] | None = None

    def planner(self) -> PlannerProgram:
        """Return the planner, executed in this process.

        Raises:
            GuidanceFileError: If there is none, or it cannot be executed.
        """
        if self.planner_source is None:
            raise GuidanceFileError("this guidance artefact has no planner.py")
        return PlannerProgram(self.planner_source, name=_PLANNER)


def save_artefact(artefact: GuidanceArtefact, folder: str | Path) -> Path:
    """Write an artefact as `artefact.json`, `planner.py` and `masks.json`.

    Args:
        artefact: What to write.
        folder: Created where needed; files of the same names are replaced.

    Returns:
        The folder.

    >>> import tempfile
    >>> made_by_hand = Provenance(author="hand", environment="CartPole-v1")
    >>> saved = GuidanceArtefact(provenance=made_by_hand, masks={"go left": [0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_artefact(save_artefact(saved, folder)) == saved
    True
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    program = None if artefact.planner_source is None else artefact.planner()
    manifest = _Manifest(
        provenance=artefact.provenance, planner_sha256=program.sha256 if program else None
    )
    _write(folder / _MANIFEST, manifest.model_dump(mode="json"))
    if program is not None:
        (folder / _PLANNER).write_text(program.source, encoding="utf-8")
    if artefact.masks is not None:
        _write(folder / _MASKS, artefact.masks)
    return folder


def load_artefact(folder: str | Path) -> GuidanceArtefact:
    """Read a folder written by `save_artefact`.

    Raises:
        GuidanceFileError: If it is missing or incomplete, of a newer format, or if `planner.py`
            is not the one that was saved.
    """
    folder = Path(folder)
    try:
        manifest = _Manifest.model_validate(_read(folder / _MANIFEST))
    except ValidationError as error:
        raise GuidanceFileError(f"{folder / _MANIFEST} is not a manifest: {error}") from error
    program = read_program(folder / _PLANNER) if (folder / _PLANNER).exists() else None
    if manifest.planner_sha256 not in (None, program.sha256 if program else "missing"):
        raise GuidanceFileError(
            f"{folder / _PLANNER} is not the planner that {_MANIFEST} was written for; if you "
            f'changed it on purpose, use it as "file:{folder / _PLANNER}" or save the artefact anew'
        )
    masks = load_masks(folder / _MASKS) if (folder / _MASKS).exists() else None
    return GuidanceArtefact(
        provenance=manifest.provenance,
        planner_source=program.source if program else None,
        masks=masks,
    )


def load_masks(path: str | Path) -> dict[str, list[str | int]]:
    """Read a mask bank: a JSON object of goal to a list of action names or indices.

    Raises:
        GuidanceFileError: If the file is missing or something else.
    """
    masks = _read(Path(path))
    if not isinstance(masks, dict) or not all(isinstance(row, list) for row in masks.values()):
        raise GuidanceFileError(f"{path}: expected a JSON object of goal -> list of actions")
    return masks


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GuidanceFileError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise GuidanceFileError(f"{path} is not valid JSON: {error}") from error
