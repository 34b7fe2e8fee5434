"""What failed while a live source was used: counted, said once, raised if the user can fix it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llm_wrappers.errors import (
    BudgetExceededError,
    CacheMissError,
    GuidanceWarning,
    InvalidAnswerError,
    LLMWrappersError,
    ProviderError,
    UserError,
)

__all__ = ["Failed", "Failures", "Stage"]

Stage: TypeAlias = Literal["prompt", "look_up", "ask", "parse"]

_KINDS: dict[str, type[BaseException]] = {
    "budget": BudgetExceededError,
    "provider": ProviderError,
    "invalid_answer": InvalidAnswerError,
    "user": UserError,
    "other": BaseException,
}


@dataclass(frozen=True)
class Failed:
    """What stands in for an answer that could not be had: what was being done, and its error."""

    stage: Stage
    error: BaseException

    @property
    def kind(self) -> str:
        """Under which name it is counted."""
        if self.stage in ("prompt", "parse"):
            return self.stage
        return next(kind for kind, error in _KINDS.items() if isinstance(self.error, error))


class Failures:
    """Counts failures by kind and warns of the first; raises what is the user's to fix."""

    def __init__(self, purpose: str) -> None:
        self.counts = dict.fromkeys(("parse", "prompt", *_KINDS), 0)
        self._purpose = purpose
        self._worked: set[Stage] = set()
        self._warned = False

    def worked(self, stage: Stage) -> None:
        """Note that a stage can work, so that what fails there from now on is no wrong option."""
        self._worked.add(stage)

    def meet(self, failed: Failed) -> None:
        """Count a failure, or raise it.

        Raises:
            BaseException: The error itself, if the user got something wrong and this is the first
                use; a missing answer in replay always, since replay promises reproduction.
        """
        if self._is_for_the_user(failed):
            raise failed.error
        self.counts[failed.kind] += 1
        if failed.kind != "budget" and not self._warned:
            self._warned = True
            self._warn(
                f"no answer ({_named(failed)}); steps without an answer run without guidance and "
                "are counted in stats(); said once"
            )

    def budget_is_spent(self, error: BaseException) -> None:
        """Warn that nothing more will be asked."""
        self._warn(
            f"{error}; nothing more is asked, and steps without an answer run without guidance; "
            "raise the budget and call ask_missed(), or begin again with a new source"
        )

    def _is_for_the_user(self, failed: Failed) -> bool:
        if isinstance(failed.error, CacheMissError):
            return True
        if failed.stage in self._worked or failed.stage == "parse":
            return False
        return failed.stage == "prompt" or isinstance(failed.error, UserError)

    def _warn(self, message: str) -> None:
        warnings.warn(f"live source {self._purpose!r}: {message}", GuidanceWarning, stacklevel=2)


def _named(failed: Failed) -> str:
    name = type(failed.error).__name__
    if failed.stage in ("look_up", "ask") and not isinstance(failed.error, LLMWrappersError):
        # The text of a foreign exception may hold anything, an API key too.
        return f"{name} while asking the model; llm.ask(...) shows it in full"
    task = {"prompt": " in prompt", "parse": " in parse"}.get(failed.stage, "")
    return f"{name}{task}: {failed.error}"
