"""What stands in for the answer of a planner that gave none."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import GuidanceError

__all__ = ["PlannerFailure"]

_LONGEST_MESSAGE = 300


class PlannerFailure(GuidanceError):
    """One state for which planner code gave no usable answer.

    A runtime returns it in the place of the answer, so that the other states of the batch keep
    theirs. It holds text and numbers alone, never a value or an exception of the planner.

    Args:
        kind: ``"raised"``, ``"timeout"``, ``"memory"``, ``"crashed"``, ``"answer"``,
            ``"load"`` or ``"given up"``.
        message: What happened; cut and cleaned, because planner code may have written it.
        line: The line of the planner, where one is known.

    >>> print(PlannerFailure("raised", "KeyError: 'wood'", line=7))
    KeyError: 'wood' (line 7 of the planner)
    """

    def __init__(self, kind: str, message: str, *, line: int | None = None) -> None:
        self.kind = kind
        self.message = one_line(message, most=_LONGEST_MESSAGE)
        self.line = line
        where = "" if line is None else f" (line {line} of the planner)"
        super().__init__(self.message + where)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.kind, self.message, self.line)


def one_line(text: str, *, most: int) -> str:
    r"""Return a text on one line of visible ASCII characters, cut to a length.

    >>> one_line("a\n\x1b[31mb", most=20)
    'a ?[31mb'
    >>> one_line("abcdefgh", most=6)
    'abc...'
    """
    # Cut first: cleaning a text of 50 million characters would take seconds.
    words = text[: most + 1].split()
    shown = "".join(c if " " <= c <= "~" else "?" for c in " ".join(words))
    return shown if len(shown) <= most and len(text) <= most else shown[: most - 3] + "..."


def _restored(kind: str, message: str, line: int | None) -> PlannerFailure:
    return PlannerFailure(kind, message, line=line)
