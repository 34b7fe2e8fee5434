"""Points 3 and 10: what Gymnasium and Stable-Baselines3 ask of a wrapper, and put around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array

from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._subject import AnyEnv, Run, Subject, require_alike, rollout
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_stacks", "check_with_checkers"]


def check_with_checkers(subject: Subject) -> None:
    """The wrapped environment passes every check that the environment alone passes."""
    # Gymnasium's only warns of observations outside the space.
    _check(subject, "to observe what is in its observation space", partial(_observe, subject))
    # SB3 asks for these types of Python, not of numpy.
    _check(subject, "to return a float and two bools with a step", partial(_step, subject))
    _check(subject, "to pass gymnasium's check_env", _gymnasium)
    if find_spec("stable_baselines3") is None:
        subject.skip(Point.ENVIRONMENT_CHECKERS, "stable_baselines3 is not installed")
    else:
        _check(subject, "to pass stable_baselines3's check_env", _sb3)


def _passes_sb3(env: AnyEnv) -> bool:
    """Return whether SB3 is installed and can use this environment."""
    return find_spec("stable_baselines3") is not None and _fault(_sb3, env) is None


def _check(subject: Subject, rule: str, checker: Callable[[AnyEnv], None]) -> None:
    fault = _fault(checker, subject.make_env())
    if fault is not None:
        subject.skip(
            Point.ENVIRONMENT_CHECKERS, f"{rule} is more than the environment alone does: {fault}"
        )
        return
    fault = _fault(checker, subject.make())
    if fault is not None:
        raise ConformanceError(
            Point.ENVIRONMENT_CHECKERS,
            f"{rule}, as the environment alone does",
            got=f"{type(fault).__name__}: {fault}",
        ) from fault


def _fault(checker: Callable[[AnyEnv], None], env: AnyEnv) -> Exception | None:
    with warnings.catch_warnings():
        # They warn of wrappers as such, and of the spaces of the environment alone.
        warnings.simplefilter("ignore")
        try:
            checker(env)
        except Exception as error:
            return error
        finally:
            env.close()
    return None


def _observe(subject: Subject, env: AnyEnv) -> None:
    for seen in rollout(env, subject.actions(env), subject.seed):
        if seen["observation"] not in env.observation_space:
            raise ValueError(f"{seen['observation']} is not in {env.observation_space}")


def _step(subject: Subject, env: AnyEnv) -> None:
    for seen in rollout(env, subject.actions(env), subject.seed):
        ends = [seen[name] for name in ("terminated", "truncated") if name in seen]
        if not isinstance(seen.get("reward", 0.0), float | int):
            raise TypeError(f"the reward is a {type(seen['reward']).__name__}")
        if not all(isinstance(end, bool) for end in ends):
            raise TypeError(f"the ends are of {[type(end).__name__ for end in ends]}")


def _gymnasium(env: AnyEnv) -> None:
    check_env(env, skip_render_check=True, skip_close_check=True)


def _sb3(env: AnyEnv) -> None:
    from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

    check_env_of_sb3(env, warn=False, skip_render_check=True)


# --- point 10 ---

_COPIES = 2
_ADVICE = "do two copies share something?"
_error = partial(ConformanceError, Point.STACKS)


def check_stacks(subject: Subject) -> None:
    """Two of it beside each other in a vector environment behave as each does alone."""
    alone = _alone(subject, same_step=True)
    if subject.make_env().spec is None:
        subject.skip(Point.STACKS, "make_vec was left out, because make_env gives no spec")
    else:
        _check_make_vec(subject, AutoresetMode.NEXT_STEP, _alone(subject, same_step=False))
        _check_make_vec(subject, AutoresetMode.SAME_STEP, alone)
    if _passes_sb3(subject.make_env()):
        _check_sb3(subject, alone)
    else:
        subject.skip(Point.STACKS, "SB3 is not installed or cannot use the environment alone")


def _check_make_vec(subject: Subject, mode: AutoresetMode, alone: list[Any]) -> None:
    envs = gym.make_vec(
        subject.make_env().spec,  # type: ignore[arg-type]  # it has one, or this is not called
        num_envs=_COPIES,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        wrappers=[subject.factory],  # type: ignore[list-item]  # it may return any environment
    )
    rule = f"the same in make_vec with autoreset {mode.value} as alone"
    observations, infos = envs.reset(seed=subject.seed)
    _compare(rule, alone[0], observations, np.zeros(_COPIES))
    _compare_infos(rule, alone[0], infos)
    for expected, actions in zip(alone[1:], _actions(subject), strict=True):
        batch = _batch(envs.single_action_space, actions)
        observations, rewards, _, _, infos = envs.step(batch)
        _compare(rule, expected, observations, rewards)
        _compare_infos(rule, expected, infos)
    envs.close()


def _check_sb3(subject: Subject, alone: list[Any]) -> None:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

    def make() -> Any:
        return Monitor(subject.make())

    kinds: dict[str, type[Any]] = {"DummyVecEnv": DummyVecEnv}
    if subject.subprocesses:
        kinds["SubprocVecEnv"] = SubprocVecEnv
    for name, kind in kinds.items():
        envs: VecEnv = kind([make] * _COPIES)
        _check_vec_env(f"the same in a {name} as alone", subject, envs, alone)
        envs.close()
    _check_normalised(subject, VecNormalize, DummyVecEnv([make] * _COPIES))


def _check_vec_env(rule: str, subject: Subject, envs: Any, alone: list[Any]) -> None:
    envs.seed(subject.seed)
    _compare(rule, alone[0], envs.reset(), np.zeros(_COPIES))
    for expected, actions in zip(alone[1:], _actions(subject), strict=True):
        observations, rewards, dones, infos = envs.step(_batch(envs.action_space, actions))
        _compare(rule, expected, observations, rewards)
        for done, info in zip(dones, infos, strict=True):
            if bool(done) != ("episode" in info):
                raise _error("a Monitor around it to see each end of an episode", got=info)
    one = subject.make()
    for method in ("stats", "state_dict", *subject.readings):
        if one.has_wrapper_attr(method) and len(envs.env_method(method)) != _COPIES:
            raise _error(f"env_method({method!r}) to reach every copy", got="fewer answers")


def _check_normalised(subject: Subject, vec_normalize: Any, envs: Any) -> None:
    space = envs.observation_space
    boxes = [
        key
        for key, part in (space.items() if isinstance(space, gym.spaces.Dict) else ())
        if isinstance(part, gym.spaces.Box) and part.dtype.kind == "f"
    ]
    envs = vec_normalize(
        envs,
        norm_obs=bool(boxes) or isinstance(space, gym.spaces.Box),
        norm_obs_keys=boxes or None,
    )
    envs.reset()
    for actions in _actions(subject):
        _, rewards, _, _ = envs.step(_batch(envs.action_space, actions))
        if not np.isfinite(rewards).all():
            raise _error("finite rewards from a VecNormalize around it", got=rewards)
    envs.close()


def _alone(subject: Subject, *, same_step: bool) -> list[list[dict[str, Any]]]:
    """Return what each copy should show after the reset and each step, without vectorising."""
    shown = []
    for index in range(_COPIES):
        run = Run(subject.make(), ())
        seen = [{**run.reset(subject.seed + index), "reward": 0.0}]
        for actions in _actions(subject):
            # With autoreset at the next step, that step only shows the new episode.
            step = run.reset(None) if run.over else next(iter(run.steps([actions[index]])))
            step.setdefault("reward", 0.0)
            if same_step and run.over:
                step = {**run.reset(None), "reward": step["reward"]}
            seen.append(step)
        shown.append(seen)
    return [list(moment) for moment in zip(*shown, strict=True)]


def _actions(subject: Subject) -> list[tuple[Any, ...]]:
    # Other actions for each copy, so that copies that share something are told apart.
    actions = subject.actions()
    return list(zip(actions, reversed(actions), strict=True))


def _batch(space: gym.Space[Any], parts: Sequence[Any]) -> Any:
    empty: Any = create_empty_array(space, n=len(parts), fn=np.zeros)
    return concatenate(space, list(parts), empty)


def _compare(rule: str, expected: list[dict[str, Any]], observations: Any, rewards: Any) -> None:
    single = [each["observation"] for each in expected]
    if isinstance(single[0], dict):
        batch: Any = {key: np.stack([each[key] for each in single]) for key in single[0]}
        observations = dict(observations)
    elif isinstance(single[0], np.ndarray | np.generic | int):
        batch = np.stack([np.asarray(each) for each in single])
    else:
        batch = observations
    found = difference(_arrays(batch), _arrays(observations), "observation")
    require_alike(Point.STACKS, rule, found, _ADVICE)
    if not np.allclose([each["reward"] for each in expected], rewards, rtol=1e-5):
        raise _error(
            f"{rule}; the rewards should be {[e['reward'] for e in expected]}", got=rewards
        )


def _arrays(batch: Any) -> Any:
    # SB3 has dtypes of its own for some spaces; what counts are the values.
    if isinstance(batch, dict):
        return {key: _arrays(part) for key, part in batch.items()}
    plain = isinstance(batch, np.ndarray) and batch.dtype.kind in "iubf"
    return batch.astype(np.float64) if plain else batch


def _compare_infos(rule: str, expected: list[dict[str, Any]], infos: dict[str, Any]) -> None:
    for index, each in enumerate(expected):
        for key, value in each["info"].items():
            if isinstance(value, dict):
                continue
            if not infos.get(f"_{key}", np.zeros(_COPIES, bool))[index]:
                raise _error(f"{rule}; infos[{key!r}][{index}] should be {value!r}", got="nothing")
            found = difference(
                np.asarray(value).tolist(), np.asarray(infos[key][index]).tolist(), f"info[{key!r}]"
            )
            require_alike(Point.STACKS, rule, found, _ADVICE)
