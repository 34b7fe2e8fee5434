"""Names of correctors, resolved in one place."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.corrector import Corrector
from llm_wrappers.guidance.critical.correctors._advice import split_part
from llm_wrappers.guidance.critical.correctors.judged import JudgeCorrector
from llm_wrappers.guidance.critical.correctors.random import RandomCorrector
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.registry import Registry

__all__ = ["ENTRY_POINTS", "resolve_corrector"]

ENTRY_POINTS = "llm_wrappers.correctors"
"""The group of entry points with which a package makes a name known.

The value is a function ``load(rest, *, description, action_space, model, env, seed) -> Corrector``,
where `rest` is what stands behind the colon, empty where there is none.
"""


def resolve_corrector(
    corrector: str | Corrector,
    *,
    description: Any = None,
    action_space: Any = None,
    model: Any = None,
    env: Any = None,
    seed: int = 0,
) -> Corrector:
    """Return the corrector that an object or a name stands for.

    Args:
        corrector: ``"judge:NAME"``, the best action by a judge that `resolve_judge` knows;
            ``"reference"``, short for ``"judge:reference"``, a rule written by hand; ``"random"``;
            or a name that an installed package registers under the entry point group
            ``llm_wrappers.correctors``. This package registers ``"policy:PATH.zip"``, which needs
            Stable-Baselines3. With a Dict observation the entry that tells states apart stands
            behind a name, as in ``"reference?part=obs"``.
        description: The `EnvDescription` of the environment, for judges.
        action_space: Its action space; None for that of `env`, else of `model`.
        model: The model that played the episodes, for the names that need it.
        env: An environment like that in which they were played, likewise.
        seed: Of what is drawn.

    Raises:
        UnknownNameError: If no resolver knows the name, or none for this environment.
        InvalidOptionError: If it is no corrector, or something that the name needs is not given.
        IncompatibleEnvironmentError: If actions of this space cannot be advised so.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions import EnvDescription
    >>> described = EnvDescription(env_id="CartPole-v1", rules="")
    >>> pushes = gym.spaces.Discrete(2)
    >>> resolve_corrector("reference", description=described, action_space=pushes).judge
    <llm_wrappers.guidance.judges.ablations.RuleJudge object at ...>
    """
    context = {
        "description": description,
        "action_space": _space(action_space, env, model),
        "model": model,
        "env": env,
        "seed": seed,
    }
    if isinstance(corrector, str):
        name, part = split_part(corrector)
        # The names of packages read the part themselves, with what else stands in their query.
        if name in _CORRECTORS:
            return _CORRECTORS.resolve(name, part=part, **context)
    return _CORRECTORS.resolve(corrector, **context)


def _random(rest: str, *, part: str | None, **context: Any) -> Corrector:
    space = _needed("random", "action_space", context)
    return RandomCorrector(space, seed=context["seed"], part=part)


def _judged(judge: str, *, part: str | None, **context: Any) -> Corrector:
    name = f"judge:{judge}"
    described = _needed(name, "description", context)
    space = _needed(name, "action_space", context)
    return JudgeCorrector(resolve_judge(judge, description=described), space, part=part)


def _space(action_space: Any, env: Any, model: Any) -> Any:
    """Return the action space of one environment, from what of these is given."""
    if action_space is not None:
        return action_space
    source = model if env is None else env
    single = getattr(source, "single_action_space", None)
    return getattr(source, "action_space", None) if single is None else single


def _needed(name: str, what: str, context: dict[str, Any]) -> Any:
    if context[what] is None:
        raise InvalidOptionError(f"the corrector {name!r} needs {what}=..., got None; give it")
    return context[what]


_CORRECTORS: Registry[Corrector] = Registry(
    "corrector",
    Corrector,
    "an object with correct(trajectories, moments), or a name such as 'reference'",
    names={
        "reference": lambda _, **context: _judged("reference", **context),
        "judge:NAME": _judged,
        "random": _random,
    },
    group=ENTRY_POINTS,
)
