"""Names of judges, resolved in one place."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judge import FunctionJudge, Judge, JudgeFunction
from llm_wrappers.guidance.judges.ablations import (
    ConstantJudge,
    NegatedJudge,
    NoisyJudge,
    RandomJudge,
    RuleJudge,
)
from llm_wrappers.guidance.judges.table import TableJudge
from llm_wrappers.guidance.potential import (
    FunctionPotential,
    Potential,
    PotentialFunction,
    RulePotential,
)
from llm_wrappers.known_worlds import Known, load
from llm_wrappers.registry import Registry

__all__ = ["JUDGES", "resolve_judge", "resolve_potential"]

_RULES, _ORACLES, _PHIS = Known("judge"), Known("oracle"), Known("potential")
_JUDGED_ACTIONS = Known("judged_actions")


def resolve_judge(judge: str | Judge | JudgeFunction, *, description: Any) -> Judge:
    """Return the judge that an object, a plain function or a name stands for.

    Args:
        judge: ``"reference"``, a rule written by hand; ``"oracle"``, the best judge that is known:
            exact for Blackjack and FrozenLake as registered, elsewhere the reference, which for
            pocket watches and the household is exact as well; ``"anti-oracle"``, its opposite;
            ``"noisy:0.2"``, the oracle with a fifth of its judgements turned; ``"random"``;
            ``"constant:1"``; ``"none"``; ``"file:PATH"``, a saved `TableJudge`; a prefix that an
            installed package registers under the entry point group ``llm_wrappers.judges``, such
            as ``"llm:MODEL"``.
        description: The `EnvDescription` of the environment.

    Raises:
        UnknownNameError: If no resolver knows the name, or none for this environment.
        InvalidOptionError: If the number in a name is none that works.
        GuidanceFileError: If a file is missing or holds no table.
    """
    return JUDGES.resolve(judge, description=description)


def resolve_potential(
    potential: str | Potential | PotentialFunction, *, description: Any
) -> Potential:
    """Return the potential that an object, a plain function or a name stands for.

    Args:
        potential: ``"reference"``, a rule written by hand; ``"none"``, 0 everywhere; a prefix that
            an installed package registers under the entry point group
            ``llm_wrappers.potentials``, such as ``"llm:MODEL"``.
        description: The `EnvDescription` of the environment.

    Raises:
        UnknownNameError: If no resolver knows the name, or none for this environment.
    """
    return _POTENTIALS.resolve(potential, description=description)


def _zero(facts: Any) -> float:
    return 0.0


def _oracle(description: Any, name: str = "oracle") -> Judge:
    exact = _ORACLES.get(description.env_id)
    judge: Judge = load(exact)(description.env_id) if exact else _reference(description, name)
    return judge


def _reference(description: Any, name: str = "reference") -> Judge:
    rule = _shipped(_RULES, description.env_id, name)
    names = _JUDGED_ACTIONS.get(description.env_id)
    known, found = load(names) if names else (), tuple(description.action_names)
    if known and found and found != known:
        raise UnknownNameError(
            f"{name!r} knows the actions {list(known)} of {description.env_id}, got "
            f"{list(found)}; make the environment without full_action_space"
        )
    return RuleJudge(rule)


def _shipped(rules: Known, env_id: str, name: str) -> Any:
    if env_id not in rules:
        raise UnknownNameError(
            f"{name!r} ships for {sorted(rules)} and not for "
            f"{env_id or 'this environment'!r}; give an object, a function or a file"
        )
    return load(rules[env_id])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOptionError(f"expected a number behind the colon, got {text!r}") from None


JUDGES: Registry[Judge] = Registry(
    "judge",
    Judge,
    "an object with judge(states, actions), a function of these that returns -1, 0, +1 or None "
    'for each, or a name such as "oracle"',
    adapt=FunctionJudge,
    names={
        "reference": lambda _, description: _reference(description),
        "oracle": lambda _, description: _oracle(description),
        "anti-oracle": lambda _, description: NegatedJudge(_oracle(description, "anti-oracle")),
        "noisy:SHARE": lambda rest, description: NoisyJudge(
            _oracle(description, f"noisy:{rest}"), _number(rest)
        ),
        "random": lambda _, description: RandomJudge(),
        "constant:-1|0|1": lambda rest, description: ConstantJudge(int(_number(rest))),
        "none": lambda _, description: ConstantJudge(0),
        "file:TABLE.json": lambda rest, description: TableJudge.load(rest),
    },
    group="llm_wrappers.judges",
)
"""What stands for a judge."""

_POTENTIALS: Registry[Potential] = Registry(
    "potential",
    Potential,
    "an object with values(states), a function of states that returns a number or None for each, "
    'or a name such as "reference"',
    adapt=FunctionPotential,
    names={
        "reference": lambda _, description: RulePotential(
            _shipped(_PHIS, description.env_id, "reference")
        ),
        "none": lambda _, description: RulePotential(_zero),
    },
    group="llm_wrappers.potentials",
)
