"""The guidance artefact: a folder of plain files that a person can read, diff and share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.planners import PlannerProgram, read_source
from llm_wrappers.sandbox import MontyRuntime
from llm_wrappers.sandbox.source import hash_of

__all__ = [
    "RUNTIMES",
    "GuidanceArtefact",
    "Provenance",
    "load_artefact",
    "load_masks",
    "save_artefact",
]

# Strict, because a boolean read as the index 0 or 1 is another mask.
MasksField: TypeAlias = dict[str, list[StrictBool | StrictInt | StrictStr]]

RUNTIMES = ("contained", "trusted")

GUARDED_IS_GONE = (
    "'guarded' ran planner code in this process, was no boundary against its author, and is gone; "
    'write "file:PATH" (runtime="contained") to run it contained, out of this process, or '
    '"trusted:PATH" (runtime="trusted") once you have read the code'
)

_MANIFEST, _PLANNER, _MASKS = "artefact.json", "planner.py", "masks.json"


class Provenance(BaseModel):
    """Where a guidance artefact comes from.

    Args:
        author: ``"hand"``, or the model that wrote it.
        environment: The id of the environment it is for.
        notes: Anything a reader should know.
        prompt_sha256: Prompt template -> hash, where a model wrote it.
        usage: Calls, tokens and dollars by purpose, where a model wrote it.
        authoring: What it took, where a model wrote it: repairs, failures by kind and so on.
        library_version: The version of this package that saved it.
    """

    model_config = ConfigDict(extra="forbid")

    author: str
    environment: str
    notes: str = ""
    prompt_sha256: dict[str, str] = Field(default_factory=dict)
    usage: dict[str, JsonValue] = Field(default_factory=dict)
    authoring: dict[str, JsonValue] = Field(default_factory=dict)
    library_version: str = __version__


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    provenance: Provenance
    planner_sha256: str | None = None
    # Version 0.1 wrote a record here, which nothing reads any more.
    validation: Any = Field(default=None, exclude=True)


class GuidanceArtefact(BaseModel):
    """A planner's source and a mask bank with their provenance; either may be absent.

    Args:
        provenance: Where it comes from.
        planner_source: The planner as Python source.
        masks: Goal -> actions.
    """

    model_config = ConfigDict(extra="forbid")

    provenance: Provenance
    planner_source: str | None = None
    masks: MasksField | None = None

    def planner(self, runtime: str = "contained") -> MontyRuntime | PlannerProgram:
        """Return the planner.

        Args:
            runtime: ``"contained"`` runs it in Monty, out of this process. ``"trusted"`` executes
                it in this process with all its rights.

        Raises:
            GuidanceFileError: If there is none, or it has not the form of a planner.
            InvalidOptionError: If the runtime is none of these.
            DependencyNotInstalled: If Monty is needed and not installed.
        """
        if runtime == "guarded":
            raise InvalidOptionError(GUARDED_IS_GONE)
        checks.one_of("runtime", runtime, RUNTIMES)
        if self.planner_source is None:
            raise GuidanceFileError("this guidance artefact has no planner.py")
        if runtime == "trusted":
            return PlannerProgram(self.planner_source, name=_PLANNER)
        return MontyRuntime(self.planner_source, name=_PLANNER)


def save_artefact(artefact: GuidanceArtefact, folder: str | Path) -> Path:
    """Write an artefact as `artefact.json`, `planner.py` and `masks.json`.

    Args:
        artefact: What to write.
        folder: Created where needed; an artefact that is in it is replaced.

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
    source, masks = artefact.planner_source, artefact.masks
    manifest = _Manifest(
        provenance=artefact.provenance,
        planner_sha256=None if source is None else hash_of(source),
    )
    _write(folder / _MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    _write(folder / _PLANNER, source)
    _write(folder / _MASKS, None if masks is None else json.dumps(masks, indent=2) + "\n")
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
    # The planner is not executed here: not before its hash is checked, and not for its masks.
    source = read_source(folder / _PLANNER) if (folder / _PLANNER).exists() else None
    found = "missing" if source is None else hash_of(source)
    if manifest.planner_sha256 not in (None, found):
        raise GuidanceFileError(
            f"{folder / _PLANNER} is not the planner that {_MANIFEST} was written for; if you "
            f'changed it on purpose, use it as "file:{folder / _PLANNER}" or save the artefact anew'
        )
    masks = load_masks(folder / _MASKS) if (folder / _MASKS).exists() else None
    return GuidanceArtefact(
        provenance=manifest.provenance,
        planner_source=source,
        masks=masks,
    )


def load_masks(path: str | Path) -> MasksField:
    """Read a mask bank: a JSON object of goal to a list of names, indices or booleans.

    Raises:
        GuidanceFileError: If the file is missing or something else.
    """
    try:
        return TypeAdapter(MasksField).validate_python(_read(Path(path)))
    except ValidationError as error:
        raise GuidanceFileError(
            f"{path}: expected a JSON object of goal -> list of actions: {error}"
        ) from error


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        # Bytes, because the ends of lines belong to what the hash is of.
        path.write_bytes(text.encode())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GuidanceFileError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise GuidanceFileError(f"{path} is not valid JSON: {error}") from error
