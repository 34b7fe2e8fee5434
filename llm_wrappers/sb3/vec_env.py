"""The bridge from Gymnasium's vector environments to Stable-Baselines3."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3._bridging import (
    SAME_STEP_ADVICE,
    EpisodeTotals,
    autoreset_mode,
    check_action_space,
    check_are_distinct,
    check_is_vector_env,
    check_partial_resets,
    info_rows,
    observation_parts,
)
from llm_wrappers.sb3._routing import AnyVectorEnv, Routing

__all__ = ["GymnasiumVecEnv", "as_vec_env"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# Observations by key, as SB3 does it internally: a space that is not a Dict has the one key None.
Parts: TypeAlias = "dict[str | None, Array]"
Indices: TypeAlias = "int | Iterable[int] | None"

# Keys in which a SAME_STEP environment keeps the last step, and their masks.
_FINAL = frozenset({"final_obs", "_final_obs", "final_info", "_final_info"})
# What counts episodes for each sub-environment or for all of them.
_MONITORS: tuple[type[Any], ...] = (
    Monitor,
    gym.wrappers.RecordEpisodeStatistics,
    gym.wrappers.vector.RecordEpisodeStatistics,
)


def as_vec_env(envs: AnyVectorEnv) -> VecEnv:
    """Turn a Gymnasium vector environment into a vectorised environment of Stable-Baselines3.

    The algorithm sees what it would see through SB3's own `DummyVecEnv`: a finished
    sub-environment returns the first observation of its next episode, and its info holds
    ``terminal_observation`` and ``TimeLimit.truncated``. All three autoreset modes are supported,
    SAME_STEP being the fastest. No monitor is needed: where none is below, the info of a finished
    episode also holds its return, length and time as ``episode``, which SB3 logs.

    In SAME_STEP the info of a finished episode is ``final_info`` (and ``episode``, where
    `gymnasium.wrappers.vector.RecordEpisodeStatistics` puts it); the rest is in ``reset_infos``.
    In NEXT_STEP and DISABLED finished sub-environments are reset at once with
    ``reset(options={"reset_mask": finished})``, which every layer of the stack has to respect.

    Args:
        envs: Any vector environment: `SyncVectorEnv`, `AsyncVectorEnv`, one that is natively
            vectorised, or a stack of `gymnasium.vector.VectorWrapper` around one of these.

    Raises:
        InvalidOptionError: If ``envs`` is not a Gymnasium vector environment, or has the same
            environment several times.
        IncompatibleEnvironmentError: If SB3 does not support its spaces, or if its sub-environments
            cannot be reset one by one. What cannot be known before is raised at the first ``step``
            that ends an episode.

    >>> import gymnasium as gym
    >>> envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    >>> vec_env = as_vec_env(envs)
    >>> vec_env.seed(0)
    [0, 1]
    >>> vec_env.reset().shape
    (2, 4)
    >>> observations, rewards, dones, infos = vec_env.step(np.array([1, 0]))
    >>> rewards, infos[0]
    (array([1., 1.], dtype=float32), {'TimeLimit.truncated': False})
    >>> vec_env.close()
    """
    return GymnasiumVecEnv(envs)


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium vector environment behind SB3's interface; see `as_vec_env`.

    Methods and attributes are looked up on the vector wrappers from outside in, then on the
    sub-environments. A vector wrapper is called once for all sub-environments and its result is
    repeated, unless the name is in its class attribute ``batched_methods``: then the result has
    one row for each sub-environment.

    Attributes:
        vector_env: The vector environment of Gymnasium, with the wrappers around it.
    """

    def __init__(self, envs: AnyVectorEnv) -> None:
        check_is_vector_env(envs)
        self.vector_env = envs
        self._is_dict = isinstance(envs.single_observation_space, spaces.Dict)
        self._parts = observation_parts(envs.single_observation_space)
        check_action_space(envs.single_action_space)
        self._same_step = autoreset_mode(envs) == "SameStep"
        if not self._same_step:
            check_partial_resets(envs)
        self._routing = Routing(envs)
        check_are_distinct(self._routing.sub_envs)
        self._totals = EpisodeTotals(envs.num_envs)
        self._is_monitored: list[bool] | None = None
        self._actions: Any = None
        self._closed = False
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    @property
    def envs(self) -> list[gym.Env[Any, Any]]:
        """The sub-environments, as `DummyVecEnv` has them.

        Raises:
            AttributeError: If they are in other processes, or stepped as one.
        """
        if not self._routing.sub_envs:
            raise AttributeError(
                f"{self.vector_env} has no sub-environments that are objects of this process: use "
                "get_attr, set_attr and env_method, or vector_env for the vector environment itself"
            )
        return self._routing.sub_envs

    # --- episodes ---

    def reset(self) -> Any:
        """Start a new episode everywhere, with the seeds and options set for this reset.

        Returns:
            Observations of shape (n, ...), or a dict of them.
        """
        # SB3's seeds are seed, seed + 1, ...: what Gymnasium makes of an int. Natively vectorised
        # environments take nothing else. The options are a copy since SyncVectorEnv edits them.
        options = dict(self._options[0]) or None
        observations, infos = self.vector_env.reset(seed=self._seeds[0], options=options)
        self._reset_seeds()
        self._reset_options()
        self._totals.begin()
        self.reset_infos = self._info_rows(infos)
        return self._as_observation(self._fresh(observations))

    def step_async(self, actions: Array) -> None:
        """Keep the actions for `step_wait`, as a copy that the environment may write to."""
        self._actions = np.array(actions)

    def step_wait(self) -> Any:
        """Step all sub-environments and reset those whose episode ended.

        Returns:
            The observations, the rewards (n,) float32, the dones (n,) bool, and n info dicts.
        """
        raw, raw_rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        # All is read before the reset below, which may write to buffers of the environment.
        terminated, truncated = np.asarray(terminated, np.bool_), np.asarray(truncated, np.bool_)
        dones, timeouts = terminated | truncated, (truncated & ~terminated).tolist()
        exact_rewards = np.asarray(raw_rewards)
        if exact_rewards.ndim != 1:
            exact_rewards = exact_rewards.reshape(self.num_envs)  # some pay in shape (n, 1)
        rewards = np.array(exact_rewards, np.float32)
        self._totals.add(exact_rewards)
        observations, rows = self._fresh(raw), self._info_rows(infos)
        if dones.any():
            if self._same_step:
                self._read_finished(infos, rows, dones)
            else:
                observations = self._reset_finished(observations, rows, dones)
            self._add_totals(rows, dones)
        for row, timeout in zip(rows, timeouts, strict=True):
            row["TimeLimit.truncated"] = timeout
        return self._as_observation(observations), rewards, dones, rows

    def _read_finished(
        self, infos: Mapping[str, Any], rows: list[dict[str, Any]], dones: Array
    ) -> None:
        """Sort what a SAME_STEP environment says of its last and of its first step, in place."""
        last_rows = info_rows(infos.get("final_info", {}), self.num_envs)
        for index in np.flatnonzero(dones).tolist():
            terminal = self._terminal_observation(infos.get("final_obs"), index)
            if "final_info" in infos:
                self.reset_infos[index], rows[index] = rows[index], last_rows[index]
                # Statistics of an episode come from a wrapper at the level of the vector, about
                # the step that ended it; they are not part of the reset.
                if "episode" in self.reset_infos[index]:
                    rows[index]["episode"] = self.reset_infos[index].pop("episode")
            else:
                self.reset_infos[index] = {}
            rows[index]["terminal_observation"] = terminal

    def _add_totals(self, rows: list[dict[str, Any]], dones: Array) -> None:
        """Say return and length of finished episodes, in place, where nothing below counts them."""
        if self._is_monitored is None:
            asked = [self.env_is_wrapped(monitor) for monitor in _MONITORS]
            self._is_monitored = [any(row) for row in zip(*asked, strict=True)]
        for index in np.flatnonzero(dones).tolist():
            total = self._totals.finish(index)
            # A monitor below another wrapper knows better: a lost life may not end its episode.
            if not self._is_monitored[index]:
                rows[index].setdefault("episode", total)

    def _terminal_observation(self, final_obs: Any, index: int) -> Any:
        """Return the last observation of a sub-environment, from an array or a dict of arrays."""
        if isinstance(final_obs, Mapping):
            final: Any = {key: part[index] for key, part in final_obs.items()}
        else:
            final = None if final_obs is None else final_obs[index]
        if not self._is_dict:
            final = {None: final}
        parts: Parts = {}
        for key, space in self._parts.items():
            part = np.array(final[key] if isinstance(final, Mapping) and key in final else None)
            if part.shape != space.shape or part.dtype == object:
                raise IncompatibleEnvironmentError(
                    f"expected infos['final_obs'][{index}] to hold the last observation in "
                    f"SAME_STEP, of shape {space.shape}{f' at {key!r}' if key else ''}, got shape "
                    f"{part.shape} of {part.dtype}; convert final_obs in each wrapper of "
                    f"{self.vector_env} that changes observations, or use NEXT_STEP"
                )
            parts[key] = part
        return self._as_observation(parts)

    def _reset_finished(self, before: Parts, rows: list[dict[str, Any]], dones: Array) -> Parts:
        """Reset what a NEXT_STEP or DISABLED environment left finished; return the observations."""
        # When nothing is to be kept a plain reset will do, and every environment has one.
        options = None if dones.all() else {"reset_mask": dones.copy()}
        observations, infos = self.vector_env.reset(options=options)
        after, reset_rows = self._fresh(observations), self._info_rows(infos)
        self._check_others_kept(before, after, ~dones)
        for index in np.flatnonzero(dones).tolist():
            terminal = {key: np.array(part[index]) for key, part in before.items()}
            rows[index]["terminal_observation"] = self._as_observation(terminal)
            self.reset_infos[index] = reset_rows[index]
        return after

    def _check_others_kept(self, before: Parts, after: Parts, kept: Array) -> None:
        """Find out an environment that ignores the mask: it changed what was to be kept."""
        changed = np.zeros(self.num_envs, np.bool_)
        for key, part in before.items():
            same = (part == after[key]) | ((part != part) & (after[key] != after[key]))  # NaN
            changed |= ~same.reshape(self.num_envs, -1).all(axis=1)
        if (changed & kept).any():
            raise IncompatibleEnvironmentError(
                "expected reset(options={'reset_mask': ...}) to reset only the finished "
                "sub-environments, got new observations of the running ones "
                f"{np.flatnonzero(changed & kept).tolist()}: {self.vector_env.unwrapped} or a "
                f"wrapper around it does not support it; {SAME_STEP_ADVICE}, or build it with "
                'gymnasium.make_vec(..., vectorization_mode="sync")'
            )

    def _info_rows(self, infos: Any) -> list[dict[str, Any]]:
        if not isinstance(infos, Mapping):
            raise IncompatibleEnvironmentError(
                f"expected infos to be a dict of arrays, got a {type(infos).__name__}; leave out "
                "DictInfoToList, `as_vec_env` does its work"
            )
        if self._same_step:
            infos = {key: column for key, column in infos.items() if key not in _FINAL}
        return info_rows(infos, self.num_envs)

    def _fresh(self, observations: Any) -> Parts:
        parts = observations if self._is_dict else {None: observations}
        return {key: np.array(parts[key], space.dtype) for key, space in self._parts.items()}

    def _as_observation(self, parts: Parts) -> Any:
        return parts if self._is_dict else parts[None]

    # --- what SB3 sets and asks ---

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Set the options of the next reset only; Gymnasium has one dict for all sub-environments.

        Raises:
            InvalidOptionError: If they differ between sub-environments or contain ``reset_mask``.
        """
        if isinstance(options, list):
            if len(options) != self.num_envs:
                raise InvalidOptionError(
                    f"expected options for {self.num_envs} sub-environments, got {len(options)}"
                )
            if not all(data_equivalence(options[0], other, exact=True) for other in options):
                raise InvalidOptionError(
                    "expected the same options for all sub-environments, since vector environments "
                    f"of Gymnasium take only one dict, got {options}; use DummyVecEnv instead"
                )
            options = options[0]
        if options and "reset_mask" in options:
            raise InvalidOptionError(
                "expected options without 'reset_mask', since SB3 always resets all "
                "sub-environments, got it; leave it out"
            )
        super().set_options(options)

    def has_attr(self, attr_name: str) -> bool:
        """Return whether a vector layer or all sub-environments have an attribute or method."""
        return self._routing.has(attr_name)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute for each index; one of a vector wrapper is repeated."""
        return self._routing.get(attr_name, self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute where it is defined, in a vector wrapper or in the sub-environments."""
        self._routing.set(attr_name, value, self._chosen(indices))

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of a vector wrapper or of the sub-environments; one result per index."""
        chosen = self._chosen(indices)
        return self._routing.call(method_name, chosen, *method_args, **method_kwargs)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return for each index whether it has this wrapper, around the batch or around itself."""
        return self._routing.is_wrapped(wrapper_class, self._chosen(indices))

    def get_images(self) -> Sequence[Array | None]:
        """Return an RGB frame of each sub-environment, or None if they do not render to arrays."""
        frames = self.vector_env.render() if self.render_mode == "rgb_array" else None
        if frames is None:
            warnings.warn(
                f"expected render_mode='rgb_array' to obtain images, got {self.render_mode!r}",
                stacklevel=2,
            )
            return [None] * self.num_envs
        return [np.asarray(frame) for frame in frames]

    def close(self) -> None:
        """Close the vector environment; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.vector_env.close()

    def _chosen(self, indices: Indices) -> list[int]:
        return list(self._get_indices(indices))
