"""Actions pruned by the goal (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.mask_bank import MaskBank, flat_action_count
from llm_wrappers.guidance.resolve import resolve_masks
from llm_wrappers.schedules import Schedule
from llm_wrappers.wrappers._goals_below import (
    find_below,
    forward_progress,
    gathered_stats,
    goal_source,
    reject_unknown_goals,
    vocabulary_below,
)
from llm_wrappers.wrappers._masking import (
    Masking,
    checked_enforce,
    checked_penalty,
    scheduled_coin,
)
from llm_wrappers.wrappers._streams import depth_of, make_stream

__all__ = ["ActionMaskWrapper", "make_bank"]

_ROW = np.array([0])


class ActionMaskWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Leaves only the actions open that serve the current goal.

    Implements the pruned policy of SGRL (arXiv 2509.22008, section 3.2): each goal has a mask from
    a bank, and at each step it applies with probability xi, which a schedule over training
    progress gives. The goal is read from a layer below, usually `GoalObservationWrapper`. Reward
    and episode ends are untouched, except with ``enforce="penalty"``.

    The mask is drawn once per step, so that `action_masks` can be called any number of times. It
    is combined with the mask of a layer below that has one, and never closes everything: if
    nothing is left, the mask below holds alone, and if that is empty too, everything is open;
    both are counted in `stats`. Where the planner below failed, the goal's mask does not apply.

    Lowering xi to 0 during training can collapse a policy: actions that were masked have never
    been trained when they become open. The default keeps the mask, also at deployment, where the
    planner costs nothing; see "Relaxing the mask" in the documentation for what was measured.

    A vector version exists: `llm_wrappers.wrappers.vector.ActionMaskWrapper`. For Box action
    spaces use `ActionBoundsWrapper`.

    Args:
        env: An environment with a Discrete, MultiDiscrete or MultiBinary action space.
        masks: Goal to open actions, as names, indices or booleans; or a name:
            ``"reference:craftax-classic"``, ``"file:masks.json"``, ``"random"``, ``"shuffled"``,
            ``"none"``. A goal without an entry leaves everything open.
        schedule: xi: a number, a dict such as ``{"kind": "three_stage_cosine"}``, or a callable
            of the training progress. Set the progress with `set_progress`;
            `llm_wrappers.sb3.GuidanceCallback` does so during training. ``{"kind": "adaptive"}``
            leaves some episodes without masks and masks fewer of them where that pays more, see
            `AdaptiveTrust`; not with ``enforce="penalty"``, which changes no episode.
        enforce: ``"mask"`` only offers `action_masks`, for MaskablePPO; ``"resample"`` executes a
            random open action in place of a closed one, and ``"penalty"`` takes `penalty` off the
            reward for it, both for algorithms without masks.
        penalty: What ``enforce="penalty"`` takes off the reward.

    Raises:
        InvalidOptionError: If an option or a mask is not what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or holds no masks.
        IncompatibleEnvironmentError: If no layer below has a goal, or the actions cannot be masked.

    >>> import gymnasium as gym
    >>> from llm_wrappers import GoalObservationWrapper
    >>> env = GoalObservationWrapper(
    ...     gym.make("CartPole-v1"), planner=lambda facts: [[("go left", 1.0)]], goals=["go left"]
    ... )
    >>> env = ActionMaskWrapper(env, masks={"go left": ["push left"]})
    >>> observation, info = env.reset(seed=0)
    >>> env.action_masks()
    array([ True, False])
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        masks: str | Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        enforce: str = "mask",
        penalty: float = 0.1,
    ) -> None:
        self._enforce = checked_enforce(enforce)
        self._penalty = checked_penalty(penalty)
        self._coin = scheduled_coin(schedule, enforce)
        self._masking = Masking(1, bank=make_bank(env, env.action_space, masks), coin=self._coin)
        goal_source(env, type(self).__name__)
        RecordConstructorArgs.__init__(
            self, masks=masks, schedule=schedule, enforce=enforce, penalty=penalty
        )
        gym.Wrapper.__init__(self, env)
        self._depth = depth_of(env, type(self).__name__)
        self._stream = make_stream(None, type(self).__name__, self._depth)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and draw the first mask."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._stream = make_stream(seed, type(self).__name__, self._depth)
        self._coin.begin(_ROW, [self._stream])
        self._draw()
        return observation, self._informed(info, 0.0, allowed=True, executed=None)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment, with the action as `enforce` says, and draw the next mask.

        Raises:
            InvalidOptionError: If the action is outside the action space.
        """
        allowed = bool(self._masking.allowed(np.asarray(action)[None])[0])
        executed = action
        if self._enforce == "resample" and not allowed:
            executed = self._masking.legal_action(0, action, self._stream)
        observation, reward, terminated, truncated, info = self.env.step(executed)
        info = self._informed(info, float(reward), allowed=allowed, executed=executed)
        over = np.array([bool(terminated or truncated)])
        self._coin.learn([info["extrinsic_reward"]], _ROW, over)
        if self._enforce == "penalty" and not allowed:
            reward = float(reward) - self._penalty
        self._draw()
        info["mask_applied"] = bool(self._masking.applied[0])
        return observation, float(reward), bool(terminated), bool(truncated), info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return a fresh copy of the current mask, True where an action is open.

        The length is n for Discrete(n), the sum of nvec for MultiDiscrete, 2n for MultiBinary(n).
        """
        mask: NDArray[np.bool_] = self._masking.masks[0].copy()
        return mask

    def set_progress(self, progress: float) -> None:
        """Set the training progress, in [0, 1], from which the schedule gives xi."""
        self._coin.set_progress(progress)
        forward_progress(self.env, progress)

    def stats(self) -> dict[str, Any]:
        """Return counters, xi, the share of masked states and of open actions."""
        return self._masking.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode: the progress and the counters."""
        return {**self._coin.state_dict(), "counts": dict(self._masking.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._coin.load_state_dict(state)
        self._masking.counts.update(state["counts"])

    def _draw(self) -> None:
        goal = self.env.get_wrapper_attr("current_goal")()
        inner = find_below(self.env, "action_masks")
        masks = None if inner is None else np.asarray(inner())[None]
        self._masking.draw([goal], masks, [self._stream])

    def _informed(
        self, info: Mapping[str, Any], reward: float, *, allowed: bool, executed: Any
    ) -> dict[str, Any]:
        informed = {"extrinsic_reward": reward, **info}
        informed["mask_applied"] = bool(self._masking.applied[0])
        informed["action_was_open"] = allowed
        # A layer below may have executed yet another action.
        if self._enforce == "resample" and "executed_action" not in info:
            # One type at every step, reset included, because tools that store infos need it.
            value = -1 if executed is None else executed
            informed["executed_action"] = (
                int(value)
                if isinstance(self.action_space, gym.spaces.Discrete)
                else np.full(self.action_space.shape or (), value, self.action_space.dtype)
            )
        return informed


def make_bank(env: Any, action_space: gym.Space[Any], masks: str | Mapping[str, Any]) -> MaskBank:
    """Return the mask bank that `masks` stands for, in this environment.

    Raises:
        InvalidOptionError: If a goal is not in the vocabulary below, or a mask is no mask.
        IncompatibleEnvironmentError: If actions of this space cannot be masked.
    """
    if isinstance(action_space, gym.spaces.Box):
        raise IncompatibleEnvironmentError(
            f"expected an action space whose actions can be masked, got {action_space}; for "
            "continuous actions use ActionBoundsWrapper"
        )
    length = flat_action_count(action_space)
    describe = find_below(env, "env_description")
    description = resolve_captioner(env).description if describe is None else describe()
    names = description.action_names if len(description.action_names) == length else ()
    vocabulary = vocabulary_below(env)
    found = resolve_masks(
        masks,
        env_id=description.env_id,
        goals=vocabulary,
        actions=names or list(range(length)),
    )
    reject_unknown_goals(found, vocabulary)
    return MaskBank(found, action_space, action_names=names)
