"""Asking about the states of an environment before an agent is trained in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM
from llm_wrappers.methods.ellm.annotation import Annotation
from llm_wrappers.methods.ellm.closed_form_suggester import ClosedFormSuggester
from llm_wrappers.methods.ellm.llm_suggester import LLMSuggester
from llm_wrappers.wrappers import SimilarityRewardWrapper

__all__ = ["annotate", "record_captions"]

_STEPS_PER_STATE = 100
_LONGEST_EPISODE = 1_000


def _captions(states: States) -> Sequence[str]:
    return states.captions


class _Recorder:
    """A suggester that suggests nothing and remembers what it would have been asked about."""

    def __init__(self, read: Callable[[States], Sequence[str]]) -> None:
        self.captions: dict[str, None] = {}
        self.error: Exception | None = None
        self._read = read

    def suggest(self, states: States) -> list[tuple[str, ...]]:
        try:
            self.captions.update(dict.fromkeys(self._read(states)))
        except Exception as error:
            # The wrapper goes on without a suggester that fails; here nothing is left to do.
            self.error = error
        return [()] * len(states)


def annotate(
    suggester: LLM | LLMSuggester | ClosedFormSuggester,
    env: gym.Env[Any, Any],
    *,
    states: int = 300,
    steps: int | None = None,
    seed: int = 0,
    captioner: Captioner | None = None,
    progress_bar: bool | None = None,
) -> Annotation:
    """Play at random, and ask a model about each different state that was met.

    Afterwards the answers are in the client's cache, where wrappers of any number of processes find
    them: training then runs with ``on_miss="neutral"`` and waits for nobody. Interrupted, a spent
    budget included, it pays at the next call only for what is missing. States that only a trained
    agent meets are not among those of random play.

    Args:
        suggester: Whose questions are asked; a client alone stands for ``LLMSuggester(llm, ...)``.
            Its options must be those used in training, or the questions are different ones.
        env: The environment; it is reset, and left where the play ended.
        states: How many different state captions are wanted.
        steps: How many steps to play at most; None for 100 per caption wanted (our choice).
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        InvalidOptionError: If `states` or `steps` is not a positive whole number.
        LLMWrappersError: As `LLM.ask_many` says.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> llm = ScriptedLLM(lambda request: "- push left")
    >>> annotation = annotate(llm, gym.make("CartPole-v1"), states=3)
    >>> annotation.goals()
    {'push left': 3}
    """
    if isinstance(suggester, LLM):
        description = resolve_captioner(env, captioner).description
        suggester = LLMSuggester(suggester, description)
    captions = record_captions(
        env, states=states, steps=steps, seed=seed, captioner=captioner, read=suggester.captions
    )
    return suggester.prefill(captions, progress_bar=progress_bar)


def record_captions(
    env: gym.Env[Any, Any],
    *,
    states: int = 300,
    steps: int | None = None,
    seed: int = 0,
    captioner: Captioner | None = None,
    read: Callable[[States], Sequence[str]] = _captions,
) -> list[str]:
    """Return different state captions, met by acting at random.

    They are taken where `SimilarityRewardWrapper` asks its suggester, so that they are those of
    training to the letter.

    Args:
        env: The environment; it is reset, and left where the play ended.
        states: How many are wanted; fewer come back if they do not turn up.
        steps: How many steps to play at most; None for 100 per caption wanted (our choice).
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        read: From states to captions; by default those of the states.

    Raises:
        InvalidOptionError: If `states` or `steps` is not a positive whole number.
    """
    checks.whole("states", states, least=1)
    checks.whole("steps", steps, least=1, or_none="for 100 per caption")
    recorder = _Recorder(read)
    played = SimilarityRewardWrapper(env, suggester=recorder, captioner=captioner)
    played.action_space.seed(seed)
    episode, length, over = seed, 0, True
    for _ in range(steps or states * _STEPS_PER_STATE):
        if over or length >= _LONGEST_EPISODE:
            played.reset(seed=episode)
            episode, length, over = episode + 1, 0, False
        else:
            _, _, terminated, truncated, _ = played.step(played.action_space.sample())
            length, over = length + 1, terminated or truncated
        if recorder.error is not None:
            raise recorder.error
        if len(recorder.captions) == states:
            break
    return list(recorder.captions)
