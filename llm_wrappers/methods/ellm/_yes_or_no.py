"""How sure a model is of its Yes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.llm import Completion

__all__ = ["yes_probability"]

_ABSENT = -100.0
_AROUND = " \t\n.,:;!*_`\"'"
_WORD = re.compile(r"[a-z]+")
_THOUGHTS = "</think>"


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
    first = next((token for token in tokens if _plain(token["token"])), None)
    if first is None:
        return None
    candidates = {str(c["token"]): float(c["logprob"]) for c in first.get("top_logprobs") or ()}
    candidates.setdefault(str(first["token"]), float(first["logprob"]))
    yes, no = _log_sum(candidates, "yes"), _log_sum(candidates, "no")
    if yes == no == _ABSENT:
        return None
    return 1 / (1 + math.exp(no - yes))


def _log_sum(candidates: Mapping[str, float], word: str) -> float:
    mass = sum(math.exp(value) for token, value in candidates.items() if _plain(token) == word)
    return math.log(mass) if mass > math.exp(_ABSENT) else _ABSENT


def _from_text(text: str) -> float | None:
    words = _WORD.findall(text.rpartition(_THOUGHTS)[2].lower())
    said = [word for word in words if word in ("yes", "no")]
    if not said or (words[0] not in ("yes", "no") and len(set(said)) > 1):
        return None
    return 1.0 if said[0] == "yes" else 0.0


def _plain(token: str) -> str:
    return token.strip(_AROUND).lower()
