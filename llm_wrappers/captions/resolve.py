"""Which captioner speaks for an environment."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, VectorEnv, VectorWrapper

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.layers import (
    AnyEnv,
    Reader,
    SeenThrough,
    actions_of,
    changed_by,
    changes_actions,
    drifts,
    layers_of,
    observed_of,
    reader_of,
)
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.known_worlds import load, worlds

__all__ = ["resolve_captioner"]

_METHODS = ("facts", "state_captions", "transition_captions")


def resolve_captioner(env: AnyEnv, captioner: Captioner | None = None) -> Captioner:
    """Return the captioner that was given, or the best one known for the environment.

    The first of these that exists is taken, looked up from the outside in:

    1. the captioner given, as it is;
    2. what a layer with a method ``world_captioner()`` answers, as each wrapper of this package
       has it: the captioner of the world below it, whatever is around it;
    3. an attribute ``captioner`` that is not None on a layer or on the environment;
    4. the one that a registered world knows (`llm_wrappers.worlds.register_world`): classic
       control, MiniGrid, Blackjack, FrozenLake, a robot of MuJoCo, the memory of an Atari game;
    5. `GenericCaptioner`, which speaks of what it is shown.

    One of 3 or 4 speaks of the observations and actions of its own layer. Wrappers around that
    layer which flatten observations or change their type are read through. Others that change
    observations are refused, unless the captioner has ``reads_observations = False``; so are those
    that change actions. `GenericCaptioner` is refused only behind `NormalizeObservation`, where
    the numbers of one state drift.

    Below a `SyncVectorEnv` the first sub-environment is asked. Those of an `AsyncVectorEnv`, which
    are in other processes, are asked for ``world_captioner()`` alone. The environment is never
    reset or stepped.

    Args:
        env: A Gymnasium environment or vector environment, wrapped or not.
        captioner: An object with the `Captioner` protocol; None to look one up.

    Raises:
        InvalidOptionError: If the captioner given does not follow the protocol.
        IncompatibleEnvironmentError: If the environment's own captioner does not follow it, a
            wrapper changes what the captioner speaks of, or the observations cannot be put into
            words.

    >>> resolve_captioner(gym.make("MountainCar-v0")).description.action_names
    ('accelerate left', 'do not accelerate', 'accelerate right')
    """
    if not isinstance(env, gym.Env | VectorEnv):
        raise InvalidOptionError(
            f"env must be a gymnasium.Env or gymnasium.vector.VectorEnv, got {type(env).__name__}"
        )
    if captioner is not None:
        fault = _protocol_fault(captioner)
        if fault:
            raise InvalidOptionError(f"captioner {fault}")
        return captioner
    layers = layers_of(env)
    return _of_the_world(layers) or _own_captioner(layers) or _known_captioner(layers)


def _of_the_world(layers: list[AnyEnv]) -> Captioner | None:
    for layer in layers:
        ask = getattr(layer, "world_captioner", None)
        if callable(ask):
            world: Captioner = ask()
            return world
    base = layers[-1]
    if isinstance(base, AsyncVectorEnv) and all(base.call("has_wrapper_attr", "world_captioner")):
        first: Captioner = base.call("world_captioner")[0]
        return first
    return None


def _own_captioner(layers: list[AnyEnv]) -> Captioner | None:
    for at, layer in enumerate(layers):
        own = _attribute(layer)
        if own is None:
            continue
        fault = _protocol_fault(own)
        if fault:
            raise IncompatibleEnvironmentError(
                f"the attribute captioner of {type(layer).__name__} {fault}; "
                "pass captioner=... to use another one"
            )
        hint = ", or set reads_observations = False on a captioner that reads infos alone"
        return _heard(own, layers[: at + 1], hint=hint)
    return None


def _attribute(layer: AnyEnv) -> Any:
    # A base environment may answer in its own way for what it is made of.
    if isinstance(layer, gym.Env) and not isinstance(layer, gym.Wrapper):
        has_one = layer.has_wrapper_attr("captioner")
        return layer.get_wrapper_attr("captioner") if has_one else None
    return getattr(layer, "captioner", None)


def _known_captioner(layers: list[AnyEnv]) -> Captioner:
    env_id = _env_id(layers)
    known = _known(layers, env_id)
    return _generic(layers, env_id) if known is None else _heard(known, layers)


def _known(layers: list[AnyEnv], env_id: str) -> Captioner | None:
    known = (load(world.captioner)(layers, env_id) for world in worlds() if world.captioner)
    return next((captioner for captioner in known if captioner is not None), None)


def _heard(captioner: Captioner, layers: list[AnyEnv], hint: str = "") -> Captioner:
    """Return a captioner fit for what is around the layer that it speaks for, the last one.

    Args:
        captioner: The captioner.
        layers: The layers down to that one, outside in.
        hint: What else can be done where a wrapper changes observations.
    """
    name = captioner.description.env_id or type(layers[-1].unwrapped).__name__
    for at in reversed(range(len(layers) - 1)):
        if changes_actions(layers[at], layers[at + 1]):
            raise _refusal(layers, layers[at], f"the actions that {name} is described with")
    if not getattr(captioner, "reads_observations", True):
        return captioner
    reads_behind = getattr(captioner, "reads_behind", _reads_nothing)
    changes = [
        change
        for change in _changes(layers)
        if not reads_behind(type(layers[change.at]).__name__, observed_of(layers[change.at]))
    ]
    for change in reversed(changes):
        if change.reader is None:
            what = f"the observation that {name} is described from"
            raise _refusal(layers, change.wrapper, what, hint)
    readers = [change.reader for change in changes if change.reader is not None]
    return SeenThrough(captioner, readers) if readers else captioner


def _generic(layers: list[AnyEnv], env_id: str) -> Captioner:
    name = env_id or type(layers[-1]).__name__
    for layer in reversed(layers):
        if drifts(layer):
            raise _refusal(layers, layer, f"the observation that {name} is described from")
    seen, readers = layers[-1], []
    for change in _changes(layers):
        if change.reader is None:
            seen = layers[change.at]
            break
        readers.append(change.reader)
    try:
        generic = GenericCaptioner(observed_of(seen), actions_of(layers[0]), env_id=name)
    except InvalidOptionError as error:
        raise IncompatibleEnvironmentError(
            f"no captioner is known for {name}: {error}. Pass captioner=..., or give the "
            "environment an attribute captioner"
        ) from error
    return SeenThrough(generic, readers) if readers else generic


class _Change(NamedTuple):
    """That observations of a layer are not those of the one below it."""

    at: int
    wrapper: AnyEnv
    reader: Reader | None


def _changes(layers: list[AnyEnv]) -> list[_Change]:
    """Return what changes observations, outside in, and what undoes it."""
    wrappers = [(at, changed_by(layers, at)) for at in range(len(layers) - 1)]
    return [
        _Change(at, wrapper, reader_of(layers[at], layers[at + 1]))
        for at, wrapper in wrappers
        if wrapper is not None
    ]


def _reads_nothing(wrapper: str, shown: gym.Space[Any]) -> bool:
    return False


def _refusal(
    layers: list[AnyEnv], layer: AnyEnv, what: str, hint: str = ""
) -> IncompatibleEnvironmentError:
    wrapper = type(layer).__name__
    inner = "env" if isinstance(layer, gym.Env) else "envs"
    env, single = ("env", "") if isinstance(layers[0], gym.Env) else ("envs", "single_")
    return IncompatibleEnvironmentError(
        f"{wrapper} changes {what}: put guidance inside it, as in "
        f"{wrapper}(RewardShiftWrapper({inner}, ...)); or pass captioner=GenericCaptioner("
        f"{env}.{single}observation_space, {env}.{single}action_space) to speak of what it shows"
        f"{hint}"
    )


def _env_id(layers: list[AnyEnv]) -> str:
    # Innermost first: a wrapper builds its spec by a deep copy, which the base does not need.
    for layer in reversed(layers):
        if not isinstance(layer, gym.Wrapper | VectorWrapper) and layer.spec is not None:
            return str(layer.spec.id)
    return ""


def _protocol_fault(captioner: Any) -> str:
    """Return what keeps an object from being a captioner; empty if nothing does."""
    kind = type(captioner).__name__
    if isinstance(captioner, type):
        return f"must be an object, got the class {captioner.__name__}; call it first"
    missing = [name for name in _METHODS if not callable(getattr(captioner, name, None))]
    if missing:
        return f"must have the method {missing[0]}(), got {kind} without it"
    if not isinstance(getattr(captioner, "description", None), EnvDescription):
        return f"must have a description that is an EnvDescription, got {kind} without one"
    return ""
