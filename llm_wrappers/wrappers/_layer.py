"""What every layer of ours offers, around one environment or many."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.parts import require_keys
from llm_wrappers.wrappers._core import (
    PROGRESS_VARIABLE,
    Core,
    Place,
    say_unended,
    say_untold,
)
from llm_wrappers.wrappers._layers import (
    ask_sub_environments,
    layers_of,
    load_sub_environments,
    own_method,
)
from llm_wrappers.wrappers._open_actions import is_maskable
from llm_wrappers.wrappers._world import World

__all__ = ["Layer", "depth_of", "make_stream"]

_STEPS_UNTOLD = 200


class Layer:
    """What every layer of ours offers, around one environment or many.

    Setters and savers speak for the whole stack below, through layers of others and into the
    sub-environments of vector environments.
    """

    core: Core
    world: World
    env: Any
    batched_methods: ClassVar[frozenset[str]] = frozenset()
    """Methods whose result has one row for each sub-environment, around many."""
    handed_state: Any = None
    _was_reset = False
    _guide: Callable[..., None]
    _streams: list[np.random.Generator]

    def _stand(self, env: Any, n: int) -> Place:
        """Find the world below, and the masks of others between this layer and the next of ours."""
        self._is_innermost = True
        masks: list[Callable[[], Any]] = []
        for layer in layers_of(env):
            if isinstance(layer, Layer):
                self._is_innermost = False
                self.world = layer.world
                break
            found = own_method(layer, "action_masks")
            if found is not None:
                masks.append(found)
        else:
            self.world = World(env, n)
            # The innermost layer reads those of the environment itself.
            masks = []
        if isinstance(env, gym.vector.VectorEnv):
            place = Place(env, n, self.world, env.single_observation_space, env.single_action_space)
        else:
            place = Place(env, n, self.world, env.observation_space, env.action_space)
        self._same_actions = place.action_space == self.world.action_space
        self._masks_of_others = masks if is_maskable(place.action_space) else []
        self._unseen_ends = 0
        self._untold = -1 if PROGRESS_VARIABLE in os.environ else 0
        return place

    def _own(self, rows: Any) -> Any:
        """Return what n rows are to whoever asks: the rows, or around one environment the one."""
        return rows[0]

    def _close_by_others(self) -> None:
        open_actions = self.world.open_actions(self.core.place.action_space)
        for masks in self._masks_of_others:
            open_actions.close(open_actions.read(masks()))

    # --- what it says ---

    def env_description(self) -> EnvDescription:
        """Return what the captioner says of the environment: its rules, actions and goals."""
        for layer in layers_of(self):
            if isinstance(layer, Layer) and layer.core.voice is not None:
                return layer.core.voice.captioner.description
        return self.world.captioner().description

    def world_captioner(self) -> Captioner:
        """Return the captioner of the environment below the whole stack, whatever it shows here."""
        return self.world.captioner()

    def world_spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Return the observation space and the action space below the whole stack."""
        return self.world.space, self.world.action_space

    def stats(self) -> dict[str, Any]:
        """Return the counters since construction, and what schedules give now."""
        return self.core.stats()

    def all_stats(self) -> dict[str, dict[str, Any]]:
        """Return the counters of this layer and of those below, by class name, outside in.

        A second layer of the same class is called by its name and its number. Of sub-environments
        it is the first one whose layers are told.
        """
        stats: dict[str, dict[str, Any]] = {}
        for layer in layers_of(self):
            if isinstance(layer, Layer):
                _add_stats(stats, type(layer).__name__, layer.stats())
        inside = ask_sub_environments(self, "all_stats")
        for name, counters in (inside[0] if inside else {}).items():
            _add_stats(stats, name.split(" ")[0], counters)
        return stats

    def unguided(self) -> list[str]:
        """Return for each layer of the stack in which most states had no guidance which and why."""
        found = []
        for layer in layers_of(self):
            why = layer.core.unguided() if isinstance(layer, Layer) else None
            if why is not None:
                found.append(f"{type(layer).__name__}: {why}")
        inside = ask_sub_environments(self, "unguided") or ()
        return list(dict.fromkeys([*found, *(text for texts in inside for text in texts)]))

    def tells_infos(self) -> bool:
        """Return whether a layer of the stack writes into infos what was paid and executed."""
        layers = [layer for layer in layers_of(self) if isinstance(layer, Layer)]
        return any(not layer.core.is_silent for layer in layers)

    # --- what it is told ---

    def set_progress(self, progress: float) -> None:
        """Set the training progress in this layer and all below.

        Args:
            progress: In [0, 1].

        Raises:
            InvalidOptionError: If it is no such number.
        """
        progress = checks.number("progress", progress, least=0, most=1)
        for layer in layers_of(self):
            if isinstance(layer, Layer):
                layer._untold = -1
                layer.core.set_progress(progress)
            elif (method := own_method(layer, "set_progress")) is not None:
                method(progress)
        ask_sub_environments(self, "set_progress", progress)

    def set_training(self, training: bool) -> None:
        """Switch on or off, in this layer and all below, what only training has.

        Off, rewards pass through, no action is overridden, and no judge is asked. Goals, captions
        and masks stay: a policy was trained to act with them.

        Raises:
            InvalidOptionError: If it is no bool.
        """
        training = checks.flag("training", training)
        for layer in layers_of(self):
            if isinstance(layer, Layer):
                layer.core.set_training(training)
            elif (method := own_method(layer, "set_training")) is not None:
                method(training)
        ask_sub_environments(self, "set_training", training)

    # --- what outlives an episode ---

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an episode in this layer, as JSON can hold it."""
        streams = [stream.bit_generator.state for stream in self._streams]
        return {**self.core.state_dict(), "streams": streams}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        require_keys(state, ("parts", "progress", "streams", "training"))
        own = dict(state)
        with _broken_states(type(self).__name__):
            restored = _restored_streams(own.pop("streams"), len(self._streams))
            self.core.load_state_dict(own)
        self._streams, self._untold = restored, -1

    def guidance_state(self) -> list[dict[str, Any]]:
        """Return the state of this layer and of all below, outside in, as JSON can hold it."""
        states: list[dict[str, Any]] = [
            {"layer": type(layer).__name__, "state": layer.state_dict()}
            for layer in layers_of(self)
            if isinstance(layer, Layer)
        ]
        inside = ask_sub_environments(self, "guidance_state")
        if inside is not None:
            states.append({"sub_environments": list(inside)})
        return states

    def load_guidance_state(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore what `guidance_state` returned.

        Raises:
            InvalidOptionError: If it is the state of another stack.
        """
        layers = [layer for layer in layers_of(self) if isinstance(layer, Layer)]
        before = self.guidance_state()
        expected, got = _names_in(before), _names_in(states)
        if got != expected:
            raise InvalidOptionError(
                f"expected the state of the layers {expected}, outside in, got that of {got}; wrap "
                "the environment as it was when the state was saved"
            )
        try:
            self._load(layers, states)
        except InvalidOptionError:
            # All of it or nothing.
            self._load(layers, before)
            raise

    def load_handed_state(self) -> str | None:
        """Restore the state in `handed_state`, which a vector environment has put there.

        It returns what is wrong with it, None for nothing: a worker that raises shuts down.
        """
        states, self.handed_state = self.handed_state, None
        try:
            self.load_guidance_state(states or [])
        except InvalidOptionError as error:
            return str(error)
        return None

    def _load(self, layers: Sequence[Layer], states: Sequence[Mapping[str, Any]]) -> None:
        for layer, state in zip(layers, states, strict=False):
            layer.load_state_dict(state["state"])
        if len(states) > len(layers):
            load_sub_environments(self, states[-1]["sub_environments"])

    # --- helpers of the drivers ---

    def _look_at_ends(self, *, cut_off: bool, ended: bool) -> None:
        """Say what cannot work: an end that is never seen, a schedule that nobody drives."""
        name = type(self).__name__
        if ended and self._untold > _STEPS_UNTOLD:
            self._untold = -1
            if self.core.listens():
                say_untold(name, self.core)
        if self.core.needs_ends and self._unseen_ends >= 0:
            self._unseen_ends = -1 if ended else self._unseen_ends + cut_off
            if self._unseen_ends == 2:
                self._unseen_ends = -1
                say_unended(name)


def _add_stats(stats: dict[str, dict[str, Any]], name: str, counters: dict[str, Any]) -> None:
    alike = sum(known.split(" ")[0] == name for known in stats)
    stats[f"{name} {alike + 1}" if alike else name] = counters


# --- saved states, which may be anything ---

# What reading a state meets that is none.
_BROKEN = (TypeError, ValueError, KeyError, AttributeError, OverflowError)


@contextmanager
def _broken_states(name: str) -> Iterator[None]:
    """Say of what is no state that it is none; `name` is whose state is read."""
    try:
        yield
    except InvalidOptionError:
        raise
    except _BROKEN as error:
        raise InvalidOptionError(
            f"expected the state of {name}, got one that is broken ({type(error).__name__}: "
            f"{error}); save it anew"
        ) from error


def _names_in(states: Any) -> Any:
    """Return of which layers saved states are; what was given where it is none."""
    if not isinstance(states, list) or not all(isinstance(state, Mapping) for state in states):
        return states
    return [str(state.get("layer")) if "state" in state else ", ".join(state) for state in states]


def _restored_streams(saved: Any, n: int) -> list[np.random.Generator]:
    """Return n random generators in their saved states."""
    if not isinstance(saved, list) or len(saved) != n:
        raise InvalidOptionError(
            f"expected the streams of {n} sub-environments, got "
            f"{len(saved) if isinstance(saved, list) else repr(saved)}"
        )
    streams = [np.random.default_rng() for _ in saved]
    for stream, state in zip(streams, saved, strict=True):
        stream.bit_generator.state = state
    return streams


# --- random streams of a layer's own ---


def make_stream(seed: int | None, owner: str, depth: int) -> np.random.Generator:
    """Return a generator for one wrapper of one sub-environment.

    It is a spawn of the seed's sequence, under a key of its owner's name and place. The
    environment's own stream is not touched, so that runs with and without the wrapper see the
    same worlds, and a single environment and a vector environment draw the same numbers.

    Args:
        seed: The seed of the sub-environment's reset, or None for fresh entropy.
        owner: The name of the wrapper class.
        depth: How many wrappers of this class are further inside.

    >>> make_stream(1, "A", 0).random() == make_stream(1, "A", 0).random()
    True
    >>> make_stream(1, "A", 0).random() == make_stream(1, "B", 0).random()
    False
    """
    spawn_key = (zlib.crc32(owner.encode()), depth)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def depth_of(env: Any, owner: str) -> int:
    """Return how many layers of `env` are of the class named `owner`."""
    depth, layer = 0, env
    while layer is not None:
        depth += type(layer).__name__ == owner
        layer = getattr(layer, "env", None)
    return depth
