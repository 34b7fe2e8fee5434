"""Consulting guidance: asked in a batch, remembered, checked and counted, and never fatal."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import (
    CacheMissError,
    GuidanceError,
    GuidanceWarning,
    InvalidOptionError,
    UserError,
)
from llm_wrappers.guidance.states import (
    States,
    action_key,
    facts_keys,
    facts_row,
    no_such_fact,
)

__all__ = ["Consult", "Remembering", "Words", "is_for_the_user"]

T = TypeVar("T")


class Remembering(Generic[T]):
    """A bounded memory of answers by key; batch first.

    Args:
        most: How many answers are kept. Beyond, it starts over with what the batch needs.

    >>> memory = Remembering(most=100)
    >>> memory.answers(["a", "b"], lambda places: [f"asked {place}" for place in places])
    ['asked 0', 'asked 1']
    >>> memory.answers(["b", "b"], lambda places: [])
    ['asked 1', 'asked 1']
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, T] = {}
        self._view: Callable[[T], T] | None = None
        # The answers as they are viewed; the same object for as long as there is no view.
        self._viewed = self._known

    def view(self, view: Callable[[T], T] | None) -> None:
        """Give answers from now on as a function makes them of those that are remembered.

        Args:
            view: Called once for each answer, when it is next needed; None for them as they are.
        """
        self._view = view
        self._viewed = self._known if view is None else {}

    def recall(self, keys: Sequence[Hashable]) -> list[T] | None:
        """Return one answer per key, None if some of them are not remembered.

        >>> Remembering(most=100).recall(["a"]) is None
        True
        """
        viewed = self._viewed
        try:
            return [viewed[key] for key in keys]
        except KeyError:
            return None

    def answers(
        self,
        keys: Sequence[Hashable],
        ask: Callable[[list[int]], Sequence[T]],
        *,
        keep: Callable[[T], bool] | None = None,
    ) -> list[T]:
        """Return one answer per key.

        Args:
            keys: Equal keys have one answer.
            ask: From places in `keys`, one for each key that is not remembered, to their answers.
            keep: Which answers are remembered; the others are asked for again the next time. None
                for all.
        """
        found = self.recall(keys)
        if found is not None:
            return found
        known = self._known
        missing = {key: place for place, key in enumerate(keys) if key not in known}
        if len(known) + len(missing) > self._most:
            known = self._known = {key: known[key] for key in keys if key in known}
            self.view(self._view)
        new: Mapping[Hashable, T] = {}
        if missing:
            new = dict(zip(missing, ask(list(missing.values())), strict=True))
            known.update(
                new if keep is None else {key: one for key, one in new.items() if keep(one)}
            )
        if self._view is None:
            return [known[key] if key in known else new[key] for key in keys]
        return [self._seen(key, new, self._view) for key in keys]

    def _seen(self, key: Hashable, new: Mapping[Hashable, T], view: Callable[[T], T]) -> T:
        if key in self._viewed:
            return self._viewed[key]
        if key not in self._known:
            return view(new[key])
        answer = self._viewed[key] = view(self._known[key])
        return answer


_MOST_REMEMBERED = 200_000
_KEY_ERROR = re.compile(r"KeyError: '([^']*)'")


class _Lack(Enum):
    FAILED = "failed"


class Words(NamedTuple):
    """How one kind of guidance is spoken of.

    Args:
        who: What is asked, such as ``"judge"``.
        answers: What it answers with, in the plural.
        meanwhile: What becomes of a step in which it failed.
        asked: The counter of what it was asked about.
        failed: The counter of its failures.
        unanswered: The counter of states that have no answer yet; empty for none.
    """

    who: str
    answers: str
    meanwhile: str
    asked: str
    failed: str
    unanswered: str = ""


def _no_captions(_: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    return ()


class Consult(ABC, Generic[T]):
    """Guidance that is asked in a batch, remembered, checked and counted, and never fatal.

    What says that it is `pure` is asked once for all states that agree in the facts it `reads`,
    and is given only these. Where an answer raises, cannot be used or is not there yet, something
    stands in for it. This is counted, and a failure is warned of once; one bad state does not take
    the answers away from the others of its batch. What the user has to mend (a key, a model, a
    fact that is not there) is raised, unless the guidance has worked before.

    A subclass says how it is asked and how one answer is checked.

    Args:
        guidance: The object that is asked.
        words: How it is spoken of.
        counters: The counters of the subclass, besides those in `words`.
        stand_in: What is returned where there is no answer.
        caption: From facts to one state caption each.
        remember_failures: Whether what failed is not asked again about an equal state.
        together: Whether it is always asked about all states, in their order and in one batch.
        most: How many answers are remembered.
    """

    def __init__(
        self,
        guidance: Any,
        *,
        words: Words,
        counters: Sequence[str] = (),
        stand_in: T,
        caption: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]] = _no_captions,
        remember_failures: bool = False,
        together: bool = False,
        most: int = _MOST_REMEMBERED,
    ) -> None:
        # Why the first failure happened, in one sentence for the user.
        self.cause: str | None = None
        of_words = [name for name in (words.unanswered, words.failed, words.asked) if name]
        self.counts = dict.fromkeys((*counters, *of_words, "consulted", "unguided"), 0)
        self._guidance = guidance
        self._words = words
        self._stand_in = stand_in
        self._caption = caption
        self._pure = bool(getattr(guidance, "pure", False))
        self._reads: tuple[str, ...] | None = None
        if self._pure and getattr(guidance, "reads", None) is not None:
            self._reads = tuple(guidance.reads)
        self._together = together and not self._pure
        self._keep = None if remember_failures else _is_answer
        self._memory: Remembering[T | _Lack | None] = Remembering(most)
        self._worked = False
        # Whether some of what is remembered is a failure.
        self._lacks = False

    def reset(self, fresh: NDArray[np.bool_]) -> None:
        """Tell guidance that wants to know where episodes begin, shape (n,)."""
        begin = getattr(self._guidance, "reset", None)
        if begin is None:
            return
        try:
            begin(fresh.copy())
        except Exception as error:
            self._fail(error, None)
            self.counts[self._words.failed] += 1

    def stats(self) -> dict[str, Any]:
        """Return the counters, with those of the guidance where it has some."""
        theirs = getattr(self._guidance, "stats", None)
        return {**self.counts} if theirs is None else {**self.counts, self._words.who: theirs()}

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode, ready for JSON."""
        return {**self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else; nothing is changed then.
        """
        self.counts.update(self._checked_counts(state))

    def _checked_counts(self, state: Mapping[str, Any]) -> dict[str, int]:
        expected = self.state_dict().keys()
        if not isinstance(state, Mapping) or state.keys() != expected:
            got = sorted(map(str, state)) if isinstance(state, Mapping) else repr(state)
            raise InvalidOptionError(
                f"expected the state of a {self._words.who} with {sorted(expected)}, got {got}; "
                "this is the state of something else"
            )
        return {name: checks.whole(name, state[name], least=0) for name in self.counts}

    @abstractmethod
    def _ask(self, states: States, actions: Sequence[Any]) -> Sequence[Any]:
        """Return what the guidance answers about n states."""

    @abstractmethod
    def _check(self, answer: Any) -> T | None:
        """Return one answer as it can be used, None where there is none yet, or raise."""

    def _answers(
        self,
        facts: Sequence[Mapping[str, Any]],
        rows: Sequence[int] | None = None,
        actions: Sequence[Any] | None = None,
    ) -> list[T]:
        """Return the answers about some of n states.

        Args:
            facts: Of all n.
            rows: Which of them are wanted; None for all.
            actions: The n actions, where an answer depends on them.
        """
        wanted = range(len(facts)) if rows is None else rows
        if not self._pure:
            return self._counted(self._asked_anew(facts, wanted, actions))
        try:
            keys = facts_keys(facts, self._reads, rows)
        except InvalidOptionError as error:
            return self._unreadable(facts, wanted, actions, error)
        if actions is not None:
            chosen = map(actions.__getitem__, wanted)
            keys = list(zip(keys, map(action_key, chosen), strict=True))
        known = self._memory.recall(keys)
        if known is None:

            def ask(places: list[int]) -> list[T | _Lack | None]:
                return self._asked(facts, [wanted[place] for place in places], actions)

            known = self._memory.answers(keys, ask, keep=self._keep)
        elif not self._lacks:
            # In most steps: nothing to ask, and nothing of it is a failure.
            self.counts["consulted"] += len(known)
            return known  # type: ignore[return-value]
        return self._counted(known)

    def _counted(self, found: list[T | _Lack | None]) -> list[T]:
        """Count what there is and what there is not, and put the stand-in where there is none."""
        counts = self.counts
        counts["consulted"] += len(found)
        lacking = [answer for answer in found if answer is None or answer is _Lack.FAILED]
        if not lacking:
            return found  # type: ignore[return-value]
        failed = lacking.count(_Lack.FAILED)
        counts["unguided"] += len(lacking)
        counts[self._words.failed] += failed
        if self._words.unanswered:
            counts[self._words.unanswered] += len(lacking) - failed
        instead = self._stand_in
        return [instead if one is None or isinstance(one, _Lack) else one for one in found]

    def _unreadable(
        self,
        facts: Sequence[Mapping[str, Any]],
        rows: Sequence[int],
        actions: Sequence[Any] | None,
        error: InvalidOptionError,
    ) -> list[T]:
        if len(rows) > 1:
            return [self._answers(facts, [row], actions)[0] for row in rows]
        said = InvalidOptionError(f"the {self._words.who} cannot be asked: {error}")
        return self._counted([self._fail(said, facts[rows[0]])])

    def _asked_anew(
        self,
        facts: Sequence[Mapping[str, Any]],
        rows: Sequence[int],
        actions: Sequence[Any] | None,
    ) -> list[T | _Lack | None]:
        if not (self._together and len(rows)):
            return self._asked(facts, rows, actions)
        every = self._asked(facts, range(len(facts)), actions)
        return [every[row] for row in rows]

    def _asked(
        self,
        facts: Sequence[Mapping[str, Any]],
        rows: Sequence[int],
        actions: Sequence[Any] | None,
    ) -> list[T | _Lack | None]:
        if not len(rows):
            return []
        try:
            answers = self._asked_at_once(facts, rows, actions)
        except Exception as error:
            if len(rows) > 1 and not self._together:
                # One bad state must not take the guidance away from the others.
                return [self._asked(facts, [row], actions)[0] for row in rows]
            self.counts[self._words.asked] += len(rows)
            return [self._fail(error, facts[rows[0]])] * len(rows)
        self.counts[self._words.asked] += len(rows)
        self._worked = True
        try:
            # In most steps all of them can be used; what said in place of an answer why there is
            # none fits no check.
            return [self._check(answer) for answer in answers]
        except Exception:
            return [
                self._checked(answer, facts, row) for answer, row in zip(answers, rows, strict=True)
            ]

    def _asked_at_once(
        self,
        facts: Sequence[Mapping[str, Any]],
        rows: Sequence[int],
        actions: Sequence[Any] | None,
    ) -> list[Any]:
        # A caption is of the whole state, although the guidance may read only a part of it.
        states = States(
            [self._given(facts, row) for row in rows],
            lambda _: self._caption([facts[row] for row in rows]),
        )
        chosen = () if actions is None else [actions[row] for row in rows]
        answers = list(self._ask(states, chosen))
        if len(answers) != len(rows):
            raise GuidanceError(f"expected {len(rows)} {self._words.answers}, got {len(answers)}")
        return answers

    def _given(self, facts: Sequence[Mapping[str, Any]], row: int) -> Mapping[str, Any]:
        if self._reads is not None:
            return facts_row(facts, row, self._reads)
        whole = facts[row]
        # Nobody who is asked can change the facts of the others.
        return dict(whole) if isinstance(whole, dict) else whole

    def _checked(
        self, answer: Any, facts: Sequence[Mapping[str, Any]], row: int
    ) -> T | _Lack | None:
        try:
            if isinstance(answer, GuidanceError):
                # Said in place of the answer, so that the other states keep theirs.
                raise answer
            return self._check(answer)
        except Exception as error:
            return self._fail(error, facts[row])

    def _fail(self, error: Exception, facts: Mapping[str, Any] | None) -> _Lack:
        """Raise what is for the user; warn of anything else, once."""
        if is_for_the_user(error, worked=self._worked):
            raise error
        self._lacks = self._keep is None
        if self.cause is None:
            self.cause = _in_the_users_terms(error, facts, self._reads)
            warnings.warn(
                f"the {self._words.who} failed ({self.cause}); {self._words.meanwhile} and are "
                "counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )
        return _Lack.FAILED


def is_for_the_user(error: Exception, *, worked: bool) -> bool:
    """Return whether an error of guidance is raised instead of counted.

    That is so where the user got something wrong and the guidance has never worked, and always
    where a recorded answer is missing, because a replay promises to reproduce.
    """
    return isinstance(error, CacheMissError) or (not worked and isinstance(error, UserError))


def _is_answer(answer: Any) -> bool:
    return answer is not None and answer is not _Lack.FAILED


def _in_the_users_terms(
    error: Exception, facts: Mapping[str, Any] | None, reads: tuple[str, ...] | None
) -> str:
    """Return why guidance failed, naming the fact that it misses where that is so.

    Args:
        error: What it met.
        facts: Of the state that it was asked about; None where it was asked about none.
        reads: The only facts that it was given; None for all.
    """
    if facts is not None:
        unknown = [name for name in reads or () if name not in facts]
        name = unknown[0] if unknown else _name_read(error, facts)
        if name is not None and name not in facts:
            return no_such_fact(name, facts)
        if name is not None and reads is not None and name not in reads:
            return f"it reads the fact {name!r}, which is not among the names in its reads {reads}"
    return f"{type(error).__name__}: {error}"


def _name_read(error: Exception, facts: Mapping[str, Any]) -> str | None:
    """Return the fact that was looked up in vain, None where something else went wrong."""
    key: Any = None
    if type(error) is KeyError and error.args:
        key = error.args[0]
    elif isinstance(error, GuidanceError):
        # Code that runs contained can only say in words what it met.
        said = _KEY_ERROR.match(str(error))
        key = said and said[1]
    if type(key) is not str:
        return None
    # A table of the guidance's own is looked into with the value of a fact, not with its name.
    texts = [value for value in facts.values() if type(value) in (str, tuple)]
    is_value = any(key == text or (type(text) is tuple and key in text) for text in texts)
    return None if is_value else key
