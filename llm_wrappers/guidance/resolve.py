"""Names of guidance, resolved in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance.ablations import (
    EqualPlanner,
    NoPlanner,
    RandomPlanner,
    ShuffledPlanner,
    SinglePlanner,
    random_masks,
    shuffled_masks,
)
from llm_wrappers.guidance.artefact import GuidanceArtefact, load_artefact, load_masks
from llm_wrappers.guidance.planner import Planner, PlannerFunction, as_planner
from llm_wrappers.guidance.program import read_program, read_source
from llm_wrappers.guidance.runtime import MontyRuntime

__all__ = [
    "REFERENCES",
    "reference_artefact",
    "register_source",
    "resolve_masks",
    "resolve_planner",
]

Masks: TypeAlias = "dict[str, Any]"
REFERENCES = {
    "llm_wrappers/Crafter-v1": "crafter",
    "llm_wrappers/CraftaxClassic-v1": "craftax-classic",
    **{f"MiniGrid-DoorKey-{n}x{n}-v0": "minigrid-doorkey" for n in (5, 6, 8, 16)},
}
"""Environment id -> name of the reference guidance that ships for it."""

_RUNTIMES = {"file": "contained", "guarded": "guarded", "trusted": "trusted"}
"""Prefix of a path -> how its planner runs."""

_PLANNER_NAMES = (
    "reference:NAME, file:PATH, guarded:PATH, trusted:PATH, oracle, random, shuffled[:NAME], "
    "equal[:NAME], single[:GOAL], none"
)
_MASK_NAMES = "reference:NAME, file:PATH, random, shuffled[:NAME], none"
_sources: dict[str, Callable[[str], GuidanceArtefact]] = {}


def register_source(prefix: str, load: Callable[[str], GuidanceArtefact]) -> None:
    """Make names ``"prefix:rest"`` known, for planners and masks alike.

    Args:
        prefix: What stands before the colon.
        load: From what stands behind it to an artefact.
    """
    _sources[prefix] = load


def resolve_planner(
    planner: str | Planner | PlannerFunction, *, env_id: str, goals: Sequence[str]
) -> Planner:
    """Return the planner that an object, a plain function or a name stands for.

    Args:
        planner: ``"reference:NAME"``; ``"file:PATH"`` (a planner.py or an artefact folder), whose
            planner runs contained, ``"guarded:PATH"`` (an artefact folder whose planner was
            validated), which is faster, ``"trusted:PATH"``, which is executed with all rights of
            this process; ``"oracle"``, ``"random"``, ``"shuffled"`` or ``"shuffled:NAME"``,
            ``"equal"`` or ``"equal:NAME"`` (its goals with equal weights), ``"single"`` or
            ``"single:GOAL"`` (one goal always, by default the last one), ``"none"``.
        env_id: The environment, for the names that depend on it.
        goals: The goal vocabulary.

    Raises:
        UnknownNameError: If no resolver knows the name.
        GuidanceFileError: If a file is missing or is no planner.
    """
    if not isinstance(planner, str):
        return as_planner(planner)
    prefix, _, rest = planner.partition(":")
    if planner == "none":
        return NoPlanner()
    if planner == "random":
        return RandomPlanner(goals)
    if planner == "oracle":
        return read_program(_data_folder(_reference_for(env_id, planner)) / "oracle.py")
    if prefix == "single":
        return SinglePlanner(goals, rest or None)
    if prefix in ("shuffled", "equal"):
        name = rest or f"reference:{_reference_for(env_id, planner)}"
        original = resolve_planner(name, env_id=env_id, goals=goals)
        return EqualPlanner(original) if prefix == "equal" else ShuffledPlanner(original, goals)
    if prefix in ("file", "trusted") and Path(rest).suffix == ".py":
        path = Path(rest)
        if prefix == "trusted":
            return read_program(path)
        return MontyRuntime(read_source(path), name=path.name)
    # What ships with this package is as trusted as the package itself.
    runtime = "trusted" if prefix == "reference" else _RUNTIMES.get(prefix, "contained")
    return _artefact(planner, _PLANNER_NAMES).planner(runtime)


def resolve_masks(
    masks: str | Mapping[str, Any], *, env_id: str, goals: Sequence[str], actions: Sequence[Any]
) -> Masks:
    """Return the goal -> actions that a dict or a name stands for.

    Args:
        masks: A dict, or ``"reference:NAME"``, ``"file:PATH"`` (a masks.json or an artefact
            folder; ``"guarded:"`` and ``"trusted:"`` mean the same here), ``"random"``,
            ``"shuffled"`` or ``"shuffled:NAME"``, ``"none"``.
        env_id: The environment, for the names that depend on it.
        goals: The goal vocabulary, for random masks.
        actions: The actions, for random masks.

    Raises:
        UnknownNameError: If no resolver knows the name.
        GuidanceFileError: If a file is missing or holds no masks.
    """
    if not isinstance(masks, str):
        return masks  # type: ignore[return-value]
    prefix, _, rest = masks.partition(":")
    if masks == "none":
        return {}
    if masks == "random":
        return random_masks(goals, actions)
    if prefix == "shuffled":
        original = rest or f"reference:{_reference_for(env_id, masks)}"
        return shuffled_masks(resolve_masks(original, env_id=env_id, goals=goals, actions=actions))
    if prefix in _RUNTIMES and Path(rest).suffix == ".json":
        return load_masks(rest)
    found = _artefact(masks, _MASK_NAMES).masks
    if found is None:
        raise UnknownNameError(f"the guidance artefact {masks!r} has no masks.json")
    return found


def reference_artefact(name: str) -> GuidanceArtefact:
    """Return reference guidance that ships with the package, written by hand.

    Raises:
        UnknownNameError: If there is none of this name.

    >>> reference_artefact("craftax-classic").provenance.author
    'hand'
    """
    if name not in REFERENCES.values():
        raise UnknownNameError(
            f"expected reference guidance among {sorted(set(REFERENCES.values()))}, got {name!r}"
        )
    return load_artefact(_data_folder(name))


def _artefact(name: str, known: str) -> GuidanceArtefact:
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "reference":
        return reference_artefact(rest)
    if colon and prefix in _RUNTIMES:
        return load_artefact(rest)
    if colon and prefix in _sources:
        return _sources[prefix](rest)
    registered = "".join(f", {source}:NAME" for source in sorted(_sources))
    raise UnknownNameError(f"expected one of {known}{registered}; got {name!r}")


def _reference_for(env_id: str, name: str) -> str:
    if env_id not in REFERENCES:
        raise UnknownNameError(
            f"{name!r} needs reference guidance, which ships for {sorted(REFERENCES)} and not for "
            f"{env_id or 'this environment'!r}; give a planner, a file or 'shuffled:file:PATH'"
        )
    return REFERENCES[env_id]


def _data_folder(name: str) -> Path:
    return Path(str(files("llm_wrappers"))) / "data" / name
