"""A potential for shaping: a language model says once how promising a state is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import AnswerReader, from_text, one_line
from llm_wrappers.methods.lmgt.wording import judge_prompt, parse_number

__all__ = ["LLMPotential"]


class LLMPotential:
    """How promising states are, from -1 to 1, one question per state caption.

    For ``RewardShiftWrapper(mode="potential")``, which adds gamma * Phi(s') - Phi(s) (Ng, Harada
    and Russell, 1999) and keeps the best policy, whatever the model says. This is our counterpart
    to LMGT's judge, not part of the paper.

    A state without an answer has none (None), and transitions from and to it are not shaped. An
    answer that cannot be read is 0, counted under ``failures_parse``, warned of once, and not asked
    for again.

    Args:
        llm: The client; it stays the caller's to close.
        description: Has the rules of the environment.
        prompt: None for the prompt that ships with the package; or a template of your own with the
            blank ``$caption``, and if wanted ``$knowledge``, ``$actions`` and ``$env_id``.
        knowledge: What the model is told about the task: a text, True for the rules of the
            description, None for nothing.
        caption: From facts to the captions that the model reads; None for those of the states.
        on_miss: What happens with a state that the cache lacks, see `LiveSource`: ``"neutral"``,
            ``"block"`` or ``"background"``.
        retry_failed_after: After how many seconds a question that failed is asked again.

    Raises:
        InvalidOptionError: If an option has a value that cannot work.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> potential = LLMPotential(ScriptedLLM(["SCORE: 0.75"]), toy, on_miss="block")
    >>> potential.values(States([{}], lambda facts: ["The key is near."]))
    [0.75]
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        prompt: PromptTemplate | None = None,
        knowledge: str | bool | None = None,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] | None = None,
        on_miss: OnMiss = "neutral",
        retry_failed_after: float = 60.0,
    ) -> None:
        self.llm = llm
        self._caption = caption
        self._prompts = judge_prompt(
            "lmgt/potential" if prompt is None else prompt,
            description,
            changing=("caption",),
            knowledge=knowledge,
        )
        self._reader: AnswerReader[float] = AnswerReader(
            llm,
            prompt=self._prompt,
            version=self._prompts.version,
            read=partial(from_text, parse_number),
            unreadable=0.0,
            expected="that ends with a line like 'SCORE: 0.5'",
            taken_as="neutral",
            purpose="potential",
            on_miss=on_miss,
            retry_failed_after=retry_failed_after,
        )

    def values(self, states: States) -> list[float | None]:
        """Return the potential of each state, None where there is no answer yet."""
        return self._reader.answers(self._questions(states))

    def prefill(self, states: States, *, progress_bar: bool | None = None) -> list[float]:
        """Ask about states beforehand, and wait; the answers are in the client's cache.

        Args:
            states: The n states.
            progress_bar: As in `LLM.ask_many`.

        Returns:
            The n potentials, 0 for an answer that cannot be read.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
        """
        return self._reader.values(self._questions(states), progress_bar=progress_bar)

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`."""
        return self._reader.stats()

    def __deepcopy__(self, memo: dict[int, Any]) -> LLMPotential:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def _questions(self, states: States) -> list[str]:
        captions = states.captions if self._caption is None else self._caption(states.facts)
        return [one_line(caption) for caption in captions]

    def _prompt(self, caption: str) -> str:
        return self._prompts.fill(caption=caption)
