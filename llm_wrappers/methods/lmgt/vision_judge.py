"""LMGT's judge for states that are pictures: a multimodal model looks at the rendered frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llm_wrappers import checks
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, Prompt
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import (
    AnswerReader,
    FilledPrompt,
    Question,
    action_in_words,
    from_text,
    one_line,
)
from llm_wrappers.methods.lmgt.frames import FRAME
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.methods.lmgt.wording import Example, judge_prompt, parse_score

__all__ = ["VisionJudge"]

MODES = ("direct", "caption")
_IN_THE_PICTURE = "see the picture"
# Pictures are held as text; our choice, some tens of megabytes at most.
_MEMORY: dict[str, Any] = {"memo_size": 2_000, "max_missed": 2_000}


class VisionJudge:
    """Judgements of a multimodal model, which sees the picture of the state.

    LMGT (arXiv 2409.04744) has a model put pictures into words, and a second one judge the words:
    ``mode="caption"``. ``mode="direct"`` asks for the score of the picture (ours). Pictures come
    from `FrameInfoWrapper`, taken before the step, and are sent as PNG in an OpenAI-style message.
    Equal pictures are one question, whose key is made of the picture itself; answers are kept as by
    `LLMJudge`.

    Args:
        llm: The client of the multimodal model; it stays the caller's to close.
        description: Names the actions, and has the rules of the environment.
        mode: ``"direct"`` or ``"caption"``.
        judge_llm: The client that judges the words in ``"caption"`` mode; None for the same one.
        prompt: As in `LLMJudge`.
        knowledge: As in `LLMJudge`.
        examples: As in `LLMJudge`.
        on_miss: As in `LLMJudge`.
        retry_failed_after: As in `LLMJudge`.

    Raises:
        InvalidOptionError: If an option has a value that cannot work.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.", action_names=("stay", "go"))
    >>> llm = ScriptedLLM(["A key lies near you.", "SCORE: +1"])
    >>> judge = VisionJudge(llm, toy, mode="caption", on_miss="block")
    >>> judge.judge(States([{"frame": "iVBORw0K"}], lambda facts: [""]), [1])
    [1]
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        mode: str = "direct",
        judge_llm: LLM | None = None,
        prompt: str | PromptTemplate = "zero-shot",
        knowledge: str | bool | None = None,
        examples: Sequence[Example] = (),
        on_miss: OnMiss = "neutral",
        retry_failed_after: float = 60.0,
    ) -> None:
        _check(mode, judge_llm)
        live: dict[str, Any] = {"on_miss": on_miss, "retry_failed_after": retry_failed_after}
        wording: dict[str, Any] = {
            "prompt": prompt, "knowledge": knowledge, "examples": examples,
        }  # fmt: skip
        self.llm = llm
        self._names = description.action_names
        self._words_judge: LLMJudge | None = None
        self._prompts: FilledPrompt | None = None
        if mode == "caption":
            self._words_judge = LLMJudge(judge_llm or llm, description, **wording, **live)
            self._seeing: AnswerReader[Any] = _describing(llm, live)
            return
        self._prompts = judge_prompt(
            description=description, changing=("caption", "action"), **wording
        )
        self._seeing = AnswerReader(
            llm,
            prompt=self._prompt,
            version=self._prompts.version,
            read=partial(from_text, parse_score),
            unreadable=0,
            expected="that ends with a line like 'SCORE: +1'",
            taken_as="neutral",
            purpose="judge",
            **live,
            **_MEMORY,
        )

    def judge(self, states: States, actions: Sequence[Any]) -> list[int | None]:
        """Return the judgement of each picture and action, None where there is no answer yet.

        Raises:
            InvalidOptionError: If the states have no pictures.
        """
        pictures = _pictures(states)
        if self._words_judge is None:
            return self._seeing.answers(self._questions(pictures, actions))
        words = self._seeing.answers(pictures)
        seen = [place for place, text in enumerate(words) if text is not None]
        judged = self._words_judge.judge(
            _states_in_words(states, words, seen), [actions[place] for place in seen]
        )
        found = dict(zip(seen, judged, strict=True))
        return [found.get(place) for place in range(len(words))]

    def prefill(
        self, states: States, actions: Sequence[Any], *, progress_bar: bool | None = None
    ) -> list[int]:
        """Ask about pictures and actions beforehand, and wait; see `LLMJudge.prefill`.

        Args:
            states: The n states.
            actions: The n actions.
            progress_bar: As in `LLM.ask_many`.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
        """
        pictures = _pictures(states)
        if self._words_judge is None:
            questions = self._questions(pictures, actions)
            judged: list[int] = self._seeing.values(questions, progress_bar=progress_bar)
            return judged
        words = self._seeing.values(pictures, progress_bar=progress_bar)
        described = _states_in_words(states, words, range(len(words)))
        return self._words_judge.prefill(described, actions, progress_bar=progress_bar)

    def stats(self) -> dict[str, Any]:
        """Return the counters of `LiveSource.stats`, those of the second model as `words`."""
        stats: dict[str, Any] = self._seeing.stats()
        return stats if self._words_judge is None else {**stats, "words": self._words_judge.stats()}

    def __deepcopy__(self, memo: dict[int, Any]) -> VisionJudge:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def _questions(self, pictures: Sequence[str], actions: Sequence[Any]) -> list[Question]:
        names = [action_in_words(action, self._names) for action in actions]
        return [Question(action=name, frame=png) for png, name in zip(pictures, names, strict=True)]

    def _prompt(self, question: Question) -> Prompt:
        assert self._prompts is not None
        text = self._prompts.fill(caption=_IN_THE_PICTURE, action=question.action)
        return _with_picture(text, question.frame)


def _describing(llm: LLM, live: dict[str, Any]) -> AnswerReader[Any]:
    template = PromptTemplate.packaged("lmgt/describe")
    return AnswerReader(
        llm,
        prompt=partial(_with_picture, template.fill()),
        version=template.version,
        read=partial(from_text, _words_of),
        unreadable="Nothing can be made out.",
        expected="that ends with a description of the picture",
        taken_as="neutral",
        purpose="describe",
        **live,
        **_MEMORY,
    )


def _words_of(answer: str | None) -> str | None:
    return one_line(answer or "") or None


def _with_picture(text: str, png: str) -> Prompt:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    return [{"role": "user", "content": [{"type": "text", "text": text}, picture]}]


def _pictures(states: States) -> list[str]:
    try:
        return [str(facts[FRAME]) for facts in states.facts]
    except KeyError:
        raise InvalidOptionError(
            f"a judge that looks needs the fact {FRAME!r}: put FrameInfoWrapper around the "
            "environment, or give captioner=FrameCaptioner(...)"
        ) from None


def _states_in_words(states: States, words: Sequence[Any], places: Sequence[int]) -> States:
    captions = [str(words[place]) for place in places]
    return States([states.facts[place] for place in places], lambda facts: captions)


def _check(mode: str, judge_llm: LLM | None) -> None:
    checks.one_of("mode", mode, MODES)
    if judge_llm is not None and mode != "caption":
        raise InvalidOptionError('judge_llm was given, which only mode="caption" asks')
