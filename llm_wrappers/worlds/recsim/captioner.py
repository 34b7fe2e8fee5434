"""What is known of RecSim's interest evolution: its topics, captions, and the judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["TOPICS", "TOPIC_QUALITY", "InterestEvolutionCaptioner", "interest_evolution"]

TOPICS = 20
"""The number of topics."""

TOPIC_QUALITY = (*np.linspace(-3, 0, 14).tolist(), *np.linspace(0, 3, 6).tolist())
"""The mean quality of the videos of each topic, as RecSim sets it; single ones differ from it with
a standard deviation of 0.1. The first 14 topics are trashy, the others nutritious."""

_RULES = (
    "You recommend videos to one user. In each step you show a slate of {slate_size} out of "
    "{num_candidates} documents, and the user watches one of them or none: the likelier, the more "
    "the user is interested in its topic (from -1, disgust, to 1). A video takes 4 minutes, and "
    "you earn the minutes watched. The session begins with 200 minutes and ends when they are used "
    "up. Time grows with the quality of what is watched: a video of quality q costs about 4 - q "
    "minutes of the session, and half a minute is lost when nothing is watched. The quality "
    "depends on the topic: from -3 for topic 0 it rises to 0 for topic 13 (trash), and from 0 for "
    "topic 14 to 3 for topic 19 (nutritious). Watching a topic changes the interest in it. A "
    "document that is on a slate more than once is shown once."
)
_FACTS = (
    "document K topic, interest and quality are the topic of a document, the interest of the user "
    "in that topic (from -1 to 1), and the mean quality of videos of that topic (from -3 to 3). "
    "shown_topics is the last slate; watched_place is the place on it, from 0, of the video that "
    "was watched."
)
_KEYS = ("user", "documents", "shown", "clicked", "watch_time", "quality")
_LIKED, _DISLIKED = 3, 3
_DIGITS = 2


class InterestEvolutionCaptioner(StateByState):
    """Speaks about a user of RecSim's interest evolution, and the documents at hand.

    The facts are `candidates`, their number; for each document K ``document K topic`` (0 to 19),
    ``document K interest``, the interest of the user in that topic (-1 to 1), and
    ``document K quality``, the mean quality of the topic; `liked_topics` and `disliked_topics`, the
    three that interest the user most and least; and of the last slate `shown_topics`, and of what
    was watched the `watched_place` on the slate from 0, its `watched_topic`, `watched_minutes` and
    `watched_quality`, all None if nothing was.

    The mean quality of a topic is what somebody knows who knows the topics: it is not in the
    observation. RecSim's topics have no names.

    Args:
        slate_size: The number of documents on a slate.
        num_candidates: The number of documents to choose from.
        env_id: The Gymnasium id.

    >>> captioner = InterestEvolutionCaptioner(2, 10)
    >>> captioner.action_words([np.array([3, 7]), np.array([4, 4])])
    ['show documents 3 and 7', 'show document 4']
    """

    def __init__(
        self,
        slate_size: int = 3,
        num_candidates: int = 10,
        *,
        env_id: str = "llm_wrappers/RecSimInterestEvolution-v0",
    ) -> None:
        self._slate_size, self._num_candidates = slate_size, num_candidates
        self._description = EnvDescription(
            env_id=env_id,
            rules=_RULES.format(slate_size=slate_size, num_candidates=num_candidates),
            facts=_FACTS,
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return what is known of each user, the documents and the last slate.

        Args:
            observations: A dict of arrays with n in front of the shapes of `InterestEvolutionEnv`.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations are no such dict.
        """
        arrays = self._arrays(observations)
        return [_facts(*(arrays[key][row] for key in _KEYS)) for row in range(len(arrays["user"]))]

    def _state(self, facts: Facts) -> str:
        return " ".join([_taste(facts), _offer(facts), _last_slate(facts)]).rstrip()

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return f"showed {_documents(action)}; {_reaction(action, after)}"

    def action_words(self, actions: Sequence[Any]) -> list[str]:
        """Return each slate in words, for `LLMJudge(action_words=...)`."""
        return [f"show {_documents(action)}" for action in actions]

    def _arrays(self, observations: Any) -> dict[str, Any]:
        slate, candidates = self._slate_size, self._num_candidates
        shapes = {
            "user": (TOPICS,), "documents": (candidates, TOPICS), "shown": (slate, TOPICS),
            "clicked": (slate,), "watch_time": (slate,), "quality": (slate,),
        }  # fmt: skip
        if not isinstance(observations, Mapping) or not set(_KEYS) <= set(observations):
            raise InvalidOptionError(
                f"observations of interest evolution must be a dict with {', '.join(_KEYS)}, got "
                f"a {type(observations).__name__}; put what changes observations outside of what "
                "reads captions"
            )
        arrays = {key: np.asarray(observations[key]) for key in _KEYS}
        for key, array in arrays.items():
            if array.shape[1:] != shapes[key]:
                raise InvalidOptionError(
                    f"{key} must have the shape {('n', *shapes[key])}, got {array.shape}; build "
                    "the captioner with the slate_size and num_candidates of the environment"
                )
        return arrays


def _facts(
    interests: Any, documents: Any, shown: Any, clicked: Any, minutes: Any, quality: Any
) -> Facts:
    rounded = np.round(interests.astype(float), _DIGITS).tolist()
    facts: dict[str, Any] = {"candidates": len(documents)}
    for number, topic in enumerate(documents.argmax(axis=1).tolist()):
        facts[f"document {number} topic"] = topic
        facts[f"document {number} interest"] = rounded[topic]
        facts[f"document {number} quality"] = round(TOPIC_QUALITY[topic], _DIGITS)
    order = np.argsort(interests, kind="stable").tolist()
    facts["liked_topics"] = tuple(map(str, order[::-1][:_LIKED]))
    facts["disliked_topics"] = tuple(map(str, order[:_DISLIKED]))
    topics = shown[shown.any(axis=1)].argmax(axis=1).tolist()
    facts["shown_topics"] = tuple(map(str, topics))
    place = int(clicked.argmax()) if clicked.any() else None
    facts["watched_place"] = place
    facts["watched_topic"] = None if place is None else topics[place]
    facts["watched_minutes"] = None if place is None else round(float(minutes[place]), _DIGITS)
    facts["watched_quality"] = None if place is None else round(float(quality[place]), _DIGITS)
    return facts


def _taste(facts: Facts) -> str:
    liked, disliked = facts["liked_topics"], facts["disliked_topics"]
    assert isinstance(liked, tuple)
    assert isinstance(disliked, tuple)
    return f"The user likes topics {_listed(liked)} most and topics {_listed(disliked)} least."


def _offer(facts: Facts) -> str:
    parts = [
        f"{number} (topic {facts[f'document {number} topic']}, "
        f"interest {facts[f'document {number} interest']:+g}, "
        f"quality {facts[f'document {number} quality']:+g})"
        for number in range(int(str(facts["candidates"])))
    ]
    return f"The documents are {_listed(parts)}."


def _last_slate(facts: Facts) -> str:
    shown = facts["shown_topics"]
    assert isinstance(shown, tuple)
    if not shown:
        return ""
    noun = "topics" if len(shown) > 1 else "topic"
    start = f"The last slate had {noun} {_listed(shown)};"
    if facts["watched_place"] is None:
        return f"{start} the user watched none."
    return (
        f"{start} the user watched topic {facts['watched_topic']} for "
        f"{facts['watched_minutes']:g} minutes, of quality {facts['watched_quality']:+g}."
    )


def _documents(action: Any) -> str:
    numbers = _distinct(action)
    noun = "documents" if len(numbers) > 1 else "document"
    return f"{noun} {_listed(list(map(str, numbers)))}"


def _reaction(action: Any, after: Facts) -> str:
    place = after["watched_place"]
    if place is None:
        return "the user watched none"
    watched = _distinct(action)[int(str(place))]
    return f"the user watched {watched} for {after['watched_minutes']:g} minutes"


def _distinct(action: Any) -> list[int]:
    return list(dict.fromkeys(np.ravel(action).astype(int).tolist()))


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


# How far from the average of all documents to the best slate a good one has to come; our choice.
_GOOD_SHARE = 0.5
_EQUAL = 1e-9


def interest_evolution(facts: Mapping[str, Any], slate: Any) -> int:
    """Judge a slate by the quality of what the user is likely to watch of it.

    The mean quality of its documents is weighted by the interest of the user, which is how RecSim's
    users choose. +1 is at least halfway from what all candidates together have to what the
    documents of best quality have, -1 is less than all together, 0 is between, or where nothing can
    be chosen. The thresholds are our choice. It is a rule of thumb, not an oracle: it looks no
    further than the next video.

    >>> facts = {"candidates": 2, "document 0 interest": 0.5, "document 0 quality": -2.0}
    >>> facts |= {"document 1 interest": 0.0, "document 1 quality": 1.0}
    >>> interest_evolution(facts, [1]), interest_evolution(facts, [0])
    (1, -1)
    """
    shown = set(np.ravel(slate).astype(int).tolist())
    everything = range(facts["candidates"])
    best = sorted(everything, key=lambda k: -facts[f"document {k} quality"])[: len(shown)]
    average = _watched_quality(facts, everything)
    room = _watched_quality(facts, best) - average
    share = (_watched_quality(facts, shown) - average) / room if room > _EQUAL else 0.0
    if share < 0:
        return -1
    return int(share >= _GOOD_SHARE)


def _watched_quality(facts: Mapping[str, Any], documents: Iterable[int]) -> float:
    """Return the mean quality of documents, weighted by how likely each is watched."""
    documents = sorted(documents)
    qualities = [facts[f"document {k} quality"] for k in documents]
    # An interest of -1 is a probability of 0; it must not leave a slate without any weight.
    weights = [max(1.0 + facts[f"document {k} interest"], 1e-6) for k in documents]
    return float(np.average(qualities, weights=weights))
