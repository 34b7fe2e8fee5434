"""Names of judges, resolved in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judge import FunctionJudge, Judge, JudgeFunction
from llm_wrappers.guidance.judges.ablations import (
    ConstantJudge,
    NegatedJudge,
    NoisyJudge,
    RandomJudge,
)
from llm_wrappers.guidance.judges.rule import RuleJudge
from llm_wrappers.guidance.judges.table import TableJudge
from llm_wrappers.guidance.potential import (
    FunctionPotential,
    Potential,
    PotentialFunction,
    RulePotential,
)
from llm_wrappers.registry import Registry
from llm_wrappers.worlds.classic.judges import REFERENCE_ACTIONS, REFERENCE_RULES
from llm_wrappers.worlds.classic.potentials import REFERENCE_POTENTIALS
from llm_wrappers.worlds.toy_text.oracles import BlackjackOracle, FrozenLakeOracle

__all__ = ["JUDGES", "resolve_judge", "resolve_potential"]

_Rule = TypeVar("_Rule")
_EXACT: dict[str, Callable[[], Judge]] = {
    "Blackjack-v1": BlackjackOracle,
    "FrozenLake-v1": lambda: FrozenLakeOracle("FrozenLake-v1"),
    "FrozenLake8x8-v1": lambda: FrozenLakeOracle("FrozenLake8x8-v1"),
}


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
    exact = _EXACT.get(description.env_id)
    return _reference(description, name) if exact is None else exact()


def _reference(description: Any, name: str = "reference") -> Judge:
    rule = _shipped(REFERENCE_RULES, description.env_id, name)
    known = REFERENCE_ACTIONS.get(description.env_id)
    found = tuple(description.action_names)
    if known is not None and found and found != known:
        raise UnknownNameError(
            f"{name!r} knows the actions {list(known)} of {description.env_id}, got "
            f"{list(found)}; make the environment without full_action_space"
        )
    return RuleJudge(rule)


def _shipped(rules: Mapping[str, _Rule], env_id: str, name: str) -> _Rule:
    if env_id not in rules:
        raise UnknownNameError(
            f"{name!r} ships for {sorted(rules)} and not for "
            f"{env_id or 'this environment'!r}; give an object, a function or a file"
        )
    return rules[env_id]


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
            _shipped(REFERENCE_POTENTIALS, description.env_id, "reference")
        ),
        "none": lambda _, description: RulePotential(_zero),
    },
    group="llm_wrappers.potentials",
)
