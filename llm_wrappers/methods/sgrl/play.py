"""Playing an environment, at random or guided: situations for an author, and for its checks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import GuidanceWarning, IncompatibleEnvironmentError
from llm_wrappers.guidance.artefact import GuidanceArtefact
from llm_wrappers.guidance.goals import Plan
from llm_wrappers.guidance.masks import MaskBank
from llm_wrappers.guidance.planners import Planner, PlannerFunction, Planning
from llm_wrappers.guidance.resolve import resolve_masks, resolve_planner

__all__ = [
    "GUIDED_STEPS_PER_STATE",
    "Episode",
    "Guidance",
    "Guide",
    "record_episodes",
    "record_states",
    "states_of",
]

Guidance: TypeAlias = (
    "GuidanceArtefact | str | tuple[str | Planner | PlannerFunction, str | Mapping[str, Any]]"
)

GUIDED_STEPS_PER_STATE = 10
"""How many steps guided play takes for each state that is wanted (our choice)."""

_STEPS_PER_STATE = 20
_LONGEST_EPISODE = 500


@dataclass(frozen=True)
class Episode:
    """What was met and done in one episode.

    Args:
        facts: The facts of its t + 1 states.
        actions: The t actions between them.
        legal: What the environment's own `action_masks` said before each action, shape
            (t, actions); None where it has none.
        guided: Whether guidance chose what was open.
    """

    facts: Sequence[Facts]
    actions: Sequence[Any]
    legal: NDArray[Any] | None = None
    guided: bool = False


class Guide:
    """A planner with its masks, bound to the actions of an environment.

    As in `wrap`, the current goal is the one of the largest weight. A planner that fails leaves
    everything open.

    Args:
        guidance: An artefact, whose planner runs contained; a name that stands for both parts; or
            a planner and masks, each as an object or a name.
        description: Names the actions, and the goals unless they are given.
        action_space: A Discrete space.
        goals: The goal vocabulary; None for that of the description.

    """

    def __init__(
        self,
        guidance: Guidance,
        *,
        description: EnvDescription,
        action_space: gym.Space[Any],
        goals: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise IncompatibleEnvironmentError(
                f"guided play draws one of the open actions: expected Discrete, got {action_space}"
            )
        self.goals = checks.vocabulary(description.goals if goals is None else goals)
        length = int(action_space.n)
        self._start = action_space.start
        names = description.action_names if len(description.action_names) == length else ()
        planner, masks = _parts(guidance)
        self._planner = resolve_planner(planner, env_id=description.env_id, goals=self.goals)
        self._planning = Planning(self._planner, goals=self.goals, fallback=self.goals[0])
        found = resolve_masks(
            masks,
            env_id=description.env_id,
            goals=self.goals,
            actions=names or list(range(length)),
        )
        self.bank = MaskBank(found, action_space, action_names=names)
        self._rows = self.bank.matrix(self.goals)
        self._everything = np.ones(length, dtype=np.bool_)

    def plans(self, facts: Sequence[Facts]) -> list[Plan]:
        """Return the plan of each of n states; one that stands in for a failure says so."""
        with warnings.catch_warnings():
            # Whoever plays counts the failures.
            warnings.simplefilter("ignore", GuidanceWarning)
            return self._planning.plans(facts)

    def mask(self, plan: Plan) -> NDArray[np.bool_]:
        """Return the actions that the current goal of a plan leaves open, shape (actions,)."""
        if plan.failed or not plan.goals:
            return self._everything
        row: NDArray[np.bool_] = self._rows[plan.best]
        return row

    def flat(self, actions: Sequence[Any]) -> NDArray[np.int64]:
        """Return where in a mask n actions of the space stand, shape (n,)."""
        return np.asarray(np.array(actions, dtype=np.int64) - self._start)

    def draw(self, open_: NDArray[np.bool_], generator: np.random.Generator) -> Any:
        """Return one of the open actions, as one of the space."""
        return self._start + generator.choice(np.flatnonzero(open_))

    def close(self) -> None:
        """End the process of a planner that runs contained."""
        close = getattr(self._planner, "close", None)
        if close is not None:
            close()


def _parts(guidance: Guidance) -> tuple[Any, Any]:
    if isinstance(guidance, GuidanceArtefact):
        return guidance.planner(), guidance.masks or {}
    return (guidance, guidance) if isinstance(guidance, str) else guidance


class _Visit(NamedTuple):
    """A state that was met."""

    facts: Facts
    # What led to it; None where an episode began.
    action: Any
    # What the environment's own `action_masks` says in it, shape (actions,).
    legal: NDArray[np.bool_] | None
    # Whether it was met in a guided episode.
    guided: bool


def record_states(
    env: gym.Env[Any, Any],
    *,
    states: int = 300,
    seed: int = 0,
    captioner: Captioner | None = None,
    guided_by: Guidance | None = None,
    goals: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return the facts of different states, met by acting at random, or guided in part.

    At random, the first states that differ are taken. Random play of a long game meets few of its
    later states; with `guided_by`, every other episode draws its actions from those that the mask
    of the planner's current goal leaves open, and the states are taken evenly from all that was
    met in 10 steps for each state wanted (our choice).

    Args:
        env: The environment; it is reset, and left where the play ended.
        states: How many different states are wanted; fewer come back if they do not turn up within
            20 steps each (our choice), guided 10.
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        guided_by: An artefact (its planner runs contained), a name such as
            ``"reference:craftax-classic"``, or a planner and masks; None to act at random.
        goals: The goal vocabulary of `guided_by`; None for that of the environment.

    Raises:
        InvalidOptionError: If `states` is not a positive whole number.
        IncompatibleEnvironmentError: If the play is guided and the actions are not Discrete.

    >>> env = gym.make("CartPole-v1")
    >>> len(record_states(env, states=5))
    5
    """
    checks.whole("states", states, least=1)
    captioner = resolve_captioner(env, captioner)
    if guided_by is not None:
        steps = states * GUIDED_STEPS_PER_STATE
        episodes = record_episodes(
            env, steps=steps, seed=seed, captioner=captioner, guided_by=guided_by, goals=goals
        )
        return states_of(episodes, states=states)
    found: dict[Any, dict[str, Any]] = {}
    for state in _play(env, captioner, steps=states * _STEPS_PER_STATE, seed=seed, guide=None):
        _note(found, state.facts)
        if len(found) == states:
            break
    return list(found.values())


def record_episodes(
    env: gym.Env[Any, Any],
    *,
    steps: int = 3000,
    seed: int = 0,
    captioner: Captioner | None = None,
    guided_by: Guidance | Guide | None = None,
    goals: Sequence[str] | None = None,
) -> list[Episode]:
    """Return what was met and done in some episodes, with `guided_by` every other one guided.

    Args:
        env: The environment; it is reset, and left where the play ended.
        steps: How many states to meet in all; an episode is left after 500 (our choice).
        seed: The seed of the first episode and of the actions.
        captioner: None for the environment's own.
        guided_by: As in `record_states`.
        goals: The goal vocabulary of `guided_by`; None for that of the environment.

    Raises:
        InvalidOptionError: If `steps` is not a positive whole number.
        IncompatibleEnvironmentError: If the play is guided and the actions are not Discrete.

    >>> episodes = record_episodes(gym.make("CartPole-v1"), steps=100)
    >>> sum(len(episode.facts) for episode in episodes)
    100
    """
    checks.whole("steps", steps, least=1)
    captioner = resolve_captioner(env, captioner)
    if guided_by is None or isinstance(guided_by, Guide):
        return _episodes(_play(env, captioner, steps=steps, seed=seed, guide=guided_by))
    guide = Guide(
        guided_by, description=captioner.description, action_space=env.action_space, goals=goals
    )
    try:
        return _episodes(_play(env, captioner, steps=steps, seed=seed, guide=guide))
    finally:
        guide.close()


def states_of(episodes: Sequence[Episode], *, states: int) -> list[dict[str, Any]]:
    """Return at most so many different states, taken evenly from what was recorded."""
    checks.whole("states", states, least=1)
    found: dict[Any, dict[str, Any]] = {}
    for episode in episodes:
        for facts in episode.facts:
            _note(found, facts)
    met = list(found.values())
    if len(met) <= states:
        return met
    return [met[position * len(met) // states] for position in range(states)]


def _episodes(states: Iterable[_Visit]) -> list[Episode]:
    played: list[list[_Visit]] = []
    for state in states:
        if state.action is None:
            played.append([])
        played[-1].append(state)
    return [_episode(states) for states in played]


def _episode(states: Sequence[_Visit]) -> Episode:
    own = [state.legal for state in states[:-1]]
    return Episode(
        facts=[state.facts for state in states],
        actions=[state.action for state in states[1:]],
        legal=None if states[0].legal is None else np.array(own, dtype=np.bool_),
        guided=states[0].guided,
    )


def _note(found: dict[Any, dict[str, Any]], facts: Mapping[str, Any]) -> None:
    found.setdefault(tuple(sorted(facts.items())), dict(facts))


def _play(
    env: gym.Env[Any, Any], captioner: Captioner, *, steps: int, seed: int, guide: Guide | None
) -> Iterator[_Visit]:
    """Yield the states met while playing; with a guide every other episode is guided.

    A guided episode draws from the actions that the mask of the current goal and the environment's
    own mask both leave open; where they have none in common, the environment's own holds.
    """
    env.action_space.seed(seed)
    generator = np.random.default_rng(seed)
    episode, in_episode, over = -1, 0, False
    last: _Visit | None = None
    for _ in range(steps):
        if last is None or over or in_episode >= _LONGEST_EPISODE:
            episode, in_episode, over, action = episode + 1, 0, False, None
            observation, info = env.reset(seed=seed + episode)
        else:
            action = _choose(env, last, guide if last.guided else None, generator)
            observation, _, terminated, truncated, info = env.step(action)
            in_episode, over = in_episode + 1, bool(terminated or truncated)
        batch = batch_of_one(env.observation_space, observation)
        facts = dict(captioner.facts(batch, batch_infos(info))[0])
        last = _Visit(facts, action, _own_mask(env), guide is not None and episode % 2 == 0)
        yield last


def _own_mask(env: gym.Env[Any, Any]) -> NDArray[np.bool_] | None:
    if not env.has_wrapper_attr("action_masks"):
        return None
    return np.array(env.get_wrapper_attr("action_masks")(), dtype=np.bool_)


def _choose(
    env: gym.Env[Any, Any], state: _Visit, guide: Guide | None, generator: np.random.Generator
) -> Any:
    if guide is None:
        return env.action_space.sample()
    (plan,) = guide.plans([state.facts])
    open_ = guide.mask(plan)
    if state.legal is not None and state.legal.any():
        both = open_ & state.legal
        open_ = both if both.any() else state.legal
    return guide.draw(open_, generator)
