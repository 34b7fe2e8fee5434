"""Live sources: a language model asked about states while an agent acts."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.answer import Answer
from llm_wrappers.llm.live._background import Background
from llm_wrappers.llm.live._knowledge import Knowledge
from llm_wrappers.llm.live._options import check_source_options, check_texts
from llm_wrappers.llm.live._questions import Questions
from llm_wrappers.llm.live._steps import Steps
from llm_wrappers.llm.live._texts import RecentTexts
from llm_wrappers.llm.live.timing import Timing, resolve_timing
from llm_wrappers.llm.request import Prompt

if TYPE_CHECKING:
    from llm_wrappers.llm.client import LLM

__all__ = ["ON_MISS", "LiveSource", "OnMiss"]

OnMiss = Literal["neutral", "block", "background"]
ON_MISS: tuple[OnMiss, ...] = ("neutral", "block", "background")
T = TypeVar("T")

_OF_THIS_PROCESS = ("_knowledge", "_steps", "_background", "_counts")


class LiveSource(Generic[T]):
    """Answers about states, from memory, from the client's cache, or from the model.

    Made for a wrapper: one call per step, with one text per sub-environment. An answer of None
    means that there is none yet, and that the step runs without guidance. What fails in use is
    counted, warned of once, and tried again later; what the user got wrong (a key, a model, an
    option) raises at the first use. When the budget is spent, nothing more is asked.

    With ``"background"``, and with ``"neutral"`` while others fill the cache, guidance depends on
    when an answer arrives, so the seed alone does not reproduce a run. With a cache that holds
    all answers, as in a replay, it does.

    In one process a source is never copied; a copy in another process begins with an empty memory
    and the same client. Wrappers that share a source share its answers, but also its steps: with
    a `timing` other than ``"every_step"``, give each wrapper its own.

    Args:
        llm: The client; it stays the caller's to close.
        prompt: From a state's text to the prompt.
        parse: From an answer to what the wrapper needs; what it raises is a counted failure. By
            default the parsed object with a `schema`, and the text without.
        schema: What the model's answer must fit; None for free text.
        purpose: Under which name the client counts the questions.
        prompt_version: The version of the prompt's template.
        on_miss: What happens with a text that the cache lacks. ``"neutral"``: nothing is asked,
            and `missed` remembers the text for `ask_missed`. ``"block"``: the step waits for the
            answer. ``"background"``: the model is asked while the steps go on.
        timing: Which misses may be asked about, or remembered as missed; a name or a policy, see
            `resolve_timing`. Answers that are there already are used in every step.
        memo_size: How many answers are kept in memory (our choice: 100,000).
        max_missed: How many texts `missed` remembers; the oldest go first (our choice: 10,000).
        max_pending: How many texts may wait for an answer in the background; others are neutral
            (our choice: 64).
        recheck_seconds: For how long a text that the cache lacked is not looked up again (our
            choice: 10).
        retry_failed_after: After how many seconds a text that failed is tried again (our choice:
            60).

    Raises:
        InvalidOptionError: If an option has a value that cannot work.
        UnknownNameError: If no timing policy has the name.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> source = LiveSource(ScriptedLLM(["wood"]), prompt=str, purpose="goals", on_miss="block")
    >>> source.answers(["You see a tree.", "You see a tree."])
    ['wood', 'wood']
    >>> source.stats()["asked"]
    1
    """

    def __init__(
        self,
        llm: LLM,
        *,
        prompt: Callable[[str], Prompt],
        parse: Callable[[Answer[Any]], T] | None = None,
        schema: type[BaseModel] | None = None,
        purpose: str,
        prompt_version: str = "",
        on_miss: OnMiss = "neutral",
        timing: str | Timing = "every_step",
        memo_size: int = 100_000,
        max_missed: int = 10_000,
        max_pending: int = 64,
        recheck_seconds: float = 10.0,
        retry_failed_after: float = 60.0,
    ) -> None:
        check_source_options(
            llm=llm,
            functions={"prompt": prompt} if parse is None else {"prompt": prompt, "parse": parse},
            on_miss=on_miss,
            policies=ON_MISS,
            sizes={"memo_size": memo_size, "max_missed": max_missed, "max_pending": max_pending},
            seconds={"recheck_seconds": recheck_seconds, "retry_failed_after": retry_failed_after},
        )
        self.llm = llm
        self.on_miss: OnMiss = on_miss
        self.timing = resolve_timing(timing)
        self._questions = Questions(llm, prompt, schema, purpose, prompt_version)
        self._max_pending = max_pending
        self._missed: RecentTexts[None] = RecentTexts(most=max_missed)
        self._memory: dict[str, Any] = {
            "parse": parse or (_text if schema is None else _parsed_object),
            "memo_size": memo_size,
            "recheck_seconds": recheck_seconds,
            "retry_failed_after": retry_failed_after,
        }
        self._begin()

    def _begin(self) -> None:
        self._knowledge: Knowledge[T] = Knowledge(
            self._questions, missed=self._missed, **self._memory
        )
        self._steps = Steps()
        self._background: Background | None = None
        self._counts = dict.fromkeys(
            ("steps", "texts", "memo_hits", "cache_hits", "neutral", "dropped"), 0
        )

    def answers(self, texts: Sequence[str]) -> list[T | None]:
        """Return one answer per sub-environment, None where there is none yet.

        Args:
            texts: The states; equal ones are looked up, asked and parsed once.

        Raises:
            InvalidOptionError: If there are more or fewer texts than at the first call.
            UserError: A key, model, cache or option is wrong, and asking has never worked yet.
            CacheMissError: In replay, if something that is not recorded had to be asked.
        """
        if isinstance(texts, str):
            raise InvalidOptionError(f"expected a list of texts, got {texts!r}; pass [text]")
        self._steps.expect(texts)
        self._take_in_arrivals()
        absent = self._knowledge.memo.absent(texts)
        if absent:
            answers = self._with_gaps(texts, absent)
        else:
            answers = [*self._knowledge.memo.recall(texts)]
            self._counts["memo_hits"] += len(texts)
        self._steps.advance(texts)
        self._counts["steps"] += 1
        self._counts["texts"] += len(texts)
        return answers

    def reset(self, mask: Sequence[bool] | None = None) -> None:
        """Begin an episode; answers stay.

        Args:
            mask: In which sub-environments; None for all of them, whose number may then change.

        Raises:
            InvalidOptionError: If the mask has another length than there are sub-environments.
        """
        self._steps.reset(mask)

    @property
    def missed(self) -> tuple[str, ...]:
        """The texts that were met without an answer, and that only `ask_missed` asks about."""
        return tuple(self._missed)

    def ask_missed(self, *, progress_bar: bool | None = None) -> int:
        """Ask about all texts in `missed` now, wait, and return how many were answered.

        Args:
            progress_bar: As in `LLM.ask_many`.

        Raises:
            LLMWrappersError: As `LLM.ask_many` says.
            BatchError: Some have no answer, or one that cannot be parsed; the others are kept.
        """
        return self._knowledge.ask_missed(progress_bar)

    def stats(self) -> dict[str, float]:
        """Return counters of steps, of texts by where their answer came from, and of questions.

        `texts` is the sum over all steps; `memo_hits`, `cache_hits` and `neutral` (no answer) are
        parts of it. `asked` and `answered` count questions, `dropped` those beyond `max_pending`,
        `failures` what failed, also by kind. `share_answered` is the share of `texts` that had an
        answer in time; `missed` and `pending` are how many there are now.
        """
        counts, knowledge, background = self._counts, self._knowledge, self._own_background()
        failures = knowledge.failures.counts
        return {
            **counts,
            "asked": knowledge.asked,
            "answered": knowledge.answered,
            "missed": len(self._missed),
            "pending": background.unfinished if background else 0,
            "failures": sum(failures.values()),
            **{f"failures_{kind}": number for kind, number in failures.items()},
            "share_answered": 1 - counts["neutral"] / counts["texts"] if counts["texts"] else 0.0,
        }

    def close(self, timeout: float = 5.0) -> None:
        """Drop what waits in the background, and wait for the answers that are under way.

        A later step begins anew.

        Args:
            timeout: The seconds to wait at most (our choice: 5).
        """
        background = self._own_background()
        if background is not None:
            background.close(timeout)

    def __copy__(self) -> LiveSource[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LiveSource[T]:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def _take_in_arrivals(self) -> None:
        background = self._own_background()
        if background is None:
            return
        for text, outcome in background.arrivals():
            self._knowledge.take({text: outcome}, stage="ask")
        if self._knowledge.stopped:
            self._knowledge.remember_missed(background.cancel())

    def _with_gaps(self, texts: Sequence[str], absent: Sequence[str]) -> list[T | None]:
        check_texts(absent)
        knowledge, counts = self._knowledge, self._counts
        gaps = set(absent)
        held = [text for text in texts if text not in gaps]
        known: dict[str, T] = dict(zip(held, knowledge.memo.recall(held), strict=True))
        looked_up = knowledge.look_up(absent)
        missing = [text for text in absent if text not in looked_up]
        asked = self._meet_misses(self._steps.due(texts, missing, self.timing))
        known.update(looked_up)
        known.update(asked)
        counts["memo_hits"] += len(held)
        counts["cache_hits"] += sum(text in looked_up for text in texts)
        counts["neutral"] += sum(text not in known for text in texts)
        return [known.get(text) for text in texts]

    def _meet_misses(self, due: Sequence[str]) -> dict[str, T]:
        texts = self._knowledge.may_be_asked(due)
        if not texts:
            return {}
        if self.on_miss == "neutral" or self._knowledge.stopped:
            self._knowledge.remember_missed(texts)
        elif self.on_miss == "block":
            return self._knowledge.ask(texts)
        else:
            self._submit(texts)
        return {}

    def _submit(self, texts: Sequence[str]) -> None:
        background = self._own_background() or self._new_background()
        new = [text for text in texts if text not in background.pending]
        accepted = new[: max(0, self._max_pending - len(background.pending))]
        self._counts["dropped"] += len(new) - len(accepted)
        for text, prompt in self._knowledge.prompts(accepted).items():
            self._knowledge.asked += 1
            background.submit(text, prompt)

    def _own_background(self) -> Background | None:
        background = self._background
        # In a forked child the threads of the parent do not exist.
        return background if background is not None and background.pid == os.getpid() else None

    def _new_background(self) -> Background:
        self._background = Background(self._questions.ask, workers=self.llm.concurrency)
        # Also runs at exit: what nobody waits for any more is not asked.
        weakref.finalize(self, self._background.cancel)
        return self._background


def _parsed_object(answer: Answer[Any]) -> Any:
    return answer.parsed


def _text(answer: Answer[Any]) -> Any:
    return answer.text
