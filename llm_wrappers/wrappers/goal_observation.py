"""A goal in the observation (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import concatenate, create_empty_array

from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.planner import Planner, PlannerFunction
from llm_wrappers.wrappers._goal_channel import GoalChannel
from llm_wrappers.wrappers._goals_below import gathered_stats
from llm_wrappers.wrappers._streams import depth_of, make_stream

__all__ = ["GoalObservationWrapper", "goal_observation_space"]

_FRESH = np.array([True])
_ONGOING = np.array([False])


class GoalObservationWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the goal that a planner sets for the current state to the observation.

    Implements the goal channel of SGRL (arXiv 2509.22008, section 3.3): the planner maps facts to
    weighted goals at each step, one goal is chosen, and its vector joins the observation. The
    planner is plain code and no language model is asked. Reward and episode ends are untouched.

    A Box or other observation becomes ``Dict(goal=..., obs=...)``; a Dict gains a key. Policies
    then need "MultiInputPolicy". The goal's text is in ``info["goal"]``, the empty string where
    the planner wants none.

    A planner that raises, or returns nothing usable, does not stop training: the fallback goal is
    shown, no mask applies, the step is counted in `stats` and a warning is issued once.

    A vector version exists: `llm_wrappers.wrappers.vector.GoalObservationWrapper`.

    Args:
        env: The environment.
        planner: A planner; a function from a list of facts to a list of [(goal, weight), ...]; or
            a name: ``"reference:craftax-classic"``, ``"file:planner.py"``, and for ablations
            ``"oracle"``, ``"random"``, ``"shuffled"``, ``"none"``.
        goals: The goal vocabulary; None for the one the environment describes.
        captioner: Turns observations into facts; None for the environment's own, or a generic one.
        encoder: How a goal looks in the observation: ``"one-hot"``, ``"hashing"``, or an object
            with ``encode(texts)`` that returns unit vectors.
        selection: ``"sample"`` chooses by weight, ``"argmax"`` takes the largest. The paper
            samples; how exactly is our choice.
        reselect: ``"on_change"`` keeps a goal while the plan contains it, ``"every_step"`` chooses
            anew. Our choice; the paper does not say.
        fallback_goal: The goal shown where the planner fails; None for the first one.
        key: The key of the goal in the observation.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or is no planner.

    >>> import gymnasium as gym
    >>> def planner(facts):
    ...     return [[("go left" if row["pole_angle_deg"] < 0 else "go right", 1)] for row in facts]
    >>> env = GoalObservationWrapper(
    ...     gym.make("CartPole-v1"), planner=planner, goals=["go left", "go right"]
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> observation["goal"], info["goal"]
    (array([1., 0.], dtype=float32), 'go left')
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        planner: str | Planner | PlannerFunction,
        goals: Sequence[str] | None = None,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "one-hot",
        selection: str = "sample",
        reselect: str = "on_change",
        fallback_goal: str | None = None,
        key: str = "goal",
    ) -> None:
        self._channel = GoalChannel(
            1,
            captioner=resolve_captioner(env, captioner),
            planner=planner,
            goals=goals,
            encoder=encoder,
            selection=selection,
            reselect=reselect,
            fallback_goal=fallback_goal,
        )
        space = goal_observation_space(env.observation_space, key, self._channel.space)
        RecordConstructorArgs.__init__(
            self,
            planner=planner,
            goals=goals,
            captioner=captioner,
            encoder=encoder,
            selection=selection,
            reselect=reselect,
            fallback_goal=fallback_goal,
            key=key,
        )
        gym.Wrapper.__init__(self, env)
        self.observation_space = space
        self._key = key
        self._base_space = env.observation_space
        self._depth = depth_of(env, type(self).__name__)
        self._stream = make_stream(None, type(self).__name__, self._depth)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment and choose the first goal."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._stream = make_stream(seed, type(self).__name__, self._depth)
        return self._with_goal(observation, {"extrinsic_reward": 0.0, **info}, _FRESH)

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Step the environment and choose the goal for the state it is in now."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {"extrinsic_reward": float(reward), **info}
        with_goal, info = self._with_goal(observation, info, _ONGOING)
        return with_goal, float(reward), bool(terminated), bool(truncated), info

    def current_goal(self) -> str | None:
        """Return the goal that guides the current state, None without one or without guidance."""
        return self._channel.guiding()[0]

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment below: its rules and action names."""
        return self._channel.captioner.description

    def goal_vocabulary(self) -> tuple[str, ...]:
        """Return the goals, in the order of the one-hot channel."""
        return self._channel.goals

    def set_goal_factors(self, factors: Mapping[str, float]) -> None:
        """Multiply the planner's weights from the next state on, until other factors are set.

        Only the priorities change: neither a space nor the planner's own answers. A goal that is
        kept (``reselect="on_change"``) is kept still. Layers below are not told, since they may
        have another vocabulary.

        Args:
            factors: Goal -> factor, finite and > 0; goals that are left out have 1.

        Raises:
            InvalidOptionError: If a goal is unknown, or a factor is not finite and > 0.
        """
        self._channel.planning.set_factors(factors)

    def goal_factors(self) -> dict[str, float]:
        """Return what the planner's weight of each goal is multiplied by."""
        return self._channel.planning.factors

    def stats(self) -> dict[str, Any]:
        """Return counters: states seen, planner calls, failures, unknown goals, steps per goal.

        `goal_factors` holds the factors that are not 1.
        """
        changed = {goal: f for goal, f in self.goal_factors().items() if f != 1.0}
        return {**self._channel.stats(), "goal_factors": changed}

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this wrapper and of those below, by class name."""
        return gathered_stats(self)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the factors of the goals, for checkpoints."""
        return {**self._channel.state_dict(), "goal_factors": self.goal_factors()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters and the factors; a state from before there were any has none.

        Raises:
            InvalidOptionError: If the state is of another goal vocabulary.
        """
        self._channel.load_state_dict(state)
        self.set_goal_factors(state.get("goal_factors", {}))

    def _with_goal(
        self, observation: Any, info: dict[str, Any], fresh: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self._channel.update(
            batch_of_one(self._base_space, observation),
            batch_infos(info),
            streams=[self._stream],
            fresh=fresh,
        )
        info["goal"] = self._channel.texts()[0]
        vectors = self._channel.current_vectors()
        if isinstance(observation, Mapping):
            return {**observation, self._key: vectors[0]}, info
        return {"obs": observation, self._key: vectors[0]}, info


def goal_observation_space(base: gym.Space[Any], key: str, goal: gym.spaces.Box) -> gym.spaces.Dict:
    """Return the observation space with the goal added under `key`.

    Raises:
        InvalidOptionError: If the key is taken or is no key.
    """
    if not isinstance(key, str) or not key:
        raise InvalidOptionError(f"key must be a non-empty string, got {key!r}")
    spaces = dict(base.spaces) if isinstance(base, gym.spaces.Dict) else {"obs": base}
    if key in spaces:
        raise InvalidOptionError(
            f"the observation already has the key {key!r} (keys: {sorted(spaces)}); choose another "
            "with key=..."
        )
    return gym.spaces.Dict({**spaces, key: goal})


def batch_of_one(space: gym.Space[Any], observation: Any) -> Any:
    """Return one observation as a batch with a leading axis of 1, arrays as views."""
    if isinstance(observation, np.ndarray):
        return observation[None]
    # Gymnasium's own way, below, is many times slower for the spaces that are met most.
    if isinstance(space, gym.spaces.Discrete):
        return np.array([observation], dtype=space.dtype)
    if isinstance(space, gym.spaces.Tuple):
        return tuple(map(batch_of_one, space.spaces, observation))
    if isinstance(space, gym.spaces.Dict):
        return {key: batch_of_one(part, observation[key]) for key, part in space.spaces.items()}
    batch: Any = create_empty_array(space, n=1, fn=np.zeros)
    return concatenate(space, [observation], batch)
