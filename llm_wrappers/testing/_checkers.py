"""Point 3: the checkers of Gymnasium and Stable-Baselines3."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

from gymnasium.utils.env_checker import check_env

from llm_wrappers.testing._rollout import AnyEnv
from llm_wrappers.testing._subject import Subject
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_with_checkers", "passes_sb3"]


def check_with_checkers(subject: Subject) -> None:
    """The wrapped environment passes every checker that the environment alone passes."""
    _check(subject, "gymnasium", _gymnasium)
    if find_spec("stable_baselines3") is None:
        subject.skip(Point.ENVIRONMENT_CHECKERS, "stable_baselines3 is not installed")
    else:
        _check(subject, "stable_baselines3", _sb3)


def passes_sb3(env: AnyEnv) -> bool:
    """Return whether SB3 is installed and can use this environment."""
    return find_spec("stable_baselines3") is not None and _fault(_sb3, env) is None


def _check(subject: Subject, package: str, checker: Callable[[AnyEnv], None]) -> None:
    fault = _fault(checker, subject.make_env())
    if fault is not None:
        subject.skip(
            Point.ENVIRONMENT_CHECKERS,
            f"the environment alone does not pass the checker of {package}: {fault}",
        )
        return
    fault = _fault(checker, subject.make())
    if fault is not None:
        raise ConformanceError(
            Point.ENVIRONMENT_CHECKERS,
            f"to pass the check_env of {package}, as the environment alone does",
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


def _gymnasium(env: AnyEnv) -> None:
    check_env(env, skip_render_check=True, skip_close_check=True)


def _sb3(env: AnyEnv) -> None:
    from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

    check_env_of_sb3(env, warn=False, skip_render_check=True)
