"""How MiniGrid environments speak: facts and sentences from the partial view of the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.minigrid.facts import facts_of
from llm_wrappers.worlds.minigrid.legality import has_plain_rules, legal_actions
from llm_wrappers.worlds.minigrid.sentences import state_caption, transition_caption
from llm_wrappers.worlds.minigrid.view import is_view, read_views
from llm_wrappers.worlds.minigrid.words import ACTIONS, COMPASS, describe

__all__ = ["MiniGridCaptioner", "keeps_view", "known_minigrid"]

_FAMILIES = ("MiniGrid-", "BabyAI-")
# Wrappers of MiniGrid and Gymnasium behind which the view is one, in case it is still there.
_KEEPING_THE_VIEW = {
    "DictObservationSpaceWrapper", "DirectionObsWrapper", "FilterObservation", "ImgObsWrapper",
    "ViewSizeWrapper",
}  # fmt: skip


class MiniGridCaptioner:
    """Facts, state captions and transition captions of MiniGrid and BabyAI environments.

    Only what the agent observes is read: its partial view, in which it also sees what it carries,
    its compass direction and the mission. The facts are

    - `direction` (``"east"``, ``"south"``, ``"west"``, ``"north"``) and `mission`, None where a
      wrapper removed them;
    - `carrying` (``"key"``, ``"ball"``, ``"box"`` or None), `carrying_colour`, `carrying_key`;
    - `facing`, what is in front (``"empty"``, ``"wall"``, ``"floor"``, ``"open door"``,
      ``"closed door"``, ``"locked door"``, ``"key"``, ``"ball"``, ``"box"``, ``"goal"``,
      ``"lava"``), and `front_is_free`, `front_is_wall`, `left_is_free`, `right_is_free`, where
      free is what the agent can enter;
    - for each of door, key, ball, box, goal and lava `sees_<thing>`, and for the nearest one in
      view `near_<thing>` (steps), `<thing>_ahead` and `<thing>_right` (cells in front of the agent
      and to its right, negative to its left), and for the first four `<thing>_colour`; None where
      none is in view;
    - `door_state` of the nearest door (``"open"``, ``"closed"``, ``"locked"`` or None), and
      `key_fits_door`, whether a key of its colour is carried;
    - `in_view`, every door, key, ball, box and goal in view in words, nearest first.

    MiniGrid itself is not imported.

    Args:
        env_id: The Gymnasium id. The rules and goals of ``MiniGrid-DoorKey-...`` are known; other
            environments get what all have in common.
        actions: How many of the seven actions the environment has.

    Raises:
        InvalidOptionError: If there are not 1 to 7 actions.

    >>> view = np.zeros((1, 7, 7, 3), dtype=np.uint8)
    >>> view[0, 3, 6, 0], view[0, 3, 5, 0], view[0, 2, 4] = 1, 1, (5, 4, 0)
    >>> captioner = MiniGridCaptioner("MiniGrid-DoorKey-8x8-v0")
    >>> facts = captioner.facts({"image": view, "direction": np.array([3])}, {})
    >>> facts[0]["key_ahead"], facts[0]["key_right"]
    (2, -1)
    >>> captioner.state_captions(facts)[0]
    'You face north. In front of you: empty. You see a yellow key (2 ahead, 1 left). You carry
    nothing.'
    """

    def __init__(self, env_id: str, *, actions: int = len(ACTIONS)) -> None:
        if not 1 <= actions <= len(ACTIONS):
            raise InvalidOptionError(f"actions must be 1..{len(ACTIONS)}, got {actions!r}")
        self._description = describe(env_id, actions)

    @property
    def description(self) -> EnvDescription:
        """The rules, the names of the actions and the goals."""
        return self._description

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return the facts of n sub-environments, read from their observations alone.

        Args:
            observations: A dict of batches: `image` of shape (n, size, size, 3), and where they
                were not removed, `direction` of shape (n,) and n texts in `mission`. The images
                alone will do.
            infos: Not read.

        Raises:
            InvalidOptionError: If the images are no views of an agent.
        """
        views = read_views(observations)
        named = observations if isinstance(observations, Mapping) else {}
        directions = _directions(named.get("direction"), len(views))
        missions = _missions(named.get("mission"), len(views))
        return [
            facts_of(view, direction, mission)
            for view, direction, mission in zip(views, directions, missions, strict=True)
        ]

    def legal_actions(self, facts: Sequence[Facts]) -> NDArray[np.bool_] | None:
        """Return which actions can have an effect in n states, shape (n, actions).

        None for environments other than DoorKey, which may give actions a meaning of their own.

        Args:
            facts: The facts of n states.
        """
        if not has_plain_rules(self._description.env_id):
            return None
        return legal_actions(self._description.action_names, facts)

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return one paragraph per state: what is in front, in view and carried, the mission."""
        return [state_caption(row) for row in facts]

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return what each action did, in the words of the goal vocabulary where they fit.

        Args:
            before: The facts of n states.
            actions: The n actions, as indices.
            after: The facts of the n states that followed.

        Raises:
            InvalidOptionError: If an action is not one of the environment.
        """
        return [
            transition_caption(old, self._action(action), new)
            for old, action, new in zip(before, actions, after, strict=True)
        ]

    def _action(self, action: Any) -> str:
        names = self._description.action_names
        if not 0 <= int(action) < len(names):
            raise InvalidOptionError(f"actions must be 0..{len(names) - 1}, got {action!r}")
        return names[int(action)]


def known_minigrid(
    env_id: str, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> MiniGridCaptioner | None:
    """Return the captioner of a MiniGrid environment; None where it is none.

    Any environment that observes a view, a direction and a mission counts, whatever its id; one
    with an id of MiniGrid or BabyAI also where it observes the view alone.

    Args:
        env_id: The Gymnasium id; empty if there is none.
        observation_space: What the environment shows.
        action_space: The actions.

    >>> view = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    >>> known_minigrid("MiniGrid-DoorKey-8x8-v0", view, spaces.Discrete(7)).description.env_id
    'MiniGrid-DoorKey-8x8-v0'
    >>> known_minigrid("Toy-v0", view, spaces.Discrete(7)) is None
    True
    """
    parts = dict(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else {}
    if not (env_id.startswith(_FAMILIES) or parts.keys() >= {"image", "direction", "mission"}):
        return None
    if not (_has_view(observation_space) and isinstance(action_space, spaces.Discrete)):
        return None
    if action_space.start != 0 or action_space.n > len(ACTIONS):
        return None
    return MiniGridCaptioner(env_id, actions=int(action_space.n))


def keeps_view(wrapper: str, observation_space: gym.Space[Any]) -> bool:
    """Return whether the view can be read behind a wrapper that changes observations.

    Args:
        wrapper: The name of its class. Others may show a picture or the whole grid in a space
            that looks the same.
        observation_space: What is observed behind it.

    >>> view = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    >>> keeps_view("ImgObsWrapper", view), keeps_view("FullyObsWrapper", view)
    (True, False)
    """
    return wrapper in _KEEPING_THE_VIEW and _has_view(observation_space)


def _has_view(observation_space: gym.Space[Any]) -> bool:
    parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
    view = parts.get("image", observation_space)
    return isinstance(view, spaces.Box) and view.dtype.kind == "u" and is_view(view.shape)


def _directions(directions: Any, n: int) -> list[str | None]:
    if directions is None:
        return [None] * n
    return [COMPASS[int(direction)] for direction in np.asarray(directions)]


def _missions(missions: Any, n: int) -> list[str | None]:
    # DictObservationSpaceWrapper turns a mission into numbers, which say nothing in words.
    if missions is None:
        return [None] * n
    return [str(text) if isinstance(text, str) else None for text in missions]
