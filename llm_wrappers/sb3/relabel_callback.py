"""Storing the actions that were executed, where a wrapper executes others than were chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from llm_wrappers.errors import IncompatibleEnvironmentError

__all__ = ["RelabelCallback"]


class RelabelCallback(BaseCallback):
    """Writes executed actions into the buffer of the algorithm, in place of those it chose.

    Stable-Baselines3 stores the action that the policy chose. Where a wrapper executed another one
    (`CriticalStateOverrideWrapper`, `ActionMaskWrapper` with ``enforce="resample"``), reward and
    next state belong to that other action. This callback reads ``info["executed_action"]`` and
    rewrites the action of each step where it differs.

    For DQN, SAC, TD3 and other off-policy algorithms this makes the samples right, and nothing else
    is needed. For PPO, A2C and MaskablePPO the log-probability is rewritten too, to that of the
    executed action under the policy that plays. Data of another policy is not what these
    algorithms assume, and the executed action is reinforced only by its *normalised* advantage:
    in the test of "Critical states" in the documentation this alone taught nothing.

    An action that the mask of MaskablePPO forbids has no probability, and is left as it was chosen.

    Args:
        verbose: As in Stable-Baselines3.

    Attributes:
        counts: How many steps were seen, and how many of them rewritten or left as they were.

    Raises:
        IncompatibleEnvironmentError: During training, if the algorithm is recurrent or has no
            buffer of actions, or no wrapper tells the executed action.

    >>> import gymnasium as gym
    >>> from stable_baselines3 import DQN
    >>> from llm_wrappers import CriticalStateOverrideWrapper
    >>> from llm_wrappers.guidance.critical.table import CriticalState
    >>> from llm_wrappers.guidance.critical.table import CriticalStates
    >>> table = CriticalStates([CriticalState([0.0] * 4, 1)], key="nearest:0.1")
    >>> env = CriticalStateOverrideWrapper(gym.make("CartPole-v1"), critical_states=table)
    >>> callback = RelabelCallback()
    >>> model = DQN("MlpPolicy", env, seed=0, device="cpu").learn(64, callback=callback)
    >>> callback.counts["steps"], callback.counts["rewritten"] > 0
    (64, True)
    """

    def __init__(self, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.counts = {"steps": 0, "rewritten": 0, "forbidden": 0}

    def _on_training_start(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm | OffPolicyAlgorithm):
            raise IncompatibleEnvironmentError(
                "expected an algorithm with a buffer of actions, such as PPO or DQN, got "
                f"{type(self.model).__name__}; leave the callback out"
            )
        # The state of such a policy before the step is gone when the callback is asked.
        if hasattr(self.model.policy, "lstm_actor"):
            raise IncompatibleEnvironmentError(
                "expected a policy without memory, got a recurrent one, whose probabilities of "
                "other actions are not known afterwards; leave the callback out"
            )

    def _on_step(self) -> bool:
        executed = _executed_actions(self.locals["infos"], self.model.action_space)
        self.counts["steps"] += len(executed)
        if isinstance(self.model, OnPolicyAlgorithm):
            self._rewrite_rollout(executed)
        else:
            self._rewrite_replay(executed)
        return True

    def _rewrite_replay(self, executed: NDArray[Any]) -> None:
        rows = _differing(self.locals["actions"], executed)
        stored = executed
        if isinstance(self.model.action_space, spaces.Box):
            stored = self.model.policy.scale_action(executed)
        self.locals["buffer_actions"][rows] = stored[rows]
        self.counts["rewritten"] += len(rows)

    def _rewrite_rollout(self, executed: NDArray[Any]) -> None:
        actions = self.locals["actions"]
        # MaskablePPO has no Box and so no clipped actions.
        rows = _differing(self.locals.get("clipped_actions", actions), executed)
        rows = self._open_rows(executed, rows)
        if not len(rows):
            return
        stored = executed
        if isinstance(self.model.action_space, spaces.Box) and self.model.policy.squash_output:
            stored = self.model.policy.scale_action(executed)
        actions[rows] = stored[rows]
        self.locals["log_probs"][rows] = self._log_probabilities(actions)[rows]
        self.counts["rewritten"] += len(rows)

    def _log_probabilities(self, actions: NDArray[Any]) -> torch.Tensor:
        masks = self._masks()
        options = {} if masks is None else {"action_masks": masks}
        policy: Any = self.model.policy
        with torch.no_grad():
            _, log_probabilities, _ = policy.evaluate_actions(
                self.locals["obs_tensor"],
                torch.as_tensor(actions, device=self.model.device),
                **options,
            )
        found: torch.Tensor = log_probabilities
        return found

    def _open_rows(self, executed: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of the rows whose executed action the mask leaves open."""
        masks = self._masks()
        if masks is None or not len(rows):
            return rows
        parts = _mask_columns(self.model.action_space, executed)
        flags = np.take_along_axis(masks.astype(np.bool_), parts, axis=1)
        is_open: NDArray[np.bool_] = np.asarray(flags.all(axis=1))
        self.counts["forbidden"] += int((~is_open[rows]).sum())
        return rows[is_open[rows]]

    def _masks(self) -> NDArray[Any] | None:
        masks = self.locals.get("action_masks")
        return None if masks is None else np.asarray(masks).reshape(len(self.locals["infos"]), -1)


def _executed_actions(infos: Any, space: spaces.Space[Any]) -> NDArray[Any]:
    missing = [row for row, info in enumerate(infos) if "executed_action" not in info]
    if missing:
        raise IncompatibleEnvironmentError(
            "expected info['executed_action'] at each step, and sub-environment "
            f"{missing[0]} has none: wrap it in CriticalStateOverrideWrapper, or in another "
            "wrapper that executes and tells other actions, or leave RelabelCallback out"
        )
    return np.array([info["executed_action"] for info in infos], dtype=space.dtype)


def _differing(sent: NDArray[Any], executed: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rows whose executed action is not the one that the environment was sent."""
    same = np.equal(np.asarray(sent).reshape(executed.shape), executed)
    return np.flatnonzero(~same.reshape(len(executed), -1).all(axis=1))


def _mask_columns(space: spaces.Space[Any], actions: NDArray[Any]) -> NDArray[np.intp]:
    """Return where in a flat mask the parts of each action stand, shape (n, parts)."""
    parts = actions.reshape(len(actions), -1).astype(np.intp)
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(parts + np.concatenate([[0], np.cumsum(space.nvec)[:-1]]))
    if isinstance(space, spaces.MultiBinary):
        return parts + 2 * np.arange(parts.shape[1])
    return parts
