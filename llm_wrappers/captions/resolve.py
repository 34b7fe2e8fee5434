"""Which captioner speaks for an environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv, VectorEnv, VectorWrapper

from llm_wrappers.captions.atari import known_atari
from llm_wrappers.captions.blackjack import BlackjackCaptioner
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.classic_control import ClassicControlCaptioner
from llm_wrappers.captions.classic_systems import SYSTEMS
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.frozen_lake import FrozenLakeCaptioner
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.minigrid import known_minigrid
from llm_wrappers.captions.mujoco import known_mujoco
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["resolve_captioner"]

_AnyEnv: TypeAlias = "gym.Env[Any, Any] | VectorEnv[Any, Any, Any]"
_METHODS = ("facts", "state_captions", "transition_captions")


def resolve_captioner(env: _AnyEnv, captioner: Captioner | None = None) -> Captioner:
    """Return the captioner that was given, or the best one known for the environment.

    The first of these that exists is taken: the captioner given; an attribute ``captioner`` that
    is not None on the environment or a layer below it, looked up from the outside in; the one for
    a classic control environment whose spaces no wrapper changed; the one for MiniGrid, Blackjack,
    FrozenLake, a robot of MuJoCo, or the memory of an Atari game; `GenericCaptioner`.
    Below a `SyncVectorEnv` the first sub-environment is asked, below an `AsyncVectorEnv`, which
    keeps its own in other processes, none. The environment is never reset or stepped.

    Args:
        env: A Gymnasium environment or vector environment, wrapped or not.
        captioner: An object with the `Captioner` protocol; None to look one up.

    Raises:
        InvalidOptionError: If the captioner given does not follow the protocol.
        IncompatibleEnvironmentError: If the environment's own captioner does not follow it, or
            its observations cannot be put into words.

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
    layers = list(_layers(env))
    return _own_captioner(layers) or _known_captioner(env, layers)


def _layers(env: _AnyEnv) -> Iterator[_AnyEnv]:
    """Yield the environment and what it wraps, outside in."""
    layer: _AnyEnv | None = env
    while layer is not None:
        yield layer
        if isinstance(layer, VectorWrapper | gym.Wrapper):
            layer = layer.env
        elif isinstance(layer, SyncVectorEnv):
            layer = layer.envs[0]
        else:
            layer = None


def _own_captioner(layers: list[_AnyEnv]) -> Captioner | None:
    for layer in layers:
        found = _attribute(layer)
        if found is None:
            continue
        fault = _protocol_fault(found)
        if fault:
            raise IncompatibleEnvironmentError(
                f"the attribute captioner of {type(layer).__name__} {fault}; "
                "pass captioner=... to use another one"
            )
        own: Captioner = found
        return own
    return None


def _attribute(layer: _AnyEnv) -> Any:
    # A gym.Env may answer for what it wraps in its own way; vector environments have no such hook.
    if isinstance(layer, gym.Env):
        has_one = layer.has_wrapper_attr("captioner")
        return layer.get_wrapper_attr("captioner") if has_one else None
    return getattr(layer, "captioner", None)


def _known_captioner(env: _AnyEnv, layers: list[_AnyEnv]) -> Captioner:
    if isinstance(env, VectorEnv):
        observation_space, action_space = env.single_observation_space, env.single_action_space
    else:
        observation_space, action_space = env.observation_space, env.action_space
    env_id = _env_id(layers)
    if env_id in SYSTEMS:
        classic = ClassicControlCaptioner(env_id)
        if classic.applies_to(observation_space, action_space):
            return classic
    for known in (known_minigrid, known_atari):
        found: Captioner | None = known(env_id, observation_space, action_space)
        if found is not None:
            return found
    robot = known_mujoco(layers, observation_space, action_space)
    if robot is not None:
        return robot
    toy_text = _toy_text(env_id, layers[-1], observation_space, action_space)
    if toy_text is not None:
        return toy_text
    name = env_id or type(layers[-1]).__name__
    try:
        return GenericCaptioner(observation_space, action_space, env_id=name)
    except InvalidOptionError as error:
        raise IncompatibleEnvironmentError(
            f"no captioner is known for {name}: {error}. Pass captioner=..., or give the "
            "environment an attribute captioner"
        ) from error


def _toy_text(
    env_id: str, base: _AnyEnv, observation_space: Any, action_space: Any
) -> Captioner | None:
    if env_id == "Blackjack-v1" and BlackjackCaptioner.applies_to(observation_space, action_space):
        return BlackjackCaptioner()
    lake = getattr(base, "desc", None)
    if not env_id.startswith("FrozenLake") or lake is None:
        return None
    if observation_space != gym.spaces.Discrete(lake.size) or action_space != gym.spaces.Discrete(
        4
    ):
        return None
    return FrozenLakeCaptioner([b"".join(row).decode() for row in lake], env_id=env_id)


def _env_id(layers: list[_AnyEnv]) -> str:
    # Innermost first: a wrapper builds its spec by a deep copy, which the base does not need.
    for layer in reversed(layers):
        if not isinstance(layer, gym.Wrapper | VectorWrapper) and layer.spec is not None:
            return layer.spec.id
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
