"""Re-weighting goals from what training has reached: the protocol and its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm import LLM
from llm_wrappers.llm.names import resolve_llm
from llm_wrappers.methods.sgrl.llm_reweigher import LLMReweigher
from llm_wrappers.methods.sgrl.reference_reweigher import ReferenceReweigher
from llm_wrappers.methods.sgrl.unlock_report import UnlockReport
from llm_wrappers.registry import Registry

__all__ = ["FunctionReweigher", "Reweigher", "ReweigherFunction", "resolve_reweigher"]

ReweigherFunction: TypeAlias = "Callable[[UnlockReport], Mapping[str, float]]"


@runtime_checkable
class Reweigher(Protocol):
    """What training has reached to new factors for the weights of goals.

    A re-weigher may also have `stats`, which returns counters by name; they are logged.
    """

    def factors(self, report: UnlockReport) -> Mapping[str, float]:
        """Return goal -> factor, finite and > 0; a goal that is left out has the factor 1."""
        ...


class FunctionReweigher:
    """A plain function as a re-weigher.

    Args:
        function: From an `UnlockReport` to goal -> factor.

    >>> reweigher = FunctionReweigher(lambda report: {"eat cow": 0.5})
    >>> reweigher.factors(UnlockReport(0, 0, {}))
    {'eat cow': 0.5}
    """

    def __init__(self, function: ReweigherFunction) -> None:
        self.function = function

    def factors(self, report: UnlockReport) -> Mapping[str, float]:
        """Call the function."""
        return self.function(report)


def resolve_reweigher(
    reweigher: str | LLM | Reweigher | ReweigherFunction,
    *,
    description: EnvDescription | None = None,
    goals: Sequence[str] | None = None,
) -> Reweigher:
    """Return the re-weigher that an object, a plain function or a name stands for.

    Args:
        reweigher: ``"reference"`` (a rule written by hand), ``"none"`` (factors stay as they are),
            ``"llm:MODEL?cache=answers.sqlite"`` or a client, for `LLMReweigher`; an object with
            ``factors(report)``; or a function of the report.
        description: Rules and goals of the environment, for a language model.
        goals: The goal vocabulary, for a language model; None for that of the description.

    Raises:
        UnknownNameError: If no re-weigher has the name.
        InvalidOptionError: If it is none of these, or a language model has no description.

    >>> type(resolve_reweigher("reference")).__name__
    'ReferenceReweigher'
    """
    if isinstance(reweigher, LLM):
        return _asking(reweigher, description, goals)
    return _REWEIGHERS.resolve(reweigher, description=description, goals=goals)


def _asking(
    llm: LLM, description: EnvDescription | None, goals: Sequence[str] | None
) -> LLMReweigher:
    if description is None:
        raise InvalidOptionError(
            "expected a description of the environment for the language model, got None; pass "
            "description=, for example that of env.get_wrapper_attr('env_description')()"
        )
    return LLMReweigher(llm, description, goals)


def _present_factors(report: UnlockReport) -> Mapping[str, float]:
    return report.factors


_REWEIGHERS: Registry[Reweigher] = Registry(
    "reweigher",
    Reweigher,
    "an object with factors(report), a function of a report that returns goal -> factor, or a "
    'name such as "reference"',
    adapt=FunctionReweigher,
    names={
        "reference": lambda _, **context: ReferenceReweigher(),
        "none": lambda _, **context: FunctionReweigher(_present_factors),
        "llm:MODEL": lambda rest, **context: _asking(resolve_llm(f"llm:{rest}"), **context),
    },
)
