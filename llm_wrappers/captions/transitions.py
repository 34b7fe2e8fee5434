"""What the actions did, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.consult import Remembering
from llm_wrappers.guidance.states import action_key, facts_keys, facts_row

__all__ = ["TransitionCaptions"]

_MOST_REMEMBERED = 100_000


class TransitionCaptions:
    """A captioner's transition captions, remembered where it says which facts they read.

    Args:
        captioner: With `transition_reads`, names of facts, its captions are a function of these
            and of the action: it is given only these, and each caption is written once. Without,
            each is written anew.
    """

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self._reads: tuple[str, ...] | None = getattr(captioner, "transition_reads", None)
        self._known: Remembering[str] = Remembering(_MOST_REMEMBERED)

    def of(
        self,
        before: Sequence[Facts],
        actions: Sequence[Any],
        after: Sequence[Facts],
        rows: Sequence[int],
    ) -> list[str]:
        """Return what the actions did in some of n sub-environments.

        Args:
            before: The facts of all n before the step.
            actions: Their n actions.
            after: The facts of all n after it.
            rows: Which of them are wanted.

        Raises:
            IncompatibleEnvironmentError: If the captioner does not return one text for each.
        """
        if self._reads is None:
            return self._written(before, actions, after, rows)
        old, new = facts_keys(before, self._reads), facts_keys(after, self._reads)
        keys = [(old[row], action_key(actions[row]), new[row]) for row in rows]

        def write(places: list[int]) -> list[str]:
            return self._written(before, actions, after, [rows[place] for place in places])

        return self._known.answers(keys, write)

    def _written(
        self,
        before: Sequence[Facts],
        actions: Sequence[Any],
        after: Sequence[Facts],
        rows: Sequence[int],
    ) -> list[str]:
        captions = list(
            self._captioner.transition_captions(
                [facts_row(before, row, self._reads) for row in rows],
                [actions[row] for row in rows],
                [facts_row(after, row, self._reads) for row in rows],
            )
        )
        if len(captions) != len(rows) or not all(isinstance(text, str) for text in captions):
            raise IncompatibleEnvironmentError(
                f"transition_captions of {type(self._captioner).__name__} must return one text for "
                f"each of {len(rows)} transitions, got {captions!r}"
            )
        return captions
