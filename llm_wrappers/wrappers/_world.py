"""The environment below a stack of our layers, as it was before any of them changed it.

Captions, judges and planners speak of this world. The innermost layer publishes it once per step;
the layers above read it there, whatever the observation looks like where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.batches import (
    batch_of_one,
    final_observations,
    take_rows,
    with_rows,
)
from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.captions.transitions import TransitionCaptions
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.wrappers._layers import ask_sub_environments
from llm_wrappers.wrappers._open_actions import OpenActions, OpenBounds

__all__ = ["NOBODY", "Voice", "World"]

NOBODY: NDArray[np.intp] = np.zeros(0, dtype=np.intp)


class View:
    """What n sub-environments show now, below all layers of ours.

    It is apart from the world, and does not know the environment: voices hold it, and the world
    holds them, and an environment in such a circle would not be freed with its stack.
    """

    def __init__(
        self, space: gym.Space[Any], inner_space: gym.Space[Any], *, is_vector: bool
    ) -> None:
        self._space = space
        self._inner_space = inner_space
        # Compared once: with boxes that takes longer than many a step.
        self.is_changed_inside = inner_space != space
        self._is_vector = is_vector
        self.tick = 0
        self.changed: NDArray[np.intp] | None = None
        """Which rows a reset of some changed; None where all are new."""
        self.over: NDArray[np.intp] = NOBODY
        """Which rows show the next episode already."""
        self.shown: Any = None
        """What the environment returned: observations."""
        self.said: Mapping[str, Any] = {}
        """And infos."""
        self._batched_at = -1
        self._batch: tuple[Any, Mapping[str, Any]] = (None, {})

    def batched(self) -> tuple[Any, Mapping[str, Any]]:
        """Return the observations that are shown, batched along the first axis, and their infos.

        The infos have the form of `gymnasium.vector`.
        """
        if self._batched_at != self.tick:
            if self._is_vector:
                self._batch = self._seen(self.shown), self.said
            else:
                self._batch = batch_of_one(self._space, self.shown), batch_infos(self.said)
            self._batched_at = self.tick
        return self._batch

    def last_states(self) -> tuple[Any, Mapping[str, Any]]:
        """Return observations and infos of the last states of the episodes in `over`."""
        last = final_observations(self.said, self._space, self.over)
        return self._seen(last), take_rows(self.said.get("final_info", {}), self.over)

    def _seen(self, observations: Any) -> Any:
        """Return what layers of ours inside of the sub-environments have put into a Dict."""
        if not self.is_changed_inside:
            return observations
        if isinstance(self._inner_space, gym.spaces.Dict):
            return {key: observations[key] for key in self._inner_space.spaces}
        return observations["obs"]


class Voice:
    """What one captioner says of a world, asked once per step, when somebody reads it first."""

    def __init__(self, view: View, captioner: Captioner) -> None:
        self.captioner = captioner
        self.transitions = TransitionCaptions(captioner)
        self._view = view
        self._tick = self._last_tick = -1
        self._shown: Sequence[Facts] = ()
        self._last: Sequence[Facts] = ()

    def shown(self) -> Sequence[Facts]:
        """Return the facts of the n states that are shown now."""
        view = self._view
        if self._tick != view.tick:
            self._shown = self._facts(view)
            self._tick = view.tick
        return self._shown

    def reached(self) -> Sequence[Facts]:
        """Return the facts of the n states that the step led to, before any autoreset."""
        view = self._view
        shown = self.shown()
        if not len(view.over):
            return shown
        if self._last_tick != view.tick:
            observations, infos = view.last_states()
            self._last = with_rows(shown, view.over, self.captioner.facts(observations, infos))
            self._last_tick = view.tick
        return self._last

    def of_episode(
        self, facts: Sequence[Facts], actions: Sequence[Any]
    ) -> tuple[list[str], list[str]]:
        """Return what it says of the states of an episode, and of each action between them."""
        said = self.transitions.of(facts[:-1], actions, facts[1:], range(len(actions)))
        return self.captioner.state_captions(facts), said

    def settle(self) -> None:
        """Read what is shown before it is gone: a reset of some says nothing of the others."""
        if self._tick >= 0:
            self.shown()

    def _facts(self, view: View) -> Sequence[Facts]:
        rows = view.changed
        observations, infos = view.batched()
        if rows is None or self._tick < 0:
            return self.captioner.facts(observations, infos)
        changed = self.captioner.facts(take_rows(observations, rows), take_rows(infos, rows))
        return with_rows(self._shown, rows, changed)


class World:
    """What n sub-environments showed and were made to do, below all layers of ours."""

    def __init__(self, env: Any, n: int) -> None:
        self.env = env
        self.n = n
        self.is_vector = isinstance(env, gym.vector.VectorEnv)
        self.space, self.action_space = _single_spaces(env)
        self.inner_space = self.space
        # In sub-environments that have layers of ours, the world is what is below these.
        inner = ask_sub_environments(env, "world_spaces") if self.is_vector else None
        self.is_told_inside = False
        if inner is not None:
            self.inner_space = inner[0][0]
            told = ask_sub_environments(env, "tells_infos")
            self.is_told_inside = told is not None and all(told)
        self.view = View(self.space, self.inner_space, is_vector=self.is_vector)
        self.executed: Sequence[Any] = ()
        """The n actions that the environment was given."""
        self.paid: NDArray[np.float64] = np.zeros(n)
        """What it paid for them, shape (n,)."""
        self._voices: list[Voice] = []
        self._open_actions: list[OpenActions | OpenBounds] = []
        self._captioner: Captioner | None = None

    # --- what the layers read ---

    @property
    def observations(self) -> Any:
        """The observations that are shown, batched along the first axis."""
        return self.view.batched()[0]

    def captioner(self) -> Captioner:
        """Return the environment's own captioner, or the best one known for it."""
        if self._captioner is None:
            self._captioner = resolve_captioner(self.env)
        return self._captioner

    def voice(self, captioner: Captioner | None = None) -> Voice:
        """Return what a captioner says of this world; layers with the same one share it."""
        found = self.captioner() if captioner is None else resolve_captioner(self.env, captioner)
        self._require_sight()
        for voice in self._voices:
            if voice.captioner is found:
                return voice
        self._voices.append(Voice(self.view, found))
        return self._voices[-1]

    def open_actions(self, space: gym.Space[Any]) -> Any:
        """Return what the layers leave open, shared by all whose action space this is."""
        for known in self._open_actions:
            if known.space == space:
                return known
        if isinstance(space, gym.spaces.Box):
            self._open_actions.append(OpenBounds(self.n, space))
        else:
            source = self.env if space == self.action_space else None
            is_single = not self.is_vector
            self._open_actions.append(OpenActions(self.n, space, source, is_single=is_single))
        return self._open_actions[-1]

    # --- what the innermost layer publishes ---

    def settle(self) -> None:
        """Call it before some of the sub-environments are reset."""
        for voice in self._voices:
            voice.settle()

    def show(
        self,
        observations: Any,
        infos: Mapping[str, Any],
        *,
        changed: NDArray[np.intp] | None = None,
        over: NDArray[np.intp] = NOBODY,
    ) -> None:
        """Take in what is shown now."""
        view = self.view
        view.tick += 1
        view.shown, view.said, view.changed, view.over = observations, infos, changed, over
        for known in self._open_actions:
            known.refresh(infos, changed)

    # --- helpers ---

    def _require_sight(self) -> None:
        """Refuse sub-environments in which somebody else's layer stands above one of ours."""
        inner, shown = self.inner_space, self.space
        if not self.view.is_changed_inside:
            return
        kept = inner.spaces if isinstance(inner, gym.spaces.Dict) else {"obs": inner}
        parts = shown.spaces if isinstance(shown, gym.spaces.Dict) else {}
        if any(parts.get(key) != part for key, part in kept.items()):
            raise IncompatibleEnvironmentError(
                f"the sub-environments show {shown}, in which a wrapper has changed what layers "
                f"inside of them read ({inner}); put that wrapper around the vector environment, "
                "outside of all guidance"
            )


def _single_spaces(env: Any) -> tuple[gym.Space[Any], gym.Space[Any]]:
    if isinstance(env, gym.vector.VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space
