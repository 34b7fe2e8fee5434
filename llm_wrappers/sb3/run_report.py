"""One file that says what a training run did, and what its language model cost."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import gymnasium as gym
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.artefact import GuidanceArtefact, load_artefact
from llm_wrappers.llm import LLM
from llm_wrappers.sb3._run_record import RunRecord, authoring_entry, counters, read_report
from llm_wrappers.scores import format_table

__all__ = ["RunReportCallback"]

_COLUMNS = ("calls", "cache_hits", "failures", "tokens", "dollars")
_UNKNOWN = "unknown"


class RunReportCallback(BaseCallback):
    """Writes a JSON report of a training run: steps, seconds, guidance, and the model's cost.

    It says how many calls, tokens and dollars a language model cost, by purpose and per 1,000,000
    environment steps, once for training alone and once with what writing the guidance cost. What
    nobody knows, such as dollars without a price, is null and never 0. Whole numbers in the
    wrappers' statistics are counters: they are summed over the sub-environments, from the start of
    training. Other numbers are as they are now, as means.

    The file is written after the first rollout, after every so many, and at the end; each time
    whole or not at all. Used as a context manager it says how training ended, by Ctrl-C or an
    exception too. Without, such an end is noted when Python exits, as ``"stopped"``.

    With ``reset_num_timesteps=False`` the figures go on from those in the file, also in another
    process. Clients in other processes are not seen.

    Args:
        path: The file; folders are made where needed.
        llms: Clients that are asked while training, for example by wrappers.
        artefacts: Guidance that is used, as objects or folders; what writing it cost is read from
            its provenance.
        every: After how many rollouts the file is written again (our choice: 10).
        verbose: 1 prints a summary at the end.

    Raises:
        InvalidOptionError: If an option has a value that cannot work, or the file at `path` is no
            run report.
        GuidanceFileError: If a folder is no artefact.

    >>> import tempfile
    >>> from stable_baselines3 import PPO
    >>> from llm_wrappers.testing import ScriptedLLM
    >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, device="cpu")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunReportCallback(f"{folder}/run.json", llms=[ScriptedLLM(["yes"])]) as report:
    ...         _ = model.learn(128, callback=report)
    >>> report.figures["status"], report.figures["env_steps"]["run"]
    ('finished', 128)
    >>> report.figures["llm"]["per_1m_env_steps"]["training"]
    {'calls': 0.0, 'tokens': 0.0, 'dollars': 0.0}
    """

    def __init__(
        self,
        path: str | Path,
        *,
        llms: Sequence[LLM] = (),
        artefacts: Sequence[GuidanceArtefact | str | Path] = (),
        every: int = 10,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        checks.whole("every", every, least=1)
        _check_sequence("llms", llms, LLM)
        _check_sequence("artefacts", artefacts, (GuidanceArtefact, str, Path))
        self._path = Path(path)
        self._llms = tuple(llms)
        self._authoring = [authoring_entry(_loaded(artefact)) for artefact in artefacts]
        self._every = every
        self._record: RunRecord | None = None
        read_report(self._path)

    @property
    def figures(self) -> dict[str, Any]:
        """The report as plain JSON data, as it would be written now; empty before training."""
        return {} if self._record is None else self._record.figures()

    def summary(self) -> str:
        """Return the report as a text for people.

        Raises:
            InvalidOptionError: If no training has started.
        """
        if self._record is None:
            raise InvalidOptionError(
                "expected a training that has started, got none; pass this callback to `learn`"
            )
        return _summary_of(self._record.figures())

    def close(self) -> None:
        """Write the report, where training ended by an exception; harmless if it has ended."""
        self._end("stopped")

    def __enter__(self) -> RunReportCallback:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt):
            self._end("interrupted", kind.__name__)
        else:
            self._end("failed", kind.__name__)

    def _on_training_start(self) -> None:
        self.close()
        self._rollouts = 0
        self._has_stats = self.training_env.has_attr("all_stats")
        self._record = RunRecord(
            self._path,
            about=self._about(),
            llms=self._llms,
            authoring=self._authoring,
            earlier=read_report(self._path) if self.num_timesteps else {},
            model_steps=self.num_timesteps,
            stats=counters(self._stats()),
        )
        # The record knows nothing of this callback, which may therefore end before it.
        weakref.finalize(self, self._record.end, "stopped")

    def _on_step(self) -> bool:
        self._running.model_steps = self.num_timesteps
        return True

    def _on_rollout_end(self) -> None:
        self._log()
        if self._rollouts % self._every == 0:
            self._note()
            self._running.write()
        self._rollouts += 1

    def _on_training_end(self) -> None:
        self._note()
        self._end("finished")

    def _end(self, status: str, error: str | None = None) -> None:
        if self._record is None or self._record.status != "running":
            return
        self._record.end(status, error)
        if self.verbose:
            print(self.summary())

    @property
    def _running(self) -> RunRecord:
        assert self._record is not None
        return self._record

    def _note(self) -> None:
        rows = self._stats()
        if rows:
            self._running.note_guidance(rows)

    def _stats(self) -> list[Any]:
        if not self._has_stats:
            return []
        # A wrapper around a whole vector environment is asked once, and its answer repeated.
        rows = self.training_env.env_method("all_stats")
        return list({id(row): row for row in rows}.values())

    def _log(self) -> None:
        used = self._running.usage
        if used is None:
            return
        total, steps = used.total, self._running.steps
        self.logger.record("llm/calls", total.calls)
        self.logger.record("llm/tokens", total.tokens)
        self.logger.record("llm/calls_per_1m_steps", total.calls * 1_000_000 / max(steps, 1))
        if not total.unpriced_calls:
            self.logger.record("llm/dollars", total.dollars)

    def _about(self) -> dict[str, Any]:
        return {
            "algorithm": type(self.model).__name__,
            "num_envs": self.training_env.num_envs,
            "seed": self.model.seed,
            "versions": {
                "llm_wrappers": __version__,
                "gymnasium": gym.__version__,
                "stable_baselines3": stable_baselines3.__version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        }


def _loaded(artefact: GuidanceArtefact | str | Path) -> GuidanceArtefact:
    return artefact if isinstance(artefact, GuidanceArtefact) else load_artefact(artefact)


def _check_sequence(name: str, given: Any, kinds: Any) -> None:
    if not isinstance(given, list | tuple) or not all(isinstance(item, kinds) for item in given):
        expected = "LLM clients" if name == "llms" else "GuidanceArtefact objects or folders"
        raise InvalidOptionError(f"expected {name} as a list of {expected}, got {given!r}")


def _summary_of(report: Mapping[str, Any]) -> str:
    """Return the figures of a report in a few lines and tables."""
    steps, seconds = report["env_steps"], report["seconds"]
    speed = report["steps_per_second"] or 0.0
    blocks = [
        f"Training {report['status']}: {steps['run']:,} environment steps in "
        f"{seconds['run']:.1f} s ({speed:,.0f} per second); {steps['reported']:,} steps in all"
    ]
    if report["guidance"]:
        blocks.append(format_table(list(_guidance_rows(report["guidance"]))))
    if report["llm"]["training"] is not None or report["llm"]["authoring"]:
        blocks.append(format_table(list(_llm_rows(report["llm"]))))
    return "\n\n".join(blocks)


def _guidance_rows(guidance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in ("counters", "latest"):
        for wrapper, values in guidance[part].items():
            for name, value in _flat(values):
                yield {"wrapper": wrapper, "what": name, "value": value}


def _llm_rows(llm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    training, rates = llm["training"], llm["per_1m_env_steps"]
    for purpose, counts in (training or {}).get("purposes", {}).items():
        yield _row(f"training: {purpose}", counts)
    if training is not None:
        yield _row("training", training["total"])
        yield _row("training, per 1,000,000 steps", rates["training"])
    for entry in llm["authoring"]:
        used = entry["usage"]
        yield _row(f"writing, by {entry['author']}", None if used is None else used["total"])
    if llm["authoring"]:
        yield _row("with writing, per 1,000,000 steps", rates["with_authoring"])


def _row(name: str, counts: Mapping[str, Any] | None) -> dict[str, Any]:
    if counts is None:
        return {"language model": name, **dict.fromkeys(_COLUMNS, _UNKNOWN)}
    shown = {column: counts.get(column) for column in _COLUMNS}
    if shown["dollars"] is None:
        shown["dollars"] = _UNKNOWN
    return {"language model": name, **shown}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value
