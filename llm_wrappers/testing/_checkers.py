"""Point 3: what the checkers of Gymnasium and Stable-Baselines3 ask for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from gymnasium.utils.env_checker import check_env

from llm_wrappers.testing._rollout import AnyEnv, rollout
from llm_wrappers.testing._subject import Subject
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_with_checkers", "passes_sb3"]


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


def passes_sb3(env: AnyEnv) -> bool:
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
