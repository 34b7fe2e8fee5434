"""A goal in the observation (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.batches import facts_of
from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.embeddings import Encoder, resolve_encoder
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.goals import NO_GOAL, GoalSelector
from llm_wrappers.guidance.planners import Planner, PlannerFunction, Planning
from llm_wrappers.guidance.resolve import resolve_planner
from llm_wrappers.parts import require_keys
from llm_wrappers.wrappers._core import Core, Place, Start, Step, joined, joined_space
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer

__all__ = ["GoalMethods", "GoalObservationWrapper", "Goals"]


class Goals(Core):
    """Facts to plans to goals to vectors; the options are those of `GoalObservationWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        planner: str | Planner | PlannerFunction,
        goals: Sequence[str] | None,
        captioner: Captioner | None,
        encoder: str | Encoder,
        selection: str,
        reselect: str,
        fallback_goal: str | None,
        key: str,
        info_text: bool,
    ) -> None:
        voice = place.world.voice(captioner)
        description = voice.captioner.description
        self.goals = checks.vocabulary(description.goals if goals is None else goals)
        self.planning = Planning(
            resolve_planner(planner, env_id=description.env_id, goals=self.goals),
            goals=self.goals,
            fallback=_fallback(fallback_goal, self.goals),
        )
        self._selector = GoalSelector(place.n, selection=selection, reselect=reselect)
        self._vectors = _goal_vectors(encoder, self.goals)
        self._texts = np.array([*self.goals, ""], dtype=object)
        self._steps = GoalSteps(self.goals)
        self._last = np.full(place.n, None, dtype=object)
        self._fresh, self._kept = np.ones(place.n, np.bool_), np.zeros(place.n, np.bool_)
        self._key = key
        self._says_text = checks.flag("info_text", info_text)
        super().__init__(
            place,
            {"goal_text": np.full(place.n, "", dtype=object)} if info_text else {},
            parts={"planning": self.planning, "goal_steps": self._steps},
            voice=voice,
        )
        self.space = joined_space(place.observation_space, key, _box(self._vectors))

    def begin(self, start: Start) -> None:
        """Choose the first goals of episodes."""
        self._choose(start.rows, self._facts(last=False), start.streams, fresh=True)

    def step(self, step: Step) -> None:
        """Choose goals for the states that the step led to."""
        self._choose(step.rows, self._facts(last=True), step.streams, fresh=False)
        over = step.rows[step.ended[step.rows]]
        if len(over):
            self._last[over] = self.guiding(over)

    def show(self, observations: Any, row: Any = slice(None)) -> Any:
        """Return observations with the vectors of the goals; zero for no goal."""
        # A copy, because one row of a matrix is a view.
        vectors = np.array(self._vectors[self._selector.goals[row]])
        return joined(observations, self._key, vectors)

    def guiding(self, rows: Any = slice(None)) -> list[str | None]:
        """Return the current goals, None where there is none or the planner failed."""
        texts = self._texts[self._selector.goals[rows]].tolist()
        guided = self._selector.guided[rows].tolist()
        return [text if is_so else None for text, is_so in zip(texts, guided, strict=True)]

    def last_guiding(self) -> list[str | None]:
        """Return what `guiding` was in the last states of the episodes that ended last."""
        last: list[str | None] = self._last.tolist()
        return last

    def stats(self) -> dict[str, Any]:
        """Return the counters, and the factors that are not 1."""
        factors = self.planning.factors.items()
        changed = {goal: factor for goal, factor in factors if factor != 1.0}
        return {**super().stats(), "goal_factors": changed}

    def _facts(self, *, last: bool) -> Sequence[Facts]:
        assert self.voice is not None
        return self.voice.reached() if last else self.voice.shown()

    def _choose(
        self,
        rows: NDArray[np.intp],
        facts: Sequence[Facts],
        streams: Sequence[np.random.Generator],
        *,
        fresh: bool,
    ) -> None:
        if not len(rows):
            return
        plans = self.planning.plans(facts_of(facts, rows))
        if len(rows) < self.n:
            streams = [streams[row] for row in rows.tolist()]
        flags = (self._fresh if fresh else self._kept)[: len(rows)]
        here = rows if len(rows) < self.n else None
        chosen = self._selector.select(plans, streams, flags, here)
        self._steps.add(chosen)
        if self._says_text:
            self.told["goal_text"] = self._texts[self._selector.goals]


class GoalSteps:
    """In how many states each goal was pursued, as a part.

    Args:
        goals: The goal vocabulary.
    """

    def __init__(self, goals: Sequence[str]) -> None:
        self._goals = tuple(goals)
        self._steps = [0] * len(goals)

    def add(self, chosen: NDArray[np.int64]) -> None:
        """Count goals, by their indices."""
        for goal in chosen.tolist():
            if goal != NO_GOAL:
                self._steps[goal] += 1

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the steps of each goal."""
        return {"goal_steps": self.state_dict()}

    def state_dict(self) -> dict[str, int]:
        """Return the steps of each goal."""
        return dict(zip(self._goals, self._steps, strict=True))

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is of another goal vocabulary.
        """
        require_keys(state, self._goals)
        self._steps = [checks.whole(goal, state[goal], least=0) for goal in self._goals]


def _fallback(goal: str | None, goals: Sequence[str]) -> str:
    fallback = goals[0] if goal is None else goal
    if fallback not in goals:
        raise InvalidOptionError(
            f"fallback_goal must be one of the goals {list(goals)}, got {goal!r}"
        )
    return fallback


def _box(vectors: NDArray[np.float32]) -> gym.spaces.Box:
    low = 0.0 if vectors.min() >= 0.0 else -1.0
    return gym.spaces.Box(low, 1.0, (vectors.shape[1],), np.float32)


def _goal_vectors(encoder: str | Encoder, goals: Sequence[str]) -> NDArray[np.float32]:
    """Return one row per goal, and a last row of zeros that index -1 (no goal) finds."""
    if isinstance(encoder, str) and encoder == "one-hot":
        vectors = np.eye(len(goals), dtype=np.float32)
    else:
        vectors = resolve_encoder(encoder).encode(list(goals)).astype(np.float32)
        if vectors.ndim != 2 or len(vectors) != len(goals) or not np.isfinite(vectors).all():
            raise InvalidOptionError(
                f"the encoder must return {len(goals)} finite vectors, got shape {vectors.shape}"
            )
        if np.abs(vectors).max() > 1.0 + 1e-6:
            raise InvalidOptionError("the encoder must return vectors of unit length")
        vectors = np.clip(vectors, -1.0, 1.0)
    return np.concatenate([vectors, np.zeros((1, vectors.shape[1]), dtype=np.float32)])


class GoalMethods(Layer):
    """The options and methods of `GoalObservationWrapper`, in front of one environment or many."""

    core: Goals
    batched_methods: ClassVar = frozenset({"current_goal", "final_goal"})

    def __init__(
        self,
        env: Any,
        *,
        planner: str | Planner | PlannerFunction,
        goals: Sequence[str] | None = None,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "one-hot",
        selection: str = "sample",
        reselect: str = "on_change",
        fallback_goal: str | None = None,
        key: str = "goal",
        info_text: bool = True,
    ) -> None:
        self._guide(
            env, Goals, planner=planner, goals=goals, captioner=captioner, encoder=encoder,
            selection=selection, reselect=reselect, fallback_goal=fallback_goal, key=key,
            info_text=info_text,
        )  # fmt: skip

    def current_goal(self) -> Any:
        """Return the goal that guides the current state, None without one or without guidance."""
        return self._own(self.core.guiding())

    def final_goal(self) -> Any:
        """Return what `current_goal` was in the last state of the last episode that ended."""
        return self._own(self.core.last_guiding())

    def goal_vocabulary(self) -> tuple[str, ...]:
        """Return the goals, in the order of the one-hot channel."""
        return self.core.goals

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
        self.core.planning.set_factors(factors)

    def goal_factors(self) -> dict[str, float]:
        """Return what the planner's weight of each goal is multiplied by."""
        return self.core.planning.factors


class GoalObservationWrapper(GoalMethods, Guided):
    """Adds the goal that a planner sets for the current state to the observation.

    Implements the goal channel of SGRL (arXiv 2509.22008, section 3.3): the planner maps facts to
    weighted goals at each step, one goal is chosen, and its vector joins the observation. The
    planner is plain code and no language model is asked. Reward and episode ends are untouched.

    A Box or other observation becomes ``Dict(goal=..., obs=...)``; a Dict gains a key. Policies
    then need "MultiInputPolicy". The goal's text is in ``info["goal_text"]``, the empty string
    where the planner wants none.

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
        info_text: Whether the goal's text is in ``info``; some trainers (TorchRL, `NumpyToTorch`)
            cannot take texts there.

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
    >>> observation["goal"], info["goal_text"]
    (array([1., 0.], dtype=float32), 'go left')
    """
