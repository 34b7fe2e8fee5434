"""A language model writes the goal planner: design, implementation, reflection, repair."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import AuthoringError, InvalidOptionError
from llm_wrappers.llm import LLM
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.sandbox import ValidationReport, validate_planner

__all__ = ["PlannerDraft", "describe_facts", "write_planner"]

_CODE = re.compile(r"```[a-zA-Z]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_CLASS = "OptimizedGoalGenerator"
_SAMPLES = 4
# The most recorded states that a version is tried on.
_MOST_STATES = 600
_MOST_VALUES = 8
_NO_CODE = f"The answer has no Python code block that defines the class {_CLASS}."


@dataclass
class PlannerDraft:
    """A planner as a model wrote it, with what it took.

    Args:
        source: The last version of the module.
        report: What its validation found; None if there was no code to validate.
        rounds: How many repairs were asked for.
        failures: Kind of finding -> in how many versions it occurred.
        prompt_sha256: Template name -> hash.
    """

    source: str = ""
    report: ValidationReport | None = None
    rounds: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    prompt_sha256: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the planner may be used."""
        return self.report is not None and self.report.ok


def write_planner(
    llm: LLM,
    description: EnvDescription,
    states: Sequence[Mapping[str, Any]],
    *,
    goals: Sequence[str] | None = None,
    repairs: int = 3,
    more_states: Callable[[str], Sequence[Mapping[str, Any]]] | None = None,
) -> PlannerDraft:
    """Have a model write a goal planner, and check it until it may be used.

    SGRL (arXiv 2509.22008, appendix B.3) asks in three stages: design, implementation, reflection
    and revision. Its prompts are not published; these are ours. The code is validated out of
    process on recorded and made-up states, and what is wrong goes back to the model.

    Args:
        llm: The client; its calls count as ``"plan"``.
        description: Rules, action names and goals of the environment.
        states: Recorded states: see `record_states`.
        goals: The goal vocabulary; None for that of the description.
        repairs: How often the code may be sent back (our choice).
        more_states: Called once, with the source of the first version that passes; from then on
            the code must also pass on the states it returns, such as those that play guided by
            this version meets.

    Raises:
        InvalidOptionError: If there are no goals or no states.
        AuthoringError: If the code still fails after the last repair; holds the draft.
        LLMWrappersError: As `LLM.ask` says.
    """
    vocabulary = tuple(description.goals if goals is None else goals)
    if not vocabulary or not states:
        raise InvalidOptionError(
            f"expected goals and recorded states, got {len(vocabulary)} and {len(states)}; pass "
            "goals=[...] where the environment describes none"
        )
    talk = _Talk(llm)
    contract = PromptTemplate.packaged("sgrl/contract").fill()
    talk.ask("sgrl/design", **_situation(description, vocabulary, states))
    talk.ask("sgrl/implementation", contract=contract)
    answer = talk.ask("sgrl/reflection")
    draft = PlannerDraft(prompt_sha256=talk.versions)
    for draft.rounds in range(repairs + 1):
        problems = _check(draft, answer, states, vocabulary)
        if draft.ok and more_states is not None:
            states, more_states = [*states, *more_states(draft.source)], None
            problems = _check(draft, answer, states, vocabulary)
        if draft.ok:
            return draft
        if draft.rounds < repairs:
            answer = talk.ask("sgrl/repair", problems=problems, contract=contract)
    raise AuthoringError(
        f"{llm.model} wrote no planner that passes the checks, after {repairs} repairs "
        f"(failures by kind: {dict(draft.failures)}); the last ones:\n{problems}",
        draft=draft,
    )


class _Talk:
    """A conversation with the model, each turn of which is cached for itself."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._messages: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}

    def ask(self, name: str, **values: str) -> str:
        template = PromptTemplate.packaged(name)
        self.versions[name] = template.version
        self._messages.append({"role": "user", "content": template.fill(**values)})
        answer = self._llm.ask(self._messages, purpose="plan", prompt_version=template.version)
        text = _without_half_characters(answer.text)
        self._messages.append({"role": "assistant", "content": text})
        return text


def _without_half_characters(text: str) -> str:
    # JSON can bring half of a surrogate pair, which no further question could hold.
    return text.encode("utf-8", "replace").decode()


def _check(
    draft: PlannerDraft, answer: str, states: Sequence[Mapping[str, Any]], goals: Sequence[str]
) -> str:
    source = _code_in(answer)
    if source is None:
        draft.failures["no code"] += 1
        return _NO_CODE
    draft.source = source
    draft.report = validate_planner(source, states, goals=goals, most_states=_MOST_STATES)
    draft.failures.update({finding.kind for finding in draft.report.findings})
    return draft.report.for_model()


def _code_in(answer: str) -> str | None:
    """Return the last code block with the class, or the whole answer if it is the module itself."""
    blocks = [block for block in _CODE.findall(answer) if _CLASS in block]
    if blocks:
        return str(blocks[-1])
    return answer if f"class {_CLASS}" in answer and "```" not in answer else None


def _situation(
    description: EnvDescription, goals: Sequence[str], states: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    step = max(1, len(states) // _SAMPLES)
    return {
        "env_id": description.env_id,
        "rules": description.rules,
        "actions": ", ".join(description.action_names) or "continuous",
        "goals": "\n".join(f"- {goal}" for goal in goals),
        "meaning": description.facts or "Their names say what they mean.",
        "facts": describe_facts(states),
        "samples": "\n".join(
            json.dumps(dict(state), default=list) for state in states[::step][:_SAMPLES]
        ),
    }


def describe_facts(states: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per fact of recorded states: its name, its type, and the values seen."""
    names = dict.fromkeys(name for state in states for name in state)
    return "\n".join(
        f"- `{name}`: {_described([state[name] for state in states if name in state])}"
        for name in names
    )


def _described(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    text = _kind(known) if known else "None in all situations so far"
    return f"{text}, or None" if known and len(known) < len(values) else text


def _kind(values: Sequence[Any]) -> str:
    first = values[0]
    if isinstance(first, bool):
        return "True or False"
    if isinstance(first, int | float):
        name = "whole number" if all(isinstance(value, int) for value in values) else "number"
        return f"{name}, {min(values):.4g} to {max(values):.4g}"
    if isinstance(first, str):
        return f"text, one of {_listed(set(values))}"
    if isinstance(first, tuple | list | frozenset | set):
        return f"{type(first).__name__} of {_listed({item for value in values for item in value})}"
    return type(first).__name__


def _listed(values: set[Any]) -> str:
    shown = [repr(value) for value in sorted(values, key=repr)]
    if len(shown) > _MOST_VALUES:
        shown = [*shown[:_MOST_VALUES], "..."]
    return ", ".join(shown) or "nothing so far"
