"""The conformance kit for captioners: whether a world speaks as wrappers and guidance expect."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from llm_wrappers import checks
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing._difference import difference
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_captioner"]

# So many states are copied to try what is said to be without effect, and so many actions in each.
_TRIED_STATES, _TRIED_ACTIONS = 20, 4
_SENTENCE_ENDS = (".", "!", "?")


def check_captioner(
    captioner: Captioner,
    env: gym.Env[Any, Any],
    *,
    idle: int | None = None,
    points: Collection[Point] | None = None,
    steps: int = 60,
    seed: int = 7,
) -> dict[Point, str]:
    """Check that a captioner keeps what wrappers and guidance rely on, on play of its environment.

    Actions are drawn at random. Checks run in the order below, and the first that fails raises:

    - `CAPTIONER_DESCRIPTION`: there are rules, and a name for every discrete action;
    - `CAPTIONER_FACTS`: all states have the same facts, of plain values that JSON has too;
    - `CAPTIONER_BATCH`: n states at once are what they are one by one, in any order, with infos in
      the form of `gymnasium.vector`;
    - `CAPTIONER_OBJECTS`: nothing that is passed in is changed;
    - `CAPTIONER_CAPTIONS`: state captions are sentences, transition captions one line, and the
      same when asked again; where `transition_reads` is given, they depend on nothing else;
    - `CAPTIONER_LEGALITY`: an action that `legal_actions` closes does nothing, in copies of the
      real environment;
    - `CAPTIONER_COPIES`: it pickles and copies, and copies say the same.

    Args:
        captioner: The captioner, as `resolve_captioner(env)` finds it.
        env: An environment that it speaks for. It is reset and stepped.
        idle: An action that does nothing, where the world goes on by itself: a closed action must
            then do what this one does. None where a closed action must leave everything as it is.
        points: The points to check; None for all.
        steps: The steps of the run, at least 20.
        seed: The seed of the run.

    Returns:
        What could not be checked, and why.

    Raises:
        ConformanceError: If the captioner does not keep a point; the error says which.
        InvalidOptionError: If it lacks a method of the protocol, or there are too few steps.

    >>> from llm_wrappers.worlds.toy_text.frozen_lake import FrozenLakeCaptioner
    >>> lake = FrozenLakeCaptioner(["SFFF", "FHFH", "FFFH", "HFFG"])
    >>> check_captioner(lake, gym.make("FrozenLake-v1"))
    {<Point.CAPTIONER_LEGALITY: 'captioner legality'>: 'it has no legal_actions'}
    """
    steps = checks.whole("steps", steps, least=20)
    if not isinstance(env, gym.Env):
        raise InvalidOptionError(f"env must be a gymnasium.Env, got {type(env).__name__}")
    play = _Play(resolve_captioner(env, captioner), env, idle, steps, seed)
    for point, check in _CHECKS.items():
        if points is None or point in points:
            check(play, point)
    return play.skipped


@dataclass
class _State:
    """What the environment showed, and a copy of it from before the action, where one is kept."""

    observation: Any
    info: dict[str, Any]
    copy: gym.Env[Any, Any] | None = None


@dataclass
class _Play:
    """A captioner, and what it is asked about."""

    captioner: Any
    env: gym.Env[Any, Any]
    idle: int | None
    steps: int
    seed: int
    skipped: dict[Point, str] = field(default_factory=dict)

    @cached_property
    def run(self) -> tuple[list[_State], list[tuple[int, Any, int]]]:
        """The states of a run, and (before, action, after) by their numbers."""
        space = deepcopy(self.env.action_space)
        space.seed(self.seed)
        states: list[_State] = [self._reset(self.seed)]
        moves, every = [], max(1, self.steps // _TRIED_STATES)
        for step in range(self.steps):
            if step % every == 0 and hasattr(self.captioner, "legal_actions"):
                states[-1].copy = self._copied()
            action = space.sample()
            observation, _, terminated, truncated, info = self.env.step(action)
            states.append(_State(deepcopy(observation), deepcopy(info)))
            moves.append((len(states) - 2, action, len(states) - 1))
            if terminated or truncated:
                states.append(self._reset(None))
        return states, moves

    def _reset(self, seed: int | None) -> _State:
        observation, info = self.env.reset(seed=seed)
        return _State(deepcopy(observation), deepcopy(info))

    def _copied(self) -> gym.Env[Any, Any] | None:
        try:
            return deepcopy(self.env)
        except (TypeError, ValueError, RuntimeError) as error:
            self.skipped[Point.CAPTIONER_LEGALITY] = f"the environment cannot be copied: {error}"
            return None

    @cached_property
    def states(self) -> list[_State]:
        """The states of the run."""
        return self.run[0]

    @cached_property
    def facts(self) -> list[dict[str, Any]]:
        """The facts of each state, asked one by one."""
        return [self.facts_of(state) for state in self.states]

    def facts_of(self, state: _State) -> dict[str, Any]:
        """Return the facts of one state."""
        observations = batch_of_one(self.env.observation_space, state.observation)
        rows = self.captioner.facts(observations, batch_infos(state.info))
        return dict(rows[0])

    def batch(self, states: Sequence[_State]) -> tuple[Any, dict[str, Any]]:
        """Return observations and infos of n states, as a vector environment returns them."""
        space, envs = self.env.observation_space, VectorEnv()
        infos: dict[str, Any] = {}
        envs.num_envs = len(states)
        for row, state in enumerate(states):
            infos = envs._add_info(infos, deepcopy(state.info), row)
        empty: Any = create_empty_array(space, n=len(states), fn=np.zeros)
        return concatenate(space, [state.observation for state in states], empty), infos

    def transitions(self, facts: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the transition captions of the run, told by facts of all its states."""
        before, actions, after = zip(*self.run[1], strict=True)
        told: list[str] = self.captioner.transition_captions(
            [facts[at] for at in before], list(actions), [facts[at] for at in after]
        )
        return told


def _check_description(play: _Play, point: Point) -> None:
    said, space = play.captioner.description, play.env.action_space
    if not said.rules.strip():
        raise ConformanceError(point, "rules that a player could read", got="an empty text")
    wanted = int(space.n) if isinstance(space, gym.spaces.Discrete) else 0
    if len(said.action_names) != wanted:
        raise ConformanceError(
            point, f"{wanted} action_names, one per discrete action", got=said.action_names
        )


def _check_facts(play: _Play, point: Point) -> None:
    first = play.facts[0]
    for at, facts in enumerate(play.facts):
        if facts.keys() != first.keys():
            odd = sorted(map(str, facts.keys() ^ first.keys()))
            raise ConformanceError(
                point, "the same facts in every state", got=f"{odd} in some only",
                advice="use None for what is not known",
            )  # fmt: skip
        for name, value in facts.items():
            if not (isinstance(name, str) and _is_plain(value)):
                raise ConformanceError(
                    point, "a bool, number, text, None or tuple of texts for each fact",
                    got=f"{name}={value!r} of {type(value).__name__} in state {at}",
                    advice="make plain values of arrays with tolist()",
                )  # fmt: skip
    json.dumps(play.facts)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(type(part) is str for part in value)
    return value is None or type(value) in (bool, int, float, str)


def _check_batch(play: _Play, point: Point) -> None:
    for some in (play.states, play.states[:1], play.states[::-1]):
        together = play.captioner.facts(*play.batch(some))
        if len(together) != len(some):
            raise ConformanceError(point, f"{len(some)} rows of facts", got=len(together))
        alone = [play.facts_of(state) for state in some]
        _require_same(point, "of n states the facts of each", alone, list(map(dict, together)))
    rows = play.facts
    told = play.captioner.state_captions(rows)
    alone_told = [play.captioner.state_captions([row])[0] for row in rows]
    _require_same(point, "of n states the caption of each", alone_told, list(told))


def _check_objects(play: _Play, point: Point) -> None:
    observations, infos = play.batch(play.states)
    facts = deepcopy(play.facts)
    given = deepcopy((observations, infos))
    play.captioner.facts(observations, infos)
    _require_same(point, "observations and infos left as they are", given, (observations, infos))
    play.captioner.state_captions(facts)
    play.transitions(facts)
    if hasattr(play.captioner, "legal_actions"):
        play.captioner.legal_actions(facts)
    _require_same(point, "facts left as they are", play.facts, facts)


def _check_captions(play: _Play, point: Point) -> None:
    speak = [("state_captions", play.captioner.state_captions)]
    if hasattr(play.captioner, "prompt_captions"):
        speak.append(("prompt_captions", play.captioner.prompt_captions))
    for name, captions in speak:
        told = list(captions(play.facts))
        for text in _texts(point, name, told, len(play.facts)):
            if not text.endswith(_SENTENCE_ENDS):
                raise ConformanceError(point, f"{name} that are sentences", got=repr(text))
        _require_same(point, f"the same {name} again", told, list(captions(play.facts)))
    told = list(play.transitions(play.facts))
    for text in _texts(point, "transition_captions", told, len(play.run[1])):
        if "\n" in text:
            raise ConformanceError(point, "transition_captions of one line", got=repr(text))
    reads = getattr(play.captioner, "transition_reads", None) or tuple(play.facts[0])
    unknown = set(reads) - play.facts[0].keys()
    if unknown:
        raise ConformanceError(point, "names of facts in transition_reads", got=sorted(unknown))
    only = [{name: facts[name] for name in reads} for facts in play.facts]
    try:
        again = list(play.transitions(only))
    except KeyError as error:
        raise ConformanceError(
            point, "transition_captions that read no fact but transition_reads", got=str(error)
        ) from error
    _require_same(point, "the same transition_captions again", told, again)


def _texts(point: Point, name: str, told: list[Any], n: int) -> list[str]:
    if len(told) != n:
        raise ConformanceError(point, f"{n} {name}, one for each", got=len(told))
    for text in told:
        if not isinstance(text, str) or not text.strip() or text != text.strip():
            raise ConformanceError(point, f"{name} that are texts", got=repr(text))
    return told


def _check_legality(play: _Play, point: Point) -> None:
    if not hasattr(play.captioner, "legal_actions"):
        play.skipped[point] = "it has no legal_actions"
        return
    legal = play.captioner.legal_actions(play.facts)
    if legal is None:
        play.skipped[point] = "it does not know which actions are legal"
        return
    shape = (len(play.facts), len(play.captioner.description.action_names))
    legal = np.asarray(legal)
    if legal.shape != shape or legal.dtype != np.bool_:
        raise ConformanceError(
            point, f"booleans of shape {shape}", got=f"{legal.dtype} of shape {legal.shape}"
        )
    if not legal.any(axis=1).all():
        raise ConformanceError(point, "an open action in every state", got="a state without one")
    tried = 0
    for at, state in enumerate(play.states):
        closed = np.flatnonzero(~legal[at]).tolist()
        if state.copy is not None and closed:
            turn = closed[at % len(closed) :] + closed[: at % len(closed)]
            tried += 1
            for action in turn[:_TRIED_ACTIONS]:
                _require_idle(play, point, state, action)
    if not tried and point not in play.skipped:
        play.skipped[point] = f"no action was closed in {play.steps} steps"


def _require_idle(play: _Play, point: Point, state: _State, action: int) -> None:
    """Require that a closed action does nothing: what the idle one does, or nothing at all."""
    assert state.copy is not None
    start = getattr(play.env.action_space, "start", 0)
    got = _outcome(play, state, action + int(start))
    if play.idle is None:
        expected = (state.observation, 0.0, False, play.facts_of(state))
    else:
        expected = _outcome(play, state, play.idle)
    name = play.captioner.description.action_names[action]
    _require_same(point, f"no effect of {name!r}, which legal_actions closes,", expected, got)


def _outcome(play: _Play, state: _State, action: int) -> tuple[Any, float, bool, dict[str, Any]]:
    env = deepcopy(state.copy)
    assert env is not None
    observation, reward, terminated, _, info = env.step(action)
    return observation, float(reward), bool(terminated), play.facts_of(_State(observation, info))


def _check_copies(play: _Play, point: Point) -> None:
    ways: dict[str, Callable[[Any], Any]] = {
        "pickle": lambda captioner: pickle.loads(pickle.dumps(captioner)),
        "deepcopy": deepcopy,
    }
    for name, copied in ways.items():
        try:
            other = copied(play.captioner)
        except Exception as error:
            raise ConformanceError(
                point, f"a captioner that {name} copies", got=repr(error)
            ) from error
        copy = _Play(other, play.env, play.idle, play.steps, play.seed)
        copy.__dict__["run"] = play.run
        what = f"a copy by {name} that says the same"
        _require_same(point, what, play.facts, copy.facts)
        said = play.captioner.state_captions(play.facts), play.transitions(play.facts)
        _require_same(
            point, what, said, (other.state_captions(play.facts), copy.transitions(play.facts))
        )
        if other.description != play.captioner.description:
            raise ConformanceError(point, what, got="another description")


def _require_same(point: Point, what: str, expected: Any, got: Any) -> None:
    found = difference(expected, got, "it")
    if found is not None:
        raise ConformanceError(point, f"{what} ({found.where} is {found.expected})", got=found.got)


_CHECKS: Mapping[Point, Callable[[_Play, Point], None]] = {
    Point.CAPTIONER_DESCRIPTION: _check_description,
    Point.CAPTIONER_FACTS: _check_facts,
    Point.CAPTIONER_BATCH: _check_batch,
    Point.CAPTIONER_OBJECTS: _check_objects,
    Point.CAPTIONER_CAPTIONS: _check_captions,
    Point.CAPTIONER_LEGALITY: _check_legality,
    Point.CAPTIONER_COPIES: _check_copies,
}
