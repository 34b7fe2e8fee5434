"""ELLM's closed form: a language model says Yes or No to each of the goals it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from llm_wrappers import checks
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import BatchError, InvalidOptionError, InvalidRequestError
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, Answer, Prompt
from llm_wrappers.llm.live.source import OnMiss
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import AnswerReader, Question, one_line
from llm_wrappers.methods.ellm.annotation import Annotation
from llm_wrappers.methods.ellm.wording import suggester_prompt, yes_probability

__all__ = ["ClosedFormSuggester"]

CandidateFunction: TypeAlias = "Callable[[Sequence[str]], Sequence[Sequence[str]]]"

_LOGPROBS = {"logprobs": True, "top_logprobs": 5}
_HINT = "If the model gives no log probabilities, use logprobs=False"


class ClosedFormSuggester:
    """Suggestions by one question with Yes or No per state caption and candidate goal.

    ELLM's closed form (arXiv 2302.06692): a goal is suggested where the model's Yes, against its
    No, is more probable than a threshold. The paper uses it in Housekeep, for where objects belong;
    the prompt is ours. Each pair of a caption and a candidate is a question of its own, with a
    place of its own in the cache, so keep candidates few.

    A state has no answer (None) as long as none of its pairs has one. An answer that is neither Yes
    nor No does not suggest its candidate; it is counted under ``failures_parse``, warned of once,
    and not asked about again.

    Args:
        llm: The client; it stays the caller's to close.
        description: Rules and goals of the environment.
        candidates: The goals to ask about; None for the goals of the description. Or a function
            from n captions to n sequences of goals, for candidates that depend on the state.
        threshold: The probability, from 0 to 1, that Yes has to exceed; 0.5 in the paper's code.
        logprobs: Whether to ask for log probabilities; False where a model refuses to give them.
            Where it just gives none, its word counts.
        prompt: The name of a packaged template, or one of your own with the blanks ``$caption`` and
            ``$goal``, and if wanted ``$env_id``, ``$rules``, ``$verbs``, ``$goals``, ``$actions``.
        caption: From facts to the captions that the model reads; None for those of the states.
        on_miss: What happens with a pair that the cache lacks, see `LiveSource`: ``"neutral"``,
            ``"block"`` or ``"background"``.
        retry_failed_after: After how many seconds a question that failed is asked again.

    Raises:
        InvalidOptionError: If an option has a value that cannot work, or there are no candidates.
        UnknownNameError: If no prompt has the name.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.", goals=("rest", "take the key"))
    >>> llm = ScriptedLLM(lambda request: "Yes" if "take the key?" in request.text else "No")
    >>> suggester = ClosedFormSuggester(llm, toy, on_miss="block")
    >>> suggester.suggest(States([{}], lambda facts: ["You see a key."]))
    [('take the key',)]
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        candidates: Sequence[str] | CandidateFunction | None = None,
        threshold: float = 0.5,
        logprobs: bool = True,
        prompt: str | PromptTemplate = "ellm/closed",
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] | None = None,
        on_miss: OnMiss = "neutral",
        retry_failed_after: float = 60.0,
    ) -> None:
        checks.flag("logprobs", logprobs)
        self.llm = llm
        self._candidates = _checked_candidates(candidates, description)
        self._threshold = checks.number("threshold", threshold, least=0, most=1)
        self._caption = caption
        self._prompts = suggester_prompt(prompt, description, changing=("caption", "goal"))
        params = _LOGPROBS if logprobs else {}
        self._reader: AnswerReader[float] = AnswerReader(
            # Neither a reader nor a live source needs more of a client than this.
            cast(LLM, _AskingWith(llm, params, hint=_HINT)),
            prompt=self._prompt,
            version=self._prompts.version,
            read=_probability,
            unreadable=0.0,
            expected="as Yes or No",
            taken_as="no suggestion",
            purpose="suggest",
            on_miss=on_miss,
            retry_failed_after=retry_failed_after,
        )
        self.source = self._reader.source

    def suggest(self, states: States) -> list[tuple[str, ...] | None]:
        """Return the accepted candidates of each state, None where nothing is known yet."""
        asked = self._asked_about(self.captions(states))
        answers = iter(self._reader.answers([pair for pairs in asked for pair in pairs]))
        return [self._accepted({pair: next(answers) for pair in pairs}) for pairs in asked]

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
        states = list(dict.fromkeys(one_line(caption) for caption in captions))
        asked = self._asked_about(states)
        questions = (pair for pairs in asked for pair in pairs)
        answers = self._reader.ask_all(questions, progress_bar=progress_bar)
        known = {pair: _probability(answer) for pair, answer in answers.items()}
        accepted = (self._accepted({pair: known[pair] for pair in pairs}) or () for pairs in asked)
        return Annotation(
            suggestions=dict(zip(states, accepted, strict=True)),
            unreadable=sum(probability is None for probability in known.values()),
        )

    def stats(self) -> dict[str, float]:
        """Return the counters of `LiveSource.stats`; what it calls texts are pairs here."""
        return self._reader.stats()

    def __deepcopy__(self, memo: dict[int, Any]) -> ClosedFormSuggester:
        # Gymnasium deep-copies constructor arguments; a copy would begin without a memory.
        return self

    def _asked_about(self, captions: Sequence[str]) -> list[list[Question]]:
        if callable(self._candidates):
            candidates = self._candidates(captions)
        else:
            candidates = [self._candidates] * len(captions)
        return [
            [Question(caption, goal=goal) for goal in dict.fromkeys(map(one_line, goals))]
            for caption, goals in zip(captions, candidates, strict=True)
        ]

    def _accepted(self, pairs: Mapping[Question, float | None]) -> tuple[str, ...] | None:
        known = {pair.goal: value for pair, value in pairs.items() if value is not None}
        if pairs and not known:
            return None
        return tuple(goal for goal, value in known.items() if value > self._threshold)

    def _prompt(self, pair: Question) -> str:
        return self._prompts.fill(caption=pair.caption, goal=pair.goal)


def _checked_candidates(
    candidates: Sequence[str] | CandidateFunction | None,
    description: EnvDescription,
) -> tuple[str, ...] | CandidateFunction:
    if callable(candidates):
        return candidates
    if isinstance(candidates, str):
        raise InvalidOptionError(
            f"expected candidates as a list of goals, got the text {candidates!r}; pass [goal]"
        )
    goals = tuple(description.goals if candidates is None else candidates)
    if not goals or not all(isinstance(goal, str) and goal.strip() for goal in goals):
        raise InvalidOptionError(
            f"expected candidates as goals that are not empty, got {goals!r}; "
            f"{description.env_id or 'the environment'} itself names {len(description.goals)} goals"
        )
    return tuple(dict.fromkeys(one_line(goal) for goal in goals))


class _AskingWith:
    """A client with parameters of its own, which says what to do if a provider refuses them."""

    def __init__(self, llm: LLM, params: Mapping[str, Any], *, hint: str) -> None:
        self._llm = llm
        self._params = dict(params)
        self._hint = hint

    @property
    def concurrency(self) -> int:
        return self._llm.concurrency

    def ask(self, prompt: Prompt, **options: Any) -> Answer[Any]:
        with self._explained():
            return self._llm.ask(prompt, params=self._params, **options)

    def ask_many(self, prompts: Iterable[Prompt], **options: Any) -> list[Answer[Any]]:
        with self._explained():
            answers: list[Answer[Any]] = self._llm.ask_many(prompts, params=self._params, **options)
            return answers

    def look_up(self, prompts: Iterable[Prompt], **options: Any) -> list[Answer[Any] | None]:
        return self._llm.look_up(prompts, params=self._params, **options)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequestError as error:
            raise self._with_hint(error) from error
        except BatchError as batch:
            errors = {place: self._with_hint(error) for place, error in batch.errors.items()}
            raise BatchError(str(batch), answers=batch.answers, errors=errors) from batch

    def _with_hint(self, error: Exception) -> Exception:
        if type(error) is not InvalidRequestError:
            return error
        return InvalidRequestError(f"{error}. {self._hint}")


def _probability(answer: Answer[Any]) -> float | None:
    return yes_probability(answer.completion)
