"""ELLM's suggester: a language model says in its own words what makes sense to do now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llm_wrappers import checks
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, Answer
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import AnswerReader, client_and_options, one_line
from llm_wrappers.methods.ellm.annotation import Annotation
from llm_wrappers.methods.ellm.closed_form_suggester import ClosedFormSuggester
from llm_wrappers.methods.ellm.wording import parse_goals, suggester_prompt

__all__ = ["LLMSuggester", "closed_form", "open_ended"]

_SHARED_OPTIONS = ("on_miss", "prompt", "retry_failed_after")
_OPEN_OPTIONS = (*_SHARED_OPTIONS, "strict", "max_goals")
_CLOSED_OPTIONS = (*_SHARED_OPTIONS, "candidates", "threshold", "logprobs")


class LLMSuggester:
    r"""Open-ended suggestions of a language model, one question per state caption.

    ELLM's open-ended form (arXiv 2302.06692): the model reads the caption of the state and answers
    with a list of goals in its own words. Prompt and examples are ours; the paper's were made for
    models that only continue a text.

    Equal captions share one answer, in memory, in the client's cache and in all processes that use
    it. A state without an answer has none (None); one whose answer cannot be read has no goals, is
    counted under ``failures_parse``, warned of once, and not asked about again.

    Args:
        llm: The client; it stays the caller's to close.
        description: Rules and goals of the environment; the verbs shown are those of its goals,
            or of its actions if it names no goals.
        prompt: ``"ellm/open"`` shows the verbs only, as the paper does; ``"ellm/open-goals"`` lists
            the goals of the description, so that a high threshold suits any encoder (our choice);
            or a template of your own with the blank ``$caption``, and if wanted ``$env_id``,
            ``$rules``, ``$verbs``, ``$goals`` and ``$actions``.
        caption: From facts to the captions that the model reads; None for those of the states.
        on_miss: What happens with a state that the cache lacks, see `LiveSource`: ``"neutral"``,
            ``"block"`` or ``"background"``.
        strict: Whether to read answers by ELLM's own rule, see `parse_goals`.
        max_goals: How many goals of an answer are kept; None for all.
        retry_failed_after: After how many seconds a question that failed is asked again.

    Raises:
        InvalidOptionError: If an option has a value that cannot work.
        UnknownNameError: If no prompt has the name.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.", goals=("take the key",))
    >>> llm = ScriptedLLM(["- Take the key.\n- rest"])
    >>> suggester = LLMSuggester(llm, toy, on_miss="block")
    >>> suggester.suggest(States([{}], lambda facts: ["You see a key."]))
    [('take the key', 'rest')]
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        prompt: str | PromptTemplate = "ellm/open",
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] | None = None,
        on_miss: OnMiss = "neutral",
        strict: bool = False,
        max_goals: int | None = None,
        retry_failed_after: float = 60.0,
    ) -> None:
        self.llm = llm
        self._strict = checks.flag("strict", strict)
        self._max_goals = checks.whole("max_goals", max_goals, least=1, or_none="for all")
        self._caption = caption
        self._prompts = suggester_prompt(prompt, description, changing=("caption",))
        self._reader: AnswerReader[tuple[str, ...]] = AnswerReader(
            llm,
            prompt=self._prompt,
            version=self._prompts.version,
            read=self._goals,
            unreadable=(),
            expected="as lines like '- chop tree'",
            taken_as="no suggestion",
            purpose="suggest",
            on_miss=on_miss,
            retry_failed_after=retry_failed_after,
        )
        self.source = self._reader.source

    def suggest(self, states: States) -> list[tuple[str, ...] | None]:
        """Return the suggested goals of each state, None where there is no answer yet."""
        return self._reader.answers(self.captions(states))

    def captions(self, states: States) -> list[str]:
        """Return the captions that the model reads, one line per state."""
        captions = states.captions if self._caption is None else self._caption(states.facts)
        return [one_line(caption) for caption in captions]

    def prefill(self, captions: Iterable[str], *, progress_bar: bool | None = None) -> Annotation:
        """Ask about states beforehand, and wait; the answers are in the client's cache.

        Interrupted or repeated, it pays only for what is missing.

        Args:
            captions: State captions, as the model is to read them.
            progress_bar: As in `LLM.ask_many`.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
        """
        answers = self._reader.ask_all(map(one_line, captions), progress_bar=progress_bar)
        goals = {state: self._goals(answer) for state, answer in answers.items()}
        return Annotation(
            suggestions={state: found or () for state, found in goals.items()},
            unreadable=sum(found is None for found in goals.values()),
        )

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`."""
        return self._reader.stats()

    def __deepcopy__(self, memo: dict[int, Any]) -> LLMSuggester:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def _prompt(self, caption: str) -> str:
        return self._prompts.fill(caption=caption)

    def _goals(self, answer: Answer[Any]) -> tuple[str, ...] | None:
        goals = parse_goals(answer.text, strict=self._strict)
        return None if goals is None else goals[: self._max_goals]


def open_ended(rest: str, *, description: EnvDescription) -> LLMSuggester:
    """Return the suggester that a name ``"llm:MODEL?OPTIONS"`` stands for.

    The options are those of `resolve_llm` and of `LLMSuggester`.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> suggester = open_ended(
    ...     "openai/gpt-5-mini?cache=answers.sqlite&mode=replay&on_miss=block", description=toy
    ... )
    >>> suggester.llm.mode, suggester.source.on_miss
    ('replay', 'block')

    """
    llm, options = client_and_options(rest, _OPEN_OPTIONS)
    return LLMSuggester(llm, description, **options)


def closed_form(rest: str, *, description: EnvDescription) -> ClosedFormSuggester:
    """Return the suggester that a name ``"llm-closed:MODEL?OPTIONS"`` stands for.

    The options are those of `resolve_llm` and of `ClosedFormSuggester`, candidates as a JSON list.

    """
    llm, options = client_and_options(rest, _CLOSED_OPTIONS)
    return ClosedFormSuggester(llm, description, **options)
