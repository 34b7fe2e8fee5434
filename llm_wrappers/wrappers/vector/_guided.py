"""The driver for vector environments, in every autoreset mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm_wrappers.captions.batches import listed_actions, with_column
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.wrappers._core import Core, Start, Step, reset_needed
from llm_wrappers.wrappers._layer import Layer, depth_of, make_stream
from llm_wrappers.wrappers._world import NOBODY

__all__ = ["GuidedVector"]


class GuidedVector(Layer, gym.vector.VectorWrapper):  # generic only from gymnasium 1.4
    """A vector environment around a core of n rows.

    Only two things happen to a sub-environment, whatever the autoreset mode: an episode begins, or
    a step was taken. With NEXT_STEP those that ended wait: their next step only shows a new
    episode. With SAME_STEP all step, and those that end show the next episode at once; where the
    step led is in ``final_obs`` and ``final_info``.
    """

    def _guide(self, env: Any, make: Callable[..., Core], **options: Any) -> None:
        """Build the layer: the constructor of every public wrapper; see `Guided`."""
        if not isinstance(env, gym.vector.VectorEnv):
            raise InvalidOptionError(
                f"env must be a gymnasium.vector.VectorEnv, got {type(env).__name__}; for one "
                f"environment use llm_wrappers.{type(self).__name__}"
            )
        gym.vector.VectorWrapper.__init__(self, env)
        n = env.num_envs
        self.core = make(self._stand(env, n), **options)
        if self.core.space is not None:
            self.single_observation_space = self.core.space
            self.observation_space = batch_space(self.core.space, n)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._owner = type(self).__name__
        self._depth = depth_of(env, self._owner)
        self._streams = [make_stream(None, self._owner, self._depth) for _ in range(n)]
        self._all = np.arange(n)
        self._ended = np.zeros(n, dtype=np.bool_)
        self._running = np.zeros(n, dtype=np.bool_)
        self._step = Step()

    # --- reset and step ---

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all sub-environments, or those of ``options["reset_mask"]``."""
        mask = (options or {}).get("reset_mask")
        # Before the inner reset, which may take the mask out of the options.
        rows = self._all if mask is None else np.flatnonzero(np.array(mask, dtype=np.bool_))
        seeds = _row_seeds(seed, self.num_envs)
        for row in rows.tolist():
            if seeds[row] is not None:
                self._streams[row] = make_stream(seeds[row], self._owner, self._depth)
        self._look_at_ends(cut_off=bool(self._running[rows].any()), ended=False)
        self._ended[rows] = self._running[rows] = False
        changed = None if len(rows) == self.num_envs else rows
        if changed is not None and self._is_innermost:
            self.world.settle()
        observations, infos = self.env.reset(seed=seed, options=options)
        if self._is_innermost:
            self.world.paid[rows] = 0.0
            self.world.show(observations, infos, changed=changed)
        if self._masks_of_others:
            self._close_by_others()
        self._was_reset = True
        self.core.begin(Start(rows, self._streams, observations, seeds))
        present = None if changed is None else self._flags(rows)
        return self.core.show(observations), self._informed(infos, np.zeros(self.num_envs), present)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in all sub-environments.

        Raises:
            InvalidOptionError: If an action is not of the action space, where a layer looks at it.
            ResetNeeded: If no episode has begun.
        """
        core, world, step = self.core, self.world, self._step
        if not self._was_reset:
            raise reset_needed()
        waiting, rows = NOBODY, self._all
        if self._mode == AutoresetMode.NEXT_STEP and np.count_nonzero(self._ended):
            waiting, rows = np.flatnonzero(self._ended), np.flatnonzero(~self._ended)
        # Before the step, because an environment may change the actions it is given.
        kept = actions.copy() if isinstance(actions, np.ndarray) else deepcopy(actions)
        listed = listed_actions(self.env.action_space, kept)
        passed = core.act(actions, rows, self._streams)
        changed = passed is not actions
        executed = listed_actions(self.env.action_space, passed) if changed else listed
        if self._is_innermost:
            world.executed = executed
        given = np.array(passed) if changed else actions
        observations, raw, terminated, truncated, infos = self.env.step(given)
        terminated, truncated = np.asarray(terminated, np.bool_), np.asarray(truncated, np.bool_)
        ended, rewards = terminated | truncated, np.array(raw, dtype=np.float64)
        any_ended = bool(np.count_nonzero(ended))
        is_over = any_ended and self._mode == AutoresetMode.SAME_STEP
        over = np.flatnonzero(ended) if is_over else NOBODY
        begun = over if is_over else waiting
        if self._is_innermost:
            self._publish(observations, infos, rewards, over)
        if self._masks_of_others:
            self._close_by_others()
        if self._untold >= 0:
            self._untold += self.num_envs
        step.rows, step.actions, step.streams = rows, listed, self._streams
        step.executed = world.executed if self._same_actions else executed
        step.spoken = world.executed
        step.rewards, step.paid = rewards, world.paid
        step.terminated, step.truncated = terminated, truncated
        step.ended, step.any_ended = ended, any_ended
        step.over, step.begins = over, begun
        step.observations, step.infos = observations, infos
        core.step(step)
        last = self._last(infos, over) if len(over) else None
        paid = core.pay(rewards)
        if len(begun):
            core.begin(Start(begun, self._streams, observations, [None] * self.num_envs))
        shown = world.paid
        if len(over):
            shown = world.paid.copy()
            shown[over] = 0.0
        informed = self._informed(infos, shown, None)
        if last is not None:
            informed = {**informed, **last}
        self._ended[:] = ended
        self._running[:] = ~ended
        if any_ended:
            self._look_at_ends(cut_off=False, ended=True)
        return (
            core.show(observations), raw if paid is None else paid, terminated, truncated,
            informed,
        )  # fmt: skip

    # --- helpers ---

    def _own(self, rows: Any) -> Any:
        return rows

    def _flags(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        flags = np.zeros(self.num_envs, dtype=np.bool_)
        flags[rows] = True
        return flags

    def _publish(
        self,
        observations: Any,
        infos: Mapping[str, Any],
        rewards: NDArray[np.float64],
        over: NDArray[np.intp],
    ) -> None:
        world = self.world
        world.paid[:] = rewards
        if world.is_told_inside:
            # Layers inside of the sub-environments know better what was executed and paid.
            world.paid[:] = _last_column(infos, "extrinsic_reward", rewards, over)
            if "executed_action" in infos:
                world.executed = _last_column(infos, "executed_action", world.executed, over)
        world.show(observations, infos, over=over)

    def _last(self, infos: Mapping[str, Any], over: NDArray[np.intp]) -> dict[str, Any]:
        """Return the infos about the last states of episodes, as this layer shows them."""
        present = self._flags(over)
        last = {"final_info": self._informed(infos.get("final_info", {}), self.world.paid, present)}
        if self.core.space is not None:
            final = np.full(self.num_envs, None, dtype=object)
            for row in over.tolist():
                final[row] = self.core.show(infos["final_obs"][row], row)
            last["final_obs"] = final
        return last

    def _informed(
        self,
        infos: Mapping[str, Any],
        paid: NDArray[np.float64],
        present: NDArray[np.bool_] | None,
    ) -> Any:
        if self.core.is_silent:
            return infos
        informed = dict(infos)
        with_column(informed, "extrinsic_reward", paid, present)
        for name, column in self.core.told.items():
            with_column(informed, name, column, present)
        return informed


def _row_seeds(seed: int | Sequence[int | None] | None, n: int) -> Sequence[int | None]:
    if seed is None:
        return [None] * n
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(n)]
    return seed


def _last_column(infos: Mapping[str, Any], name: str, default: Any, over: NDArray[np.intp]) -> Any:
    """Return an entry for n states that a step led to; of ended episodes from their last infos."""
    column = np.array(infos.get(name, default))
    final = infos.get("final_info", {})
    if len(over) and name in final:
        column[over] = np.asarray(final[name])[over]
    return column
