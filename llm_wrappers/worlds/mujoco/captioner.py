"""Captions of MuJoCo's Hopper, Walker2d and Ant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.mujoco.bodies import AntBody, Body, PlanarBody

__all__ = ["MujocoCaptioner", "known_mujoco"]

_STEPS = 1000
_COMMON: dict[str, Any] = {
    "frame_skip": 4,
    "forward_reward_weight": 1.0,
    "ctrl_cost_weight": 1e-3,
    "healthy_reward": 1.0,
    "terminate_when_unhealthy": True,
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "Hopper-v5": {
        **_COMMON,
        "healthy_state_range": (-100.0, 100.0),
        "healthy_z_range": (0.7, float("inf")),
        "healthy_angle_range": (-0.2, 0.2),
    },
    "Walker2d-v5": {
        **_COMMON,
        "healthy_z_range": (0.8, 2.0),
        "healthy_angle_range": (-1.0, 1.0),
    },
    "Ant-v5": {
        **_COMMON,
        "frame_skip": 5,
        "ctrl_cost_weight": 0.5,
        "contact_cost_weight": 5e-4,
        "healthy_z_range": (0.2, 1.0),
        "contact_force_range": (-1.0, 1.0),
    },
}
# What an environment is made with and captions do not depend on.
_SILENT = frozenset(
    {
        "reset_noise_scale", "render_mode", "width", "height", "camera_id", "camera_name",
        "default_camera_config", "max_geom", "visual_options", "max_episode_steps",
        "vectorization_mode", "num_envs", "vector_kwargs",
    }
)  # fmt: skip
_LAYOUT = ("exclude_current_positions_from_observation", "include_cfrc_ext_in_observation")


class MujocoCaptioner(StateByState):
    """Speaks about the body of Hopper-v5, Walker2d-v5 or Ant-v5.

    State captions say what these tasks are about: how far the torso is from the limits within
    which it has to stay, whether it is about to leave them, how fast it moves forward, and where
    each joint is and moves. A limit that is reached within 0.2 s at the present velocity counts as
    about to be left, which is our choice. For Ant the quaternion becomes roll, pitch, yaw and
    tilt, and the contact forces become which legs are on the ground.

    Facts carry their unit in their name, such as ``knee_angle_deg``, and hold exact numbers;
    captions round them. Only the observations of version 5 with default layout are understood.

    Args:
        env_id: ``"Hopper-v5"``, ``"Walker2d-v5"`` or ``"Ant-v5"``.
        settings: Keyword arguments that the environment was made with, such as
            ``{"healthy_z_range": (0.8, 1.5)}``: rules and limits follow them.
        steps: The time limit; None for no limit.

    Raises:
        UnknownNameError: If the environment is not one of these.
        InvalidOptionError: If a setting is unknown, is no range where it has to be one, or changes
            what the observation means, or `steps` is no whole number >= 1.

    >>> captioner = MujocoCaptioner("Hopper-v5")
    >>> state = [[1.2, 0.1, -0.1, -0.5, 0.2, 1.5, -0.3, 1.0, 0.0, -0.4, 2.0]]
    >>> captioner.state_captions(captioner.facts(np.array(state), {}))[0]
    'The torso is 1.20 m high, 0.50 m above the lower limit, and leans 5.7 degrees forward (5.7
    degrees within the limit), turning forward at 57 degrees/s. It is falling forward: at this rate
    the limit is 0.10 s away. It moves forward at 1.50 m/s and down at 0.30 m/s. Joints: hip 5.7
    degrees back, still; knee 28.6 degrees bent, bending at 23 degrees/s; ankle 11.5 degrees up,
    turning up at 115 degrees/s.'
    """

    def __init__(
        self,
        env_id: str,
        *,
        settings: Mapping[str, Any] | None = None,
        steps: int | None = _STEPS,
    ) -> None:
        if env_id not in _SETTINGS:
            raise UnknownNameError(
                f"env_id must be one of {', '.join(_SETTINGS)}, got {env_id!r}; "
                "GenericCaptioner works with any environment"
            )
        settings = dict(settings or {})
        fault = _fault(env_id, settings)
        if fault:
            raise InvalidOptionError(f"{fault}; GenericCaptioner works with any environment")
        if steps is not None and not (isinstance(steps, int) and steps >= 1):
            raise InvalidOptionError(
                f"steps must be a whole number >= 1, or None for no limit, got {steps!r}"
            )
        complete = {name: settings.get(name, value) for name, value in _SETTINGS[env_id].items()}
        self._body: Body = (AntBody if env_id == "Ant-v5" else PlanarBody)(env_id, complete)
        end = _end(steps, terminates=bool(complete["terminate_when_unhealthy"]))
        self._description = EnvDescription(
            env_id=env_id, rules=f"{self._body.rules()} {end}", facts=self._body.meaning
        )

    def applies_to(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> bool:
        """Return whether these are still the spaces of the bare environment."""
        seen = gym.spaces.Box(-np.inf, np.inf, (self._body.observation_size,), np.float64)
        torques = gym.spaces.Box(-1.0, 1.0, (len(self._body.joints),), np.float32)
        return observation_space == seen and action_space == torques

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the quantities of each state by name.

        Args:
            observations: The numbers of n observations of the bare environment, shape (n, k) with
                k = 11 for Hopper, 17 for Walker2d and 105 for Ant.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations have another shape.
        """
        batch = np.asarray(observations, dtype=np.float64)
        if batch.ndim != 2 or batch.shape[1] != self._body.observation_size:
            raise InvalidOptionError(
                f"observations of {self._description.env_id} must be a batch of the shape "
                f"(n, {self._body.observation_size}), got {batch.shape}"
            )
        return [self._body.facts(row) for row in batch.tolist()]

    def _state(self, facts: Facts) -> str:
        return self._body.sentence(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return f"{self._torques(action)}: {self._changes(before, after)}"

    def _torques(self, action: Any) -> str:
        torques = np.asarray(action, dtype=np.float64)
        joints = self._body.joints
        if torques.shape != (len(joints),):
            raise InvalidOptionError(
                f"each action must be {len(joints)} torques, one per joint, got {action!r}"
            )
        pushes = [
            joint.push(torque) for joint, torque in zip(joints, torques.tolist(), strict=True)
        ]
        return ", ".join(filter(None, pushes)) or "no torque"

    def _changes(self, before: Facts, after: Facts) -> str:
        return "; ".join(filter(None, self._body.changes(before, after))) or "nothing changed"


def known_mujoco(layers: Sequence[AnyEnv], env_id: str) -> MujocoCaptioner | None:
    """Return the captioner of a MuJoCo environment that speaks; None where it is none.

    It is none if a space is not that of the bare environment, or the environment was made with a
    model or layout of its own.

    Args:
        layers: The environment and what it wraps, outside in.
        env_id: The Gymnasium id; empty if there is none.
    """
    if env_id not in _SETTINGS:
        return None
    spec: Any = next(layer.spec for layer in reversed(layers) if _has_spec(layer))
    if _fault(env_id, spec.kwargs):
        return None
    captioner = MujocoCaptioner(env_id, settings=spec.kwargs, steps=_time_limit(layers, spec))
    bare = captioner.applies_to(observed_of(layers[-1]), actions_of(layers[-1]))
    return captioner if bare else None


def _fault(env_id: str, settings: Mapping[str, Any]) -> str:
    """Return what keeps an environment with these settings from being spoken for."""
    for name, value in settings.items():
        if name in _LAYOUT and value is not True:
            return f"{name} must be True, got {value!r}"
        if name not in _SILENT and name not in _LAYOUT and name not in _SETTINGS[env_id]:
            return f"settings must be among {sorted(_SETTINGS[env_id])}, got {name!r}"
        if name.endswith("_range") and not _is_range(value):
            return f"{name} must be a lower and a higher limit, got {value!r}"
    low, high = settings.get("contact_force_range", (-1.0, 1.0))
    if not low <= 0.0 < high:
        return f"contact_force_range must have 0 inside, got {(low, high)}"
    return ""


def _is_range(value: Any) -> bool:
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        return False
    return low < high


def _has_spec(layer: Any) -> bool:
    # A wrapper builds its spec by a deep copy of the one below, which has no other id.
    wraps = isinstance(layer, gym.Wrapper | gym.vector.VectorWrapper)
    return not wraps and layer.spec is not None


def _time_limit(layers: Sequence[Any], spec: Any) -> int | None:
    # Environments in other processes have their limit inside.
    if isinstance(layers[-1], gym.vector.VectorEnv):
        steps = int(spec.kwargs.get("max_episode_steps", spec.max_episode_steps))
        return steps if steps > 0 else None
    own: list[Any] = [layer.spec for layer in layers if isinstance(layer, TimeLimit)]
    return min((int(limited.max_episode_steps) for limited in own), default=None)


def _end(steps: int | None, *, terminates: bool) -> str:
    ends = ["outside of its limits"] if terminates else []
    ends += [] if steps is None else [f"after {steps} steps"]
    return (
        f"The episode ends {' or '.join(ends)}." if ends else "The episode does not end by itself."
    )
