"""The guidance state of a whole stack in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.storage.whole_file import write_whole
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._layers import (
    ask_sub_environments,
    layers_of,
    load_sub_environments,
)

__all__ = ["load_guidance", "save_guidance"]

_FORMAT = "llm_wrappers/guidance-state"
_VERSION = 1


def save_guidance(env: Any, path: str | Path) -> None:
    """Write what outlives an episode in every layer of ours to one JSON file.

    Counters, trust, the training progress, goal factors and random streams: what a model's own
    checkpoint does not hold, because it saves no environment. A run that is built again, loads
    both and resets its environments goes on as if it had not been interrupted.

    Args:
        env: An environment, a vector environment, or a `VecEnv` of Stable-Baselines3.
        path: The file, written whole or not at all.

    Raises:
        IncompatibleEnvironmentError: If no layer of ours is in it.
        GuidanceFileError: If the file cannot be written.

    >>> import tempfile
    >>> from llm_wrappers import RewardShiftWrapper
    >>> env = RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference")
    >>> env.set_progress(0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_guidance(env, f"{folder}/guidance.json")
    ...     other = RewardShiftWrapper(gym.make("CartPole-v1"), judge="reference")
    ...     load_guidance(other, f"{folder}/guidance.json")
    >>> other.state_dict()["progress"]
    0.5
    """
    document = {"format": _FORMAT, "version": _VERSION, "stacks": _states(env)}
    write_whole(Path(path), json.dumps(document))


def load_guidance(env: Any, path: str | Path) -> None:
    """Restore what `save_guidance` wrote, into a stack of the same layers.

    Args:
        env: An environment, a vector environment, or a `VecEnv` of Stable-Baselines3.
        path: The file.

    Raises:
        IncompatibleEnvironmentError: If no layer of ours is in it.
        GuidanceFileError: If the file cannot be read, or is no such file.
        InvalidOptionError: If it is the state of another stack.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GuidanceFileError(f"cannot read the guidance state in {path}: {error}") from error
    known = isinstance(document, dict) and document.get("format") == _FORMAT
    if not known or not isinstance(document.get("stacks"), list):
        raise GuidanceFileError(f"{path} holds no guidance state; give a file of save_guidance")
    if document.get("version") != _VERSION:
        raise GuidanceFileError(
            f"{path} is of version {document.get('version')!r}, and this is version {_VERSION}; "
            "read it with the release that wrote it"
        )
    _load(env, document["stacks"], path)


def _states(env: Any) -> list[Any]:
    """Return one state for each sub-environment of a `VecEnv`, else one in a list."""
    top = _top(env)
    if top is not None:
        return [top.guidance_state()]
    if isinstance(env, gym.vector.VectorEnv):
        inside = ask_sub_environments(env, "guidance_state")
        return [[{"sub_environments": list(inside or ())}]]
    if not _is_vec_env(env):
        raise _nothing_to_save(env)
    states: list[Any] = env.env_method("guidance_state")
    # A bridge to a vector environment repeats the state that all have in common.
    return states[:1] if _is_one_stack(env) else states


def _load(env: Any, states: Sequence[Any], path: Path) -> None:
    top = _top(env)
    if top is None and isinstance(env, gym.vector.VectorEnv):
        is_such = len(states) == 1 and isinstance(states[0], list) and len(states[0]) == 1
        state = states[0][0] if is_such else None
        if not isinstance(state, dict) or state.keys() != {"sub_environments"}:
            raise InvalidOptionError(
                f"expected the state of layers in sub-environments alone, got another in {path}; "
                "wrap the environment as it was when the state was saved"
            )
        load_sub_environments(env, state["sub_environments"])
        return
    is_one = top is not None or (_is_vec_env(env) and _is_one_stack(env))
    if top is None and not _is_vec_env(env):
        raise _nothing_to_save(env)
    expected = 1 if is_one else env.num_envs
    if len(states) != expected:
        raise GuidanceFileError(
            f"expected the states of {expected} environments, got {len(states)} in {path}"
        )
    if top is not None:
        top.load_guidance_state(states[0])
    elif is_one:
        env.env_method("load_guidance_state", states[0], indices=[0])
    else:
        for row, state in enumerate(states):
            env.env_method("load_guidance_state", state, indices=[row])


def _top(env: Any) -> Layer | None:
    """Return the outermost layer of ours; None where all are inside of sub-environments."""
    if not isinstance(env, gym.Env | gym.vector.VectorEnv):
        return None
    for layer in layers_of(env):
        if isinstance(layer, Layer):
            return layer
    if isinstance(env, gym.Env) or ask_sub_environments(env, "guidance_state") is None:
        raise _nothing_to_save(env)
    return None


def _is_vec_env(env: Any) -> bool:
    # By its methods: Stable-Baselines3 need not be installed.
    if not hasattr(env, "env_method") or not hasattr(env, "has_attr"):
        return False
    if not env.has_attr("guidance_state"):
        raise _nothing_to_save(env)
    return True


def _is_one_stack(env: Any) -> bool:
    """Return whether a `VecEnv` is a bridge around one vector environment with layers of ours."""
    inner = getattr(getattr(env, "unwrapped", env), "vector_env", None)
    return inner is not None and any(isinstance(layer, Layer) for layer in layers_of(inner))


def _nothing_to_save(env: Any) -> IncompatibleEnvironmentError:
    return IncompatibleEnvironmentError(
        f"expected an environment with a wrapper of llm_wrappers, whose state can be saved, got "
        f"{env}"
    )
