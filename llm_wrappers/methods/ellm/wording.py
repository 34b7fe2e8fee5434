"""What ELLM shows to a model, and how goals are read in what it answers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.llm import Completion
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import FilledPrompt, one_line

__all__ = ["parse_goals", "suggester_prompt", "yes_probability"]

_THOUGHTS = "</think>"
_TRAILING = ('"""', "```")
_FENCE = re.compile(r"\s*(```|~~~).*")
_DASHED = re.compile(r"\s*-[-\s]*(?P<goal>.*)")
_LISTED = re.compile(r"\s*(?:[-+•\u2013\u2014]|\*\s|\(?\d{1,3}[.):](?!\d))[-\s]*(?P<goal>.*)")
_BOLD = re.compile(r"\*\*(?P<goal>[^*]+)\*\*.*")
_AROUND = " .\n\t"
_MARKUP = _AROUND + "*_`\"'"
_ABSENT = -100.0
_AROUND_TOKENS = " \t\n.,:;!*_`\"'"
_WORD = re.compile(r"[a-z]+")


def suggester_prompt(
    prompt: str | PromptTemplate, description: EnvDescription, *, changing: tuple[str, ...]
) -> FilledPrompt:
    """Return a prompt, or a packaged one by name, in which only the `changing` blanks are left.

    The description fills `env_id`, `rules`, `actions`, `goals` and `verbs`.

    """
    template = prompt if isinstance(prompt, PromptTemplate) else PromptTemplate.packaged(prompt)
    phrases = description.goals or description.action_names
    verbs = dict.fromkeys(phrase.split()[0] for phrase in phrases if phrase.split())
    fixed = {
        "env_id": description.env_id,
        "rules": description.rules,
        "actions": _listed(description.action_names),
        "goals": _listed(description.goals),
        "verbs": ", ".join(verbs) or "any",
    }
    return FilledPrompt(template, changing=changing, fixed=fixed)


def _listed(names: Iterable[str]) -> str:
    return "\n".join(f"- {name}" for name in names) or "- anything"


def parse_goals(text: str, *, strict: bool = False) -> tuple[str, ...] | None:
    r"""Read the goals in a model's answer.

    The rule of ELLM (arXiv 2302.06692): a code fence at the end is ignored, then every line that is
    not empty begins with a dash, or the answer counts as unreadable. Goals are lower-cased, freed
    of spaces and full stops at both ends, and named once, in the order of the answer. A dash within
    a goal belongs to it (our choice).

    Without `strict`, what today's chat models also write is read (our choice): ``*``, ``+``,
    bullets and numbers in place of the dash; bold, quotes and backticks around a goal, and after a
    bold goal an explanation; code fences anywhere; sentences before, between and after the goals;
    thoughts up to ``</think>``.

    Args:
        text: The answer.
        strict: Whether to hold it to ELLM's own rule.

    Returns:
        The goals; None for an answer that is unreadable or names none.

    >>> parse_goals("- Chop tree.\n- drink water\n- chop tree")
    ('chop tree', 'drink water')
    >>> parse_goals("Here are some goals:\n1. **Chop tree**: it gives wood\n2. drink water")
    ('chop tree', 'drink water')
    >>> parse_goals("Here are some goals:\n1. Chop tree", strict=True) is None
    True
    """
    goals = _strict_goals(text) if strict else _tolerant_goals(text)
    return tuple(dict.fromkeys(goal for goal in goals if goal)) or None


def _strict_goals(text: str) -> list[str]:
    goals = []
    for line in _without_end(text).splitlines():
        dashed = _DASHED.fullmatch(line)
        if dashed:
            goals.append(_cleaned(dashed["goal"], _AROUND))
        elif line.strip():
            return []
    return goals


def _tolerant_goals(text: str) -> Iterable[str]:
    answer = _without_end(text.rpartition(_THOUGHTS)[2])
    for line in answer.splitlines():
        listed = None if _FENCE.fullmatch(line) else _LISTED.fullmatch(line)
        if listed:
            goal = listed["goal"].strip()
            bold = _BOLD.fullmatch(goal)
            yield _cleaned(bold["goal"].rstrip(": ") if bold else goal, _MARKUP)


def _without_end(text: str) -> str:
    text = text.strip()
    for ending in _TRAILING:
        text = text.removesuffix(ending).rstrip()
    return text


def _cleaned(goal: str, around: str) -> str:
    return one_line(goal.lower()).strip(around)


def yes_probability(completion: Completion) -> float | None:
    """Return the probability of Yes against No, from 0 to 1; None for an answer that is neither.

    ELLM's closed form (arXiv 2302.06692): p = e^lp(Yes) / (e^lp(Yes) + e^lp(No)) from the log
    probabilities of the first token, with -100 for a word that is absent. Spellings of a word
    (``"Yes"``, ``" yes"``) are added up (our choice). Where neither word is there, or the provider
    gives no log probabilities, the text decides, with 1 or 0 (our choice).

    >>> top = [{"token": "No", "logprob": -0.2}, {"token": "Yes", "logprob": -1.8}]
    >>> first = {"token": "No", "logprob": -0.2, "top_logprobs": top}
    >>> round(yes_probability(Completion(text="No", logprobs=[first])), 3)
    0.168
    >>> yes_probability(Completion(text="Yes, it is late."))
    1.0
    """
    probability = _from_logprobs(completion.logprobs or ())
    return _from_text(completion.text) if probability is None else probability


def _from_logprobs(tokens: Sequence[Mapping[str, Any]]) -> float | None:
    first = next((token for token in tokens if _bare(token["token"])), None)
    if first is None:
        return None
    candidates = {str(c["token"]): float(c["logprob"]) for c in first.get("top_logprobs") or ()}
    candidates.setdefault(str(first["token"]), float(first["logprob"]))
    yes, no = _log_sum(candidates, "yes"), _log_sum(candidates, "no")
    if yes == no == _ABSENT:
        return None
    return 1 / (1 + math.exp(no - yes))


def _log_sum(candidates: Mapping[str, float], word: str) -> float:
    mass = sum(math.exp(value) for token, value in candidates.items() if _bare(token) == word)
    return math.log(mass) if mass > math.exp(_ABSENT) else _ABSENT


def _from_text(text: str) -> float | None:
    words = _WORD.findall(text.rpartition(_THOUGHTS)[2].lower())
    said = [word for word in words if word in ("yes", "no")]
    if not said or (words[0] not in ("yes", "no") and len(set(said)) > 1):
        return None
    return 1.0 if said[0] == "yes" else 0.0


def _bare(token: str) -> str:
    return token.strip(_AROUND_TOKENS).lower()
