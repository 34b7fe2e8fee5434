"""Names of guidance, resolved in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from llm_wrappers.guidance.artefact import (
    GUARDED_IS_GONE,
    GuidanceArtefact,
    load_artefact,
    load_masks,
)
from llm_wrappers.guidance.planners import (
    FunctionPlanner,
    Planner,
    PlannerFunction,
    read_program,
    read_source,
)
from llm_wrappers.known_worlds import Known, guidance_folder
from llm_wrappers.registry import Registry
from llm_wrappers.sandbox import MontyRuntime

__all__ = [
    "REFERENCES",
    "reference_artefact",
    "register_source",
    "resolve_masks",
    "resolve_planner",
]

Masks: TypeAlias = "dict[str, Any]"
REFERENCES = Known("guidance")
"""Environment id -> name of the reference guidance that its world registers."""


def register_source(prefix: str, load: Callable[[str], GuidanceArtefact]) -> None:
    """Make names ``"prefix:rest"`` known, for planners and masks alike.

    Args:
        prefix: What stands before the colon.
        load: From what stands behind it to an artefact.
    """
    _PLANNERS.register(f"{prefix}:NAME", lambda rest, **_: load(rest).planner("contained"))
    _MASKS.register(f"{prefix}:NAME", lambda rest, **_: _masks_of(load(rest), f"{prefix}:{rest}"))


def resolve_planner(
    planner: str | Planner | PlannerFunction, *, env_id: str, goals: Sequence[str]
) -> Planner:
    """Return the planner that an object, a plain function or a name stands for.

    Args:
        planner: ``"reference:NAME"``; ``"file:PATH"`` (a planner.py or an artefact folder), whose
            planner runs contained; ``"trusted:PATH"``, the same executed with all rights of this
            process; ``"oracle"``, ``"random"``, ``"shuffled"`` or ``"shuffled:NAME"``,
            ``"equal"`` or ``"equal:NAME"`` (its goals with equal weights), ``"single"`` or
            ``"single:GOAL"`` (one goal always, by default the last one), ``"none"``.
        env_id: The environment, for the names that depend on it.
        goals: The goal vocabulary.

    Raises:
        UnknownNameError: If no resolver knows the name.
        GuidanceFileError: If a file is missing or is no planner.
    """
    _check_not_guarded(planner)
    return _PLANNERS.resolve(planner, env_id=env_id, goals=goals)


def resolve_masks(
    masks: str | Mapping[str, Any], *, env_id: str, goals: Sequence[str], actions: Sequence[Any]
) -> Masks:
    """Return the goal -> actions that a dict or a name stands for.

    Args:
        masks: A dict, or ``"reference:NAME"``, ``"file:PATH"`` (a masks.json or an artefact
            folder; ``"trusted:"`` means the same here), ``"random"``,
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
    _check_not_guarded(masks)
    return _MASKS.resolve(masks, env_id=env_id, goals=goals, actions=actions)


def reference_artefact(name: str) -> GuidanceArtefact:
    """Return reference guidance that ships with the package, written by hand.

    Raises:
        UnknownNameError: If there is none of this name.

    >>> reference_artefact("craftax-classic").provenance.author
    'hand'
    """
    return load_artefact(_data_folder(name))


def _check_not_guarded(value: Any) -> None:
    if isinstance(value, str) and value.partition(":")[0] == "guarded":
        raise UnknownNameError(f"{value!r}: {GUARDED_IS_GONE}")


def _contained_planner(rest: str, **_: Any) -> Planner:
    path = Path(rest)
    if path.suffix == ".py":
        return MontyRuntime(read_source(path), name=path.name)
    return load_artefact(rest).planner("contained")


def _trusted_planner(rest: str, **_: Any) -> Planner:
    if Path(rest).suffix == ".py":
        return read_program(Path(rest))
    return load_artefact(rest).planner("trusted")


def _masks_in_file(rest: str, **_: Any) -> Masks:
    if Path(rest).suffix == ".json":
        return load_masks(rest)
    return _masks_of(load_artefact(rest), rest)


def _masks_of(artefact: GuidanceArtefact, name: str) -> Masks:
    if artefact.masks is None:
        raise UnknownNameError(f"the guidance artefact {name!r} has no masks.json")
    return artefact.masks


def _original(name: str, rest: str, resolved: Callable[..., Any], context: Any) -> Any:
    """Return what a name changes: what stands behind its colon, or the reference."""
    rest = rest or f"reference:{_reference_for(context['env_id'], name)}"
    return resolved(rest, **context)


def _reference_for(env_id: str, name: str) -> str:
    if env_id not in REFERENCES:
        raise UnknownNameError(
            f"{name!r} needs reference guidance, which ships for {sorted(REFERENCES)} and not for "
            f"{env_id or 'this environment'!r}; give a planner, a file or 'shuffled:file:PATH'"
        )
    return REFERENCES[env_id]


def _data_folder(name: str) -> Path:
    return guidance_folder(name)


_PLANNERS: Registry[Planner] = Registry(
    "planner",
    Planner,
    "an object with plan(facts), a function of a list of facts that returns a list of "
    '[(goal, weight), ...], or a name such as "file:planner.py"',
    adapt=FunctionPlanner,
    names={
        # What ships with this package is as trusted as the package itself.
        "reference:NAME": lambda rest, **_: reference_artefact(rest).planner("trusted"),
        "file:PATH": _contained_planner,
        "trusted:PATH": _trusted_planner,
        "oracle": lambda _, env_id, goals: read_program(
            _data_folder(_reference_for(env_id, "oracle")) / "oracle.py"
        ),
        "random": lambda _, env_id, goals: RandomPlanner(goals),
        "shuffled[:NAME]": lambda rest, **context: ShuffledPlanner(
            _original("shuffled", rest, resolve_planner, context), context["goals"]
        ),
        "equal[:NAME]": lambda rest, **context: EqualPlanner(
            _original("equal", rest, resolve_planner, context)
        ),
        "single[:GOAL]": lambda rest, env_id, goals: SinglePlanner(goals, rest or None),
        "none": lambda _, **context: NoPlanner(),
    },
)
_MASKS: Registry[Masks] = Registry(
    "mask bank",
    Mapping,
    "goal -> actions",
    names={
        "reference:NAME": lambda rest, **_: _masks_of(reference_artefact(rest), rest),
        "file:PATH": _masks_in_file,
        "random": lambda _, env_id, goals, actions: random_masks(goals, actions),
        "shuffled[:NAME]": lambda rest, **context: shuffled_masks(
            _original("shuffled", rest, resolve_masks, context)
        ),
        "none": lambda _, **context: {},
        "trusted:PATH": _masks_in_file,
    },
)
