"""Which callbacks of a training evaluate, in which environments, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps

from llm_wrappers.sb3._any_env import AnyEnv, is_any_env

__all__ = ["Evaluation", "evaluations_among"]


class Evaluation:
    """A callback with an `eval_env`, such as SB3's `EvalCallback`.

    Args:
        callback: The callback.
        gates: What has to let a step pass before the callback hears of it.
    """

    def __init__(self, callback: Any, gates: tuple[EveryNTimesteps, ...]) -> None:
        self._callback = callback
        self._gates = gates

    @property
    def env(self) -> AnyEnv:
        """The environment that is played in, as it is now."""
        env: AnyEnv = self._callback.eval_env
        return env

    def is_due(self) -> bool:
        """Return whether it may evaluate when the callbacks hear of the step just taken."""
        for gate in self._gates:
            if gate.model.num_timesteps - gate.last_time_trigger < gate.n_steps:
                return False
        every = getattr(self._callback, "eval_freq", None)
        if not isinstance(every, int):
            return True
        # SB3 counts the call before it looks.
        return every > 0 and (self._callback.n_calls + 1) % every == 0


def evaluations_among(callback: Any) -> list[Evaluation]:
    """Return what evaluates among a callback and all that it holds, however deep."""
    seen: set[int] = set()

    def found(value: Any, gates: tuple[EveryNTimesteps, ...]) -> Iterator[Evaluation]:
        if isinstance(value, list | tuple):
            for item in value:
                yield from found(item, gates)
        elif isinstance(value, BaseCallback) and id(value) not in seen:
            seen.add(id(value))
            if is_any_env(getattr(value, "eval_env", None)):
                yield Evaluation(value, gates)
            if isinstance(value, EveryNTimesteps):
                gates = (*gates, value)
            for name, held in vars(value).items():
                # A parent of ours may be no part of this training.
                if name != "parent":
                    yield from found(held, gates)

    return list(found(callback, ()))
