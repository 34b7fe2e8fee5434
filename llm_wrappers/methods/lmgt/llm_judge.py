"""LMGT's judge: a language model scores the action that an agent takes in a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import (
    AnswerReader,
    Question,
    action_in_words,
    from_text,
    one_line,
)
from llm_wrappers.methods.lmgt.wording import Example, judge_prompt, parse_score

__all__ = ["LLMJudge"]


class LLMJudge:
    """Judgements of a language model, one question per state caption and action.

    LMGT (arXiv 2409.04744): the model reads the state before the step and the action, and answers
    with +1 (of value), -1 (worthless or harmful) or 0 (unknown). The five kinds of prompts are
    those that the paper compares; its wording is not known to us, this one is ours.

    Equal questions share one answer, in memory, in the client's cache and in all processes that use
    it; another prompt or model is another question. A question without an answer has none (None);
    an answer that cannot be read is 0, counted under ``failures_parse``, warned of once, and not
    asked for again.

    Args:
        llm: The client; it stays the caller's to close.
        description: Names the actions, and has the rules of the environment.
        prompt: ``"baseline"`` (state, action and the form of the answer, nothing else),
            ``"zero-shot"``, ``"few-shot"``, ``"chain-of-thought"``, ``"role"`` (the model is told
            to be an experienced coach); or a template of your own with the blanks ``$caption`` and
            ``$action``, and if wanted ``$knowledge``, ``$examples``, ``$actions`` and ``$env_id``.
        knowledge: What the model is told about the task: a text, True for the rules of the
            description, None for nothing. Goes with every kind of prompt.
        examples: (state in words, action in words, score) triples for ``"few-shot"``.
        caption: From facts to the captions that the model reads; None for those of the states.
        action_words: From n actions to n texts; None for the names in the description, and for the
            numbers of other actions with three digits. Continuous actions hardly ever repeat: words
            that are coarser save questions.
        on_miss: What happens with a question that the cache lacks, see `LiveSource`: ``"neutral"``,
            ``"block"`` or ``"background"``.
        retry_failed_after: After how many seconds a question that failed is asked again.

    Raises:
        InvalidOptionError: If an option has a value that cannot work, or ``"few-shot"`` has no
            examples.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.", action_names=("stay", "go"))
    >>> judge = LLMJudge(ScriptedLLM(["SCORE: -1"]), toy, on_miss="block")
    >>> judge.judge(States([{}], lambda facts: ["The key is near."]), [0])
    [-1]
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        prompt: str | PromptTemplate = "zero-shot",
        knowledge: str | bool | None = None,
        examples: Sequence[Example] = (),
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] | None = None,
        action_words: Callable[[Sequence[Any]], Sequence[str]] | None = None,
        on_miss: OnMiss = "neutral",
        retry_failed_after: float = 60.0,
    ) -> None:
        self.llm = llm
        self.description = description
        self._options: dict[str, Any] = {
            "knowledge": knowledge, "caption": caption, "action_words": action_words,
            "on_miss": on_miss, "retry_failed_after": retry_failed_after,
        }  # fmt: skip
        self._caption = caption
        self._action_words = action_words
        self._prompts = judge_prompt(
            prompt,
            description,
            changing=("caption", "action"),
            knowledge=knowledge,
            examples=examples,
        )
        self._reader: AnswerReader[int] = AnswerReader(
            llm,
            prompt=self._prompt,
            version=self._prompts.version,
            read=partial(from_text, parse_score),
            unreadable=0,
            expected="that ends with a line like 'SCORE: +1'",
            taken_as="neutral",
            purpose="judge",
            on_miss=on_miss,
            retry_failed_after=retry_failed_after,
        )

    def judge(self, states: States, actions: Sequence[Any]) -> list[int | None]:
        """Return the judgement of each state and action, None where there is no answer yet."""
        return self._reader.answers(self._questions(states, actions))

    def prefill(
        self, states: States, actions: Sequence[Any], *, progress_bar: bool | None = None
    ) -> list[int]:
        """Ask about states and actions beforehand, and wait; the answers are in the client's cache.

        Interrupted or repeated, it pays only for what is missing.

        Args:
            states: The n states.
            actions: The n actions.
            progress_bar: As in `LLM.ask_many`.

        Returns:
            The n judgements, 0 for an answer that cannot be read.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
        """
        return self._reader.values(self._questions(states, actions), progress_bar=progress_bar)

    def rephrased(
        self, prompt: str | PromptTemplate, *, examples: Sequence[Example] = ()
    ) -> LLMJudge:
        """Return a judge that asks the same with another prompt, to see whether answers stay.

        Args:
            prompt: As in the constructor.
            examples: As in the constructor.
        """
        return LLMJudge(
            self.llm, self.description, prompt=prompt, examples=examples, **self._options
        )

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`."""
        return self._reader.stats()

    def __deepcopy__(self, memo: dict[int, Any]) -> LLMJudge:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def _questions(self, states: States, actions: Sequence[Any]) -> list[Question]:
        captions = states.captions if self._caption is None else self._caption(states.facts)
        pairs = zip(captions, self._named(actions), strict=True)
        return [Question(one_line(caption), action=one_line(action)) for caption, action in pairs]

    def _named(self, actions: Sequence[Any]) -> Sequence[str]:
        if self._action_words is not None:
            return self._action_words(actions)
        return [action_in_words(action, self.description.action_names) for action in actions]

    def _prompt(self, question: Question) -> str:
        return self._prompts.fill(caption=question.caption, action=question.action)
