"""How MiniGrid environments speak: facts and sentences from the partial view of the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.layers import AnyEnv, actions_of, observed_of
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.minigrid.view import (
    ACTIONS,
    COMPASS,
    describe,
    facts_of,
    is_view,
    place_in_words,
    read_views,
)

__all__ = [
    "MiniGridCaptioner",
    "has_plain_rules",
    "known_minigrid",
    "legal_actions",
    "state_caption",
    "transition_caption",
]


def state_caption(facts: Facts) -> str:
    """Return what is in front, in view and carried, and the mission."""
    seen = facts["in_view"]
    assert isinstance(seen, tuple)
    sentences = [f"You face {facts['direction']}."] if facts["direction"] else []
    sentences.append(f"In front of you: {facts['facing']}.")
    sentences.append(f"You see {_listed(seen)}." if seen else "You see nothing of note.")
    if facts["sees_lava"]:
        ahead, right = facts["lava_ahead"], facts["lava_right"]
        assert isinstance(ahead, int)
        assert isinstance(right, int)
        sentences.append(f"The nearest lava is {place_in_words(ahead, right)}.")
    held = f"a {facts['carrying_colour']} {facts['carrying']}" if facts["carrying"] else "nothing"
    sentences.append(f"You carry {held}.")
    if facts["mission"]:
        sentences.append(f"Your mission: {facts['mission']}.")
    return " ".join(sentences)


def transition_caption(before: Facts, action: str, after: Facts) -> str:
    """Return what an action did."""
    if action in ("left", "right"):
        return f"turn {action}"
    if action == "forward":
        return _step_forward(before)
    if action == "done":
        return "declare the mission done"
    return _handled(before, action, after) or "nothing happens"


def _step_forward(before: Facts) -> str:
    if not before["front_is_free"]:
        return f"bump into the {before['facing']}"
    entered = {"goal": "go to the goal", "open door": "go through the door", "lava": "step in lava"}
    return entered.get(str(before["facing"]), "move forward")


def _handled(before: Facts, action: str, after: Facts) -> str:
    held, holds = before["carrying"], after["carrying"]
    if action == "pick up":
        return f"pick up the {holds}" if holds and not held else ""
    if action == "drop":
        return f"drop the {held}" if held and not holds else ""
    old, new = before["facing"], after["facing"]
    if old == new:
        return ""
    return {"open door": "open the door", "closed door": "close the door"}.get(
        str(new), "open the box" if old == "box" else ""
    )


def _listed(things: tuple[str, ...]) -> str:
    return ", ".join(
        f"an {thing}" if thing.startswith("open") else f"a {thing}" for thing in things
    )


_PLAIN = ("MiniGrid-DoorKey-",)
_PORTABLE = ("key", "ball", "box")
_TOGGLED = ("open door", "closed door", "box")


def has_plain_rules(env_id: str) -> bool:
    """Return whether an environment is known to add nothing to MiniGrid's own rules.

    Others may give actions a meaning of their own: in some, bumping into a thing ends the episode.

    >>> has_plain_rules("MiniGrid-DoorKey-8x8-v0"), has_plain_rules("MiniGrid-GoToDoor-8x8-v0")
    (True, False)
    """
    return env_id.startswith(_PLAIN)


def legal_actions(action_names: Sequence[str], facts: Sequence[Facts]) -> NDArray[np.bool_]:
    """Return which actions can have an effect in n states, shape (n, actions).

    Turning has one always. `done` counts as legal: it does nothing, which is what it says.
    """
    legal = np.ones((len(facts), len(action_names)), dtype=np.bool_)
    for index, name in enumerate(action_names):
        if name in _RULES:
            legal[:, index] = [_RULES[name](row) for row in facts]
    return legal


def _can_pick_up(facts: Facts) -> bool:
    return facts["facing"] in _PORTABLE and not facts["carrying"]


def _can_drop(facts: Facts) -> bool:
    return bool(facts["carrying"]) and facts["facing"] == "empty"


def _can_toggle(facts: Facts) -> bool:
    # The door in front is the nearest one, of which the facts say whether the key fits.
    locked = facts["facing"] == "locked door"
    return bool(facts["key_fits_door"]) if locked else facts["facing"] in _TOGGLED


_RULES: dict[str, Callable[[Facts], bool]] = {
    "forward": lambda facts: bool(facts["front_is_free"]),
    "pick up": _can_pick_up,
    "drop": _can_drop,
    "toggle": _can_toggle,
}


_FAMILIES = ("MiniGrid-", "BabyAI-")
# Wrappers of MiniGrid and Gymnasium behind which the view is one, in case it is still there.
_KEEPING_THE_VIEW = {
    "DictObservationSpaceWrapper", "DirectionObsWrapper", "FilterObservation", "ImgObsWrapper",
    "ViewSizeWrapper",
}  # fmt: skip


class MiniGridCaptioner(StateByState):
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

    def _state(self, facts: Facts) -> str:
        return state_caption(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return transition_caption(before, self._action_name(action), after)

    def reads_behind(self, wrapper: str, observation_space: gym.Space[Any]) -> bool:
        """Return whether the view can be read behind a wrapper that changes observations.

        Args:
            wrapper: The name of its class. Others may show a picture or the whole grid in a space
                that looks the same.
            observation_space: What is observed behind it.
        """
        return wrapper in _KEEPING_THE_VIEW and _has_view(observation_space)


def known_minigrid(layers: Sequence[AnyEnv], env_id: str) -> MiniGridCaptioner | None:
    """Return the captioner of a MiniGrid environment; None where it is none.

    Any environment that observes a view, a direction and a mission counts, whatever its id; one
    with an id of MiniGrid or BabyAI also where it observes the view alone.
    """
    observation_space, action_space = observed_of(layers[-1]), actions_of(layers[-1])
    parts = dict(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else {}
    if not (env_id.startswith(_FAMILIES) or parts.keys() >= {"image", "direction", "mission"}):
        return None
    if not (_has_view(observation_space) and isinstance(action_space, spaces.Discrete)):
        return None
    if action_space.start != 0 or action_space.n > len(ACTIONS):
        return None
    return MiniGridCaptioner(env_id, actions=int(action_space.n))


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
