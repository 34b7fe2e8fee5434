"""What is known of environments, by their ids: who registers a world tells it here, by name.

Captions and guidance stand below the worlds and import none of them: they look up here what there
is, and import it when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import gymnasium as gym

from llm_wrappers.errors import UnknownNameError

__all__ = [
    "Environment",
    "Known",
    "World",
    "guidance_folder",
    "lazy_names",
    "load",
    "register_world",
    "worlds",
]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One environment of a world; what is not known of it is left empty.

    All but ids and the name of the guidance are references, ``"package.module:name"``, so that
    nothing is imported before it is asked for.

    Args:
        env_id: Its Gymnasium id.
        entry_point: Of its class, where the world is to register it with Gymnasium.
        vector_entry_point: Of its class for many environments at once.
        judge: A rule from facts and an action to -1, 0 or +1: the judge ``"reference"``.
        judged_actions: The names of the only actions that the rule knows; empty for any.
        oracle: From the id to an exact judge: ``"oracle"``; without it, that is the reference.
        potential: A rule from facts to a number: the potential ``"reference"``.
        guidance: The name of its reference guidance, one of `World.guidance`.
    """

    env_id: str
    entry_point: str = ""
    vector_entry_point: str = ""
    judge: str = ""
    judged_actions: str = ""
    oracle: str = ""
    potential: str = ""
    guidance: str = ""


@dataclass(frozen=True, kw_only=True)
class World:
    """A family of environments with all that is known of it.

    Args:
        name: What it is called.
        environments: Those it is known by.
        captioner: A reference to ``known(layers, env_id)``, which returns the captioner of an
            environment, or None where it is none of this world. Not needed where environments have
            an attribute `captioner`.
        guidance: Name of reference guidance -> its folder as ``"package:folder"``, with a guidance
            artefact, and an `oracle.py` where there is one.
    """

    name: str
    environments: tuple[Environment, ...] = ()
    captioner: str = ""
    guidance: Mapping[str, str] = field(default_factory=dict)


_WORLDS: dict[str, World] = {}


def register_world(world: World) -> None:
    """Make a world known, and its environments to Gymnasium; it takes the place of its namesake.

    >>> pond = Environment(env_id="Pond-v0", judge="pond.rules:judgement")
    >>> register_world(World(name="pond", environments=(pond,)))
    >>> Known("judge")["Pond-v0"]
    'pond.rules:judgement'
    >>> _ = _WORLDS.pop("pond")
    """
    _WORLDS[world.name] = world
    for known in world.environments:
        if known.entry_point and known.env_id not in gym.registry:
            gym.register(
                known.env_id,
                entry_point=known.entry_point,
                vector_entry_point=known.vector_entry_point or None,
            )


def worlds() -> tuple[World, ...]:
    """Return the worlds that are known, the last one first: it may know better."""
    return tuple(reversed(_WORLDS.values()))


class Known(Mapping[str, str]):
    """What the known worlds say of one thing, by environment id; it follows what is registered.

    Args:
        part: A field of `Environment`. Where that is empty the environment is left out.

    >>> Known("guidance")["llm_wrappers/Crafter-v1"]
    'crafter'
    """

    def __init__(self, part: str) -> None:
        self._part = part

    def _all(self) -> dict[str, str]:
        known = (each for world in _WORLDS.values() for each in world.environments)
        said = ((each.env_id, getattr(each, self._part)) for each in known)
        return {env_id: value for env_id, value in said if value}

    def __getitem__(self, env_id: str) -> str:
        return self._all()[env_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def guidance_folder(name: str) -> Path:
    """Return the folder of reference guidance.

    Raises:
        UnknownNameError: If no world has any of this name.

    >>> sorted(path.name for path in guidance_folder("minigrid-doorkey").iterdir())
    ['artefact.json', 'masks.json', 'planner.py']
    """
    folders = {key: folder for world in _WORLDS.values() for key, folder in world.guidance.items()}
    if name not in folders:
        raise UnknownNameError(f"expected reference guidance among {sorted(folders)}, got {name!r}")
    package, _, folder = folders[name].partition(":")
    return Path(str(files(package))) / folder


def load(reference: str) -> Any:
    """Return what a reference stands for.

    Raises:
        UnknownNameError: If it cannot be imported.

    >>> load("math:floor")(2.5)
    2
    """
    try:
        return resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownNameError(
            f"a world is registered with {reference!r}, which cannot be loaded ({error}); "
            "install its package again"
        ) from error


def lazy_names(package: str, **homes: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports its names on first use.

    Args:
        package: Its name.
        homes: Name -> the module of the package that it is in.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get
