"""Names of judges, resolved in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.guidance._registered import registered
from llm_wrappers.guidance.judge import Judge, JudgeFunction, as_judge
from llm_wrappers.guidance.judges.ablations import (
    ConstantJudge,
    NegatedJudge,
    NoisyJudge,
    RandomJudge,
)
from llm_wrappers.guidance.judges.exact import BlackjackOracle, FrozenLakeOracle
from llm_wrappers.guidance.judges.reference import REFERENCE_ACTIONS, REFERENCE_RULES
from llm_wrappers.guidance.judges.reference_potentials import REFERENCE_POTENTIALS
from llm_wrappers.guidance.judges.rule import RuleJudge
from llm_wrappers.guidance.judges.table import TableJudge
from llm_wrappers.guidance.potential import (
    Potential,
    PotentialFunction,
    RulePotential,
    as_potential,
)

__all__ = ["resolve_judge", "resolve_potential"]

_Rule = TypeVar("_Rule")
_JUDGES = "llm_wrappers.judges"
_POTENTIALS = "llm_wrappers.potentials"
_NAMES = (
    "reference, oracle, anti-oracle, noisy:SHARE, random, constant:-1|0|1, none, file:TABLE.json"
)
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
    if not isinstance(judge, str):
        return as_judge(judge)
    prefix, _, rest = judge.partition(":")
    if judge == "reference":
        return _reference(description, judge)
    if judge == "oracle":
        return _oracle(description, judge)
    if judge == "anti-oracle":
        return NegatedJudge(_oracle(description, judge))
    if judge == "random":
        return RandomJudge()
    if judge == "none":
        return ConstantJudge(0)
    if prefix == "noisy":
        return NoisyJudge(_oracle(description, judge), _number(rest, judge))
    if prefix == "constant":
        return ConstantJudge(int(_number(rest, judge)))
    if prefix == "file":
        return TableJudge.load(rest)
    found: Judge = registered(_JUDGES, judge, known=_NAMES, context={"description": description})
    return found


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
    if not isinstance(potential, str):
        return as_potential(potential)
    if potential == "none":
        return RulePotential(_zero)
    if potential == "reference":
        rules = REFERENCE_POTENTIALS
        return RulePotential(_shipped(rules, description.env_id, potential))
    found: Potential = registered(
        _POTENTIALS, potential, known="reference, none", context={"description": description}
    )
    return found


def _zero(facts: Any) -> float:
    return 0.0


def _oracle(description: Any, name: str) -> Judge:
    exact = _EXACT.get(description.env_id)
    return _reference(description, name) if exact is None else exact()


def _reference(description: Any, name: str) -> Judge:
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


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOptionError(f"expected a number behind the colon, got {name!r}") from None
