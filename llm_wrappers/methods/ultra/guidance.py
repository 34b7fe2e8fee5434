"""From played episodes to a table of critical states: select, correct, save."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import GuidanceError, GuidanceFileError, GuidanceWarning
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import CriticalMoment, Selector
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.llm import LLM
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.methods._asking import MISSING
from llm_wrappers.methods.ultra.history import History
from llm_wrappers.methods.ultra.llm_corrector import LLMCorrector
from llm_wrappers.methods.ultra.llm_selector import LLMSelector
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["UltraReport", "check_writable", "write_guidance"]

_SAID_ELSEWHERE = ("questions", "moments", "selected", "corrected")


@dataclass(frozen=True)
class UltraReport:
    """The table of critical states that was written, and how it came about.

    Args:
        critical_states: The table, with its provenance.
        moments: What the selector returned.
        episodes: How many episodes were looked at.
        steps: How many steps they have.
        corrected: How many moments have advice.
        selector_stats: The counters of this run of the selector, {} if it has none.
        corrector_stats: Those of the corrector.
        usage: What language models used in this run.
        complete: False if questions to a model have no answer; asked again, they may have.
    """

    critical_states: CriticalStates
    moments: Sequence[CriticalMoment]
    episodes: int
    steps: int
    corrected: int
    selector_stats: Mapping[str, Any]
    corrector_stats: Mapping[str, Any]
    usage: Usage
    complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data for JSON, the table left out."""
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "selected": len(self.moments),
            "corrected": self.corrected,
            "keys": len(self.critical_states),
            "conflicts": self.critical_states.counts["conflicts"],
            "complete": self.complete,
            "selector": dict(self.selector_stats),
            "corrector": dict(self.corrector_stats),
            "usage": self.usage.as_dict(),
        }

    def __str__(self) -> str:
        total = self.usage.total
        price = f"${total.dollars:.4g}" + (", not all prices known" * bool(total.unpriced_calls))
        rows = [
            ("episodes", f"{self.episodes} of {self.steps} steps altogether"),
            ("selected", f"{len(self.moments)} moments{_others(self.selector_stats)}"),
            ("corrected", f"{self.corrected} of them{_others(self.corrector_stats)}"),
            ("table", f"{len(self.critical_states)} keys, {self._conflicts()} with conflicts"),
            ("requests", f"{total.calls}, answers from the cache: {total.cache_hits}"),
            ("tokens", f"{total.prompt_tokens} asked, {total.completion_tokens} answered"),
            ("price", price),
            ("complete", "yes" if self.complete else "no: run it again to ask for the rest"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)

    def _conflicts(self) -> int:
        return self.critical_states.counts["conflicts"]


def _others(stats: Mapping[str, Any]) -> str:
    said = [
        f"{name.replace('_', ' ')} {count}"
        for name, count in stats.items()
        if isinstance(count, int) and count and name not in _SAID_ELSEWHERE
    ]
    return f" ({', '.join(said)})" if said else ""


def write_guidance(
    trajectories: Sequence[Trajectory],
    *,
    selector: Selector,
    corrector: Corrector,
    per_episode: int = 5,
    key: str = "nearest:0.25",
    part: str | None = None,
    out: str | Path | None = None,
) -> UltraReport:
    """Have critical states of played episodes found and corrected, and save the table.

    ULTRA (arXiv 2505.20671): both stages run before the policy is trained on; no model is asked
    during training. Any selector goes with any corrector. Where both ask a model, the corrector is
    told what the selector's model said of the behaviour in the episode, as in ULTRA-R.

    Interrupted, or where a budget was spent, run it again with the same cache: only what is missing
    is asked and paid for. A table without any advice is not saved.

    Args:
        trajectories: The episodes.
        selector: Finds the moments.
        corrector: Names better actions and rates what was done.
        per_episode: How many moments of each episode (our choice; the paper's number is not known
            to us).
        key: When two states are the same, see `CriticalStates`. The standard deviations of
            ``"nearest"`` are those of all states of the episodes, not only the critical ones.
        part: Which entry of a Dict observation the states are; None for what the corrector's
            attribute `part` says, if it has one, or other observations.
        out: The JSON file; None for no file.

    Raises:
        GuidanceError: If the selector or the corrector returns what its protocol does not allow.
        GuidanceFileError: If `out` cannot be written; said before anybody is asked.
        InvalidOptionError: If `part` is none of the observations'; likewise.
        UserError: As the selector and the corrector say; as `CriticalStates` says.

    >>> import numpy as np
    >>> from llm_wrappers.guidance import Trajectory
    >>> class First:
    ...     def select(self, trajectories, *, per_episode):
    ...         return [CriticalMoment(number, 0) for number in range(len(trajectories))]
    >>> class Opposite:
    ...     def correct(self, trajectories, moments):
    ...         played = [(trajectories[moment.episode], moment.step) for moment in moments]
    ...         return [CriticalState(t.observations[s], 1 - t.actions[s]) for t, s in played]
    >>> episode = Trajectory(np.zeros((3, 1)), np.array([0, 0]), [0, -1], True, False)
    >>> report = write_guidance([episode], selector=First(), corrector=Opposite())
    >>> report.critical_states.actions, report.critical_states.provenance["corrector"]["author"]
    (array([1]), 'Opposite')
    """
    most = checks.whole("per_episode", per_episode, least=1)
    part = getattr(corrector, "part", None) if part is None else part
    if out is not None:
        check_writable(out)
    history = History.of(trajectories, part)
    scales = history.scales(key)
    clients = _clients(selector, corrector)
    usage = [client.usage for client in clients]
    before = _stats(selector), _stats(corrector)
    moments = _checked_moments(
        selector.select(trajectories, per_episode=most), history.lengths, most
    )
    states = _checked_states(_corrected(corrector, selector, trajectories, moments), moments)
    entries = [state for state in states if state is not None]
    selected, corrected = _gained(selector, before[0]), _gained(corrector, before[1])
    used = _sum([client.usage - earlier for client, earlier in zip(clients, usage, strict=True)])
    counts: dict[str, Any] = {
        "episodes": len(history.lengths),
        "steps": sum(history.lengths),
        "corrected": len(entries),
        "complete": not any(stats.get(kind) for stats in (selected, corrected) for kind in MISSING),
    }
    provenance = {
        "selector": {**_author(selector), "stats": selected},
        "corrector": {**_author(corrector), "stats": corrected},
        "per_episode": most,
        "selected": len(moments),
        **counts,
        "usage": used.as_dict(),
        "library_version": __version__,
    }
    table = CriticalStates(entries, key=key, part=part, scales=scales, provenance=provenance)
    if out is not None:
        _save(table, out)
    return UltraReport(
        critical_states=table,
        moments=moments,
        selector_stats=selected,
        corrector_stats=corrected,
        usage=used,
        **counts,
    )


def check_writable(path: str | Path) -> None:
    """Say that a file cannot be written before anything is played or paid; make its folder."""
    target = Path(path)
    if target.is_dir():
        raise GuidanceFileError(f"expected a file for the table, got the folder {target}: name one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GuidanceFileError(
            f"cannot make the folder of {target}: {error.strerror}; name another place"
        ) from error
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise GuidanceFileError(f"{target} may not be written; name another place")


def _save(table: CriticalStates, out: str | Path) -> None:
    if len(table):
        table.save(out)
        return
    warnings.warn(
        f"no critical state has any advice, {out} was not written; the report says what became of "
        "the moments",
        GuidanceWarning,
        stacklevel=3,
    )


def _corrected(
    corrector: Corrector,
    selector: Selector,
    trajectories: Sequence[Trajectory],
    moments: Sequence[CriticalMoment],
) -> Sequence[CriticalState | None]:
    if isinstance(corrector, LLMCorrector) and isinstance(selector, LLMSelector):
        return corrector.correct(trajectories, moments, analyses=selector.analyses)
    return corrector.correct(trajectories, moments)


def _checked_moments(moments: Any, lengths: Sequence[int], most: int) -> list[CriticalMoment]:
    found = list(moments)
    for moment in found:
        if not isinstance(moment, CriticalMoment):
            raise GuidanceError(
                f"expected a selector that returns CriticalMoment objects, got {moment!r}"
            )
        if moment.episode >= len(lengths) or moment.step >= lengths[moment.episode]:
            raise GuidanceError(
                f"expected a selector that returns steps of the {len(lengths)} episodes, got step "
                f"{moment.step} of episode {moment.episode}"
            )
    if len({(moment.episode, moment.step) for moment in found}) < len(found):
        raise GuidanceError("expected a selector that returns no moment twice; it did")
    if max(Counter(moment.episode for moment in found).values(), default=0) > most:
        raise GuidanceError(
            f"expected a selector that returns at most per_episode={most} moments of an episode, "
            "it returned more"
        )
    return found


def _checked_states(states: Any, moments: Sequence[CriticalMoment]) -> list[CriticalState | None]:
    found = list(states)
    if len(found) != len(moments):
        raise GuidanceError(
            f"expected a corrector that returns a CriticalState or None for each of the "
            f"{len(moments)} moments, got {len(found)}"
        )
    return found


def _clients(*parts: Any) -> list[LLM]:
    found = [getattr(part, "llm", None) for part in parts]
    return list({id(client): client for client in found if isinstance(client, LLM)}.values())


def _stats(part: Any) -> dict[str, Any]:
    stats = getattr(part, "stats", None)
    counted: Mapping[str, Any] = {} if stats is None else stats()
    return dict(counted)


def _gained(part: Any, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters of a selector or corrector since an earlier moment."""
    return {
        # Shares and texts are no counts.
        name: value - before.get(name, 0) if isinstance(value, int) else value
        for name, value in _stats(part).items()
    }


def _author(part: Any) -> dict[str, Any]:
    """Return who selected or corrected: a model where one was asked, else the class."""
    provenance = getattr(part, "provenance", None)
    told: Mapping[str, Any] = {} if provenance is None else provenance()
    return {"author": type(part).__name__, **told}


def _sum(usages: Sequence[Usage]) -> Usage:
    purposes = dict.fromkeys(purpose for usage in usages for purpose in usage)
    return Usage(
        tuple(
            (purpose, sum((usage[purpose] for usage in usages), Counts())) for purpose in purposes
        )
    )
