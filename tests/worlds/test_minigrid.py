"""MiniGrid in words: facts of the view, checked against the simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import FilterObservation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from minigrid.core import constants
from minigrid.core.actions import Actions
from minigrid.core.world_object import Ball, Box, Door, Goal, Key, Lava, Wall
from minigrid.wrappers import (
    DictObservationSpaceWrapper,
    FlatObsWrapper,
    FullyObsWrapper,
    ImgObsWrapper,
    RGBImgPartialObsWrapper,
    StochasticActionWrapper,
    SymbolicObsWrapper,
    ViewSizeWrapper,
)

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds.minigrid.captioner import MiniGridCaptioner, known_minigrid
from llm_wrappers.worlds.minigrid.view import ACTIONS, COLOURS, OBJECTS, STATES
from llm_wrappers.wrappers.vector import GoalObservationWrapper

DOOR_KEY = "MiniGrid-DoorKey-8x8-v0"
CAPTIONER = MiniGridCaptioner(DOOR_KEY)
THINGS = ("door", "key", "ball", "box", "goal", "lava")
EAST, SOUTH, WEST, NORTH = range(4)
NOT_THE_AGENT = len(OBJECTS) - 2

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
views = st.sampled_from([3, 5, 7, 9]).flatmap(
    lambda size: arrays(np.uint8, (size, size), elements=st.integers(0, NOT_THE_AGENT)).flatmap(
        lambda objects: st.tuples(
            arrays(np.uint8, (size, size), elements=st.integers(0, 5)),
            arrays(np.uint8, (size, size), elements=st.integers(0, 2)),
        ).map(lambda rest: np.stack([objects, *rest], axis=-1))
    )
)


def view_of(things: dict[tuple[int, int], str] | None = None, size: int = 7) -> np.ndarray:
    """Return an empty view with things at (ahead, right), such as "locked yellow door"."""
    image = np.zeros((size, size, 3), np.uint8)
    image[..., 0] = OBJECTS.index("empty")
    for (ahead, right), words in (things or {}).items():
        *adjectives, name = words.split()
        colour = next((COLOURS.index(word) for word in adjectives if word in COLOURS), 0)
        state = next((STATES.index(word) for word in adjectives if word in STATES), 0)
        image[size // 2 + right, size - 1 - ahead] = OBJECTS.index(name), colour, state
    return image


def facts_of(
    things: dict[tuple[int, int], str] | None = None, direction: int = EAST, mission: str = "play"
) -> dict[str, Any]:
    observations = {
        "image": view_of(things)[None],
        "direction": np.array([direction]),
        "mission": (mission,),
    }
    return dict(CAPTIONER.facts(observations, {})[0])


class TestWords:
    """The words are copied, so that MiniGrid need not be installed; here they are compared."""

    def test_are_numbered_as_minigrid_numbers_them(self):
        assert {name: OBJECTS.index(name) for name in OBJECTS} == constants.OBJECT_TO_IDX
        assert {name: COLOURS.index(name) for name in COLOURS} == constants.COLOR_TO_IDX
        assert {name: STATES.index(name) for name in STATES} == constants.STATE_TO_IDX
        assert [name.replace(" ", "") for name in ACTIONS] == [
            action.name for action in sorted(Actions)
        ]

    def test_the_directions_are_those_of_the_map(self):
        # On the map, x grows to the right and y downwards.
        steps = {"east": (1, 0), "south": (0, 1), "west": (-1, 0), "north": (0, -1)}
        for direction, (name, step) in enumerate(steps.items()):
            assert facts_of(direction=direction)["direction"] == name
            assert tuple(constants.DIR_TO_VEC[direction]) == step


class TestFacts:
    def test_of_an_empty_view(self):
        facts = facts_of()
        assert facts.pop("direction") == "east"
        assert facts.pop("mission") == "play"
        assert facts.pop("facing") == "empty"
        assert facts.pop("in_view") == ()
        assert all(facts.pop(f"{side}_is_free") is True for side in ("front", "left", "right"))
        assert set(facts.values()) == {None, False}

    @examples
    @given(views)
    def test_nearest_by_brute_force(self, image):
        facts = CAPTIONER.facts({"image": image[None]}, {})[0]
        size = len(image)
        for thing in THINGS:
            found = [
                (size - 1 - row, column - size // 2)
                for column in range(size)
                for row in range(size)
                if image[column, row, 0] == OBJECTS.index(thing)
                and (column, row) != (size // 2, size - 1)
            ]
            steps = min((ahead + abs(right) for ahead, right in found), default=None)
            assert facts[f"sees_{thing}"] is bool(found)
            assert facts[f"near_{thing}"] == steps
            if found:
                place = (facts[f"{thing}_ahead"], facts[f"{thing}_right"])
                assert place in found
                assert place[0] + abs(place[1]) == steps
            else:
                assert facts[f"{thing}_ahead"] is facts[f"{thing}_right"] is None

    @pytest.mark.parametrize("kind", ["key", "ball", "box"])
    def test_what_is_carried_is_in_the_cell_of_the_agent_and_not_in_view(self, kind):
        facts = facts_of({(0, 0): f"purple {kind}"})
        assert (facts["carrying"], facts["carrying_colour"]) == (kind, "purple")
        assert facts["carrying_key"] is (kind == "key")
        assert facts[f"sees_{kind}"] is False
        assert facts["in_view"] == ()

    @pytest.mark.parametrize(
        ("thing", "facing", "free"),
        [
            ("empty", "empty", True),
            ("grey wall", "wall", False),
            ("blue floor", "floor", True),
            ("open red door", "open door", True),
            ("closed red door", "closed door", False),
            ("locked red door", "locked door", False),
            ("red key", "key", False),
            ("red ball", "ball", False),
            ("red box", "box", False),
            ("green goal", "goal", True),
            ("red lava", "lava", True),
            ("unseen", "unseen", False),
        ],
    )
    @pytest.mark.parametrize(
        ("side", "place"), [("front", (1, 0)), ("left", (0, -1)), ("right", (0, 1))]
    )
    def test_around_the_agent(self, thing, facing, free, side, place):
        facts = facts_of({place: thing})
        expected = dict.fromkeys(("front", "left", "right"), True) | {side: free}
        assert {name: facts[f"{name}_is_free"] for name in expected} == expected
        assert facts["facing"] == (facing if side == "front" else "empty")
        assert facts["front_is_wall"] is (side == "front" and facing == "wall")

    @pytest.mark.parametrize(
        ("held", "door", "fits"),
        [
            ("yellow key", "locked yellow door", True),
            ("red key", "locked yellow door", False),
            ("yellow ball", "locked yellow door", False),
            ("empty", "locked yellow door", False),
            ("yellow key", "empty", False),
        ],
    )
    def test_whether_the_key_fits(self, held, door, fits):
        assert facts_of({(0, 0): held, (2, 2): door})["key_fits_door"] is fits

    @pytest.mark.parametrize("state", STATES)
    def test_the_state_and_the_colour_of_the_nearest_door(self, state):
        facts = facts_of({(2, 0): f"{state} blue door", (4, 0): "open red door"})
        assert (facts["door_state"], facts["door_colour"]) == (state, "blue")

    def test_everything_in_view_nearest_first(self):
        things = {
            (0, -2): "green goal",
            (5, 1): "locked yellow door",
            (1, 0): "red key",
            (2, 2): "red lava",
            (3, -1): "grey wall",
            (0, 2): "blue key",
        }
        assert facts_of(things)["in_view"] == (
            "red key (1 ahead)",
            "goal (2 left)",
            "blue key (2 right)",
            "locked yellow door (5 ahead, 1 right)",
        )

    def test_direction_and_mission_may_be_missing(self):
        for observations in (view_of()[None], {"image": view_of()[None]}):
            facts = CAPTIONER.facts(observations, {})[0]
            assert facts["direction"] is facts["mission"] is None
        numbers = {"image": view_of()[None], "mission": np.array([[3, 1, 4]])}
        assert CAPTIONER.facts(numbers, {})[0]["mission"] is None


class TestWrongObservations:
    @pytest.mark.parametrize(
        ("observations", "message"),
        [
            ({"pixels": 1}, r"under 'image', got the keys \['pixels'\]"),
            ({"image": view_of()}, r"\(n, size, size, 3\) .*got uint8 of shape \(7, 7, 3\)"),
            ({"image": np.zeros((1, 8, 8, 3), np.uint8)}, "odd size"),
            ({"image": np.zeros((1, 7, 5, 3), np.uint8)}, "odd size"),
            ({"image": np.zeros((1, 7, 7, 20), np.uint8)}, "odd size"),
            ({"image": np.zeros((1, 7, 7, 3), np.float32)}, "got float32"),
            ({"image": np.full((1, 7, 7, 3), 200, np.uint8)}, r"got up to \[200, 200, 200\]"),
        ],
        ids=["no image", "no batch", "even", "not square", "one-hot", "floats", "pixels"],
    )
    def test_are_refused_with_what_to_do(self, observations, message):
        with pytest.raises(InvalidOptionError, match=message) as caught:
            CAPTIONER.facts(observations, {})
        assert "batch" in str(caught.value) or "outside of the guidance" in str(caught.value)

    def test_the_whole_grid_is_not_taken_for_a_view(self):
        # In a world of 7 by 7 cells, the whole grid has the shape of a view.
        env = FullyObsWrapper(gym.make("MiniGrid-LavaGapS7-v0"))
        observation, _ = env.reset(seed=0)
        assert observation["image"].shape == (7, 7, 3)
        with pytest.raises(InvalidOptionError, match="FullyObsWrapper"):
            CAPTIONER.facts({"image": observation["image"][None]}, {})


class TestSentences:
    @pytest.mark.parametrize(
        ("facts", "caption"),
        [
            (
                facts_of(),
                "You face east. In front of you: empty. You see nothing of note. You carry "
                "nothing. Your mission: play.",
            ),
            (
                facts_of(
                    {
                        (0, 0): "yellow key",
                        (1, 0): "grey wall",
                        (2, -3): "open yellow door",
                        (0, 2): "red lava",
                        (6, 0): "green goal",
                    },
                    direction=NORTH,
                ),
                "You face north. In front of you: wall. You see an open yellow door (2 ahead, 3 "
                "left), a goal (6 ahead). The nearest lava is 2 right. You carry a yellow key. "
                "Your mission: play.",
            ),
            (
                CAPTIONER.facts(view_of({(1, 0): "red ball"})[None], {})[0],
                "In front of you: ball. You see a red ball (1 ahead). You carry nothing.",
            ),
        ],
        ids=["empty", "full", "view alone"],
    )
    def test_about_a_state(self, facts, caption):
        assert CAPTIONER.state_captions([facts]) == [caption]

    @pytest.mark.parametrize(
        ("action", "before", "after", "caption"),
        [
            ("left", {}, {}, "turn left"),
            ("right", {}, {}, "turn right"),
            ("forward", {}, {}, "move forward"),
            ("forward", {(1, 0): "grey wall"}, {(1, 0): "grey wall"}, "bump into the wall"),
            (
                "forward",
                {(1, 0): "locked red door"},
                {(1, 0): "locked red door"},
                "bump into the locked door",
            ),
            ("forward", {(1, 0): "open red door"}, {}, "go through the door"),
            ("forward", {(1, 0): "green goal"}, {}, "go to the goal"),
            ("forward", {(1, 0): "red lava"}, {}, "step in lava"),
            ("pick up", {(1, 0): "red key"}, {(0, 0): "red key"}, "pick up the key"),
            ("pick up", {}, {}, "nothing happens"),
            (
                "pick up",
                {(1, 0): "red ball", (0, 0): "red key"},
                {(1, 0): "red ball", (0, 0): "red key"},
                "nothing happens",
            ),
            ("drop", {(0, 0): "red box"}, {(1, 0): "red box"}, "drop the box"),
            ("drop", {}, {}, "nothing happens"),
            ("toggle", {(1, 0): "locked red door"}, {(1, 0): "open red door"}, "open the door"),
            ("toggle", {(1, 0): "closed red door"}, {(1, 0): "open red door"}, "open the door"),
            ("toggle", {(1, 0): "open red door"}, {(1, 0): "closed red door"}, "close the door"),
            (
                "toggle",
                {(1, 0): "locked red door"},
                {(1, 0): "locked red door"},
                "nothing happens",
            ),
            ("toggle", {(1, 0): "red box"}, {(1, 0): "blue key"}, "open the box"),
            ("toggle", {(1, 0): "red box"}, {}, "open the box"),
            ("toggle", {}, {}, "nothing happens"),
            ("done", {}, {}, "declare the mission done"),
        ],
    )
    def test_about_each_kind_of_deed(self, action, before, after, caption):
        told = CAPTIONER.transition_captions(
            [facts_of(before)], [ACTIONS.index(action)], [facts_of(after)]
        )
        assert told == [caption]

    @pytest.mark.parametrize("action", [-1, 7])
    def test_about_an_unknown_action_there_is_none(self, action):
        with pytest.raises(InvalidOptionError, match=r"actions must be 0\.\.6, got"):
            CAPTIONER.transition_captions([facts_of()], [action], [facts_of()])


class TestDescription:
    def test_of_door_key(self):
        description = CAPTIONER.description
        assert description.env_id == DOOR_KEY
        assert description.action_names == ACTIONS
        assert "After 640 steps" in description.rules
        assert gym.make(DOOR_KEY).unwrapped.max_steps == 640
        for words in ("find", "go to"):
            assert {f"{words} the {thing}" for thing in ("key", "door", "goal")} <= set(
                description.goals
            )

    def test_of_another_environment(self):
        description = MiniGridCaptioner("MiniGrid-Dynamic-Obstacles-5x5-v0", actions=3).description
        assert description.action_names == ("left", "right", "forward")
        assert set(CAPTIONER.description.goals) < set(description.goals)
        assert "locked" not in description.rules.splitlines()[-1]

    @pytest.mark.parametrize("actions", [0, 8])
    def test_there_are_one_to_seven_actions(self, actions):
        with pytest.raises(InvalidOptionError, match=f"1..7, got {actions}"):
            MiniGridCaptioner(DOOR_KEY, actions=actions)


def resolved(env: Any) -> Any:
    return resolve_captioner(env)


class TestWhoSpeaks:
    @pytest.mark.parametrize(
        "env_id",
        [DOOR_KEY, "MiniGrid-MemoryS7-v0", "BabyAI-GoToRedBall-v0", "MiniGrid-Empty-5x5-v0"],
    )
    def test_for_environments_of_both_families(self, env_id):
        captioner = resolved(gym.make(env_id))
        assert isinstance(captioner, MiniGridCaptioner)
        assert captioner.description.env_id == env_id

    def test_for_fewer_actions(self):
        env = gym.make("MiniGrid-Dynamic-Obstacles-5x5-v0")
        assert resolved(env).description.action_names == ("left", "right", "forward")

    @pytest.mark.parametrize(
        "wrap",
        [
            ImgObsWrapper,
            DictObservationSpaceWrapper,
            lambda env: FilterObservation(env, ["image"]),
            lambda env: ViewSizeWrapper(env, agent_view_size=5),
        ],
        ids=["image", "words as numbers", "filtered", "smaller"],
    )
    def test_for_wrappers_that_keep_the_view(self, wrap):
        env = wrap(gym.make(DOOR_KEY))
        captioner = resolved(env)
        assert isinstance(captioner, MiniGridCaptioner)
        observation, _ = env.reset(seed=0)
        if isinstance(observation, dict):
            batch = {key: np.asarray(value)[None] for key, value in observation.items()}
        else:
            batch = observation[None]
        assert captioner.facts(batch, {})[0]["facing"] in ("empty", "wall", "key", "locked door")

    def test_for_an_environment_of_ones_own(self):
        space = gym.make(DOOR_KEY).observation_space
        captioner = known("", space, spaces.Discrete(7))
        assert isinstance(captioner, MiniGridCaptioner)
        assert captioner.description.env_id == ""

    def test_not_where_the_view_became_something_else(self):
        for wrap in (FlatObsWrapper, RGBImgPartialObsWrapper, FullyObsWrapper, SymbolicObsWrapper):
            # Of a square grid of odd size the whole has the shape of a view.
            env = wrap(gym.make("MiniGrid-Empty-5x5-v0"))
            message = f"^{wrap.__name__} changes the observation that MiniGrid-Empty-5x5-v0 is"
            with pytest.raises(IncompatibleEnvironmentError, match=message):
                resolved(env)

    def test_not_where_the_view_is_gone(self):
        env = FilterObservation(gym.make(DOOR_KEY), ["direction"])
        with pytest.raises(IncompatibleEnvironmentError, match=r"^FilterObservation changes the"):
            resolved(env)

    def test_an_action_that_is_not_always_executed_means_the_same(self):
        env = StochasticActionWrapper(gym.make(DOOR_KEY))
        assert isinstance(resolved(env), MiniGridCaptioner)

    @pytest.mark.parametrize(
        "actions", [spaces.Discrete(8), spaces.Discrete(7, start=1), spaces.MultiDiscrete([7, 2])]
    )
    def test_not_for_other_actions(self, actions):
        space = gym.make(DOOR_KEY).observation_space
        assert known(DOOR_KEY, space, actions) is None

    def test_not_for_any_image(self):
        image = spaces.Dict({"image": spaces.Box(0, 255, (7, 7, 3), np.uint8)})
        assert known("Toy-v0", image, spaces.Discrete(7)) is None


def known(env_id, observations, actions):
    env = gym.Env()
    env.observation_space, env.action_space = observations, actions
    return known_minigrid([env], env_id)


def true_facts(env: Any) -> dict[str, Any]:
    """Return what the simulator knows about the cells beside the agent and in its hands."""
    world = env.unwrapped
    x, y = world.agent_pos
    dx, dy = world.dir_vec
    beside = {"front": (dx, dy), "left": (dy, -dx), "right": (-dy, dx)}
    objects = {side: world.grid.get(x + i, y + j) for side, (i, j) in beside.items()}
    free = {
        f"{side}_is_free": thing is None or thing.can_overlap() for side, thing in objects.items()
    }
    held = world.carrying
    return {
        **free,
        "front_is_wall": isinstance(objects["front"], Wall),
        "carrying": held.type if held else None,
        "carrying_colour": held.color if held else None,
    }


class TestRealEnvironments:
    @pytest.mark.parametrize(
        "env_id",
        [
            DOOR_KEY,
            "MiniGrid-ObstructedMaze-1Dlhb-v0",
            "MiniGrid-LavaCrossingS9N2-v0",
            "MiniGrid-Fetch-8x8-N3-v0",
            "MiniGrid-MultiRoom-N2-S4-v0",
            "MiniGrid-Dynamic-Obstacles-6x6-v0",
            "BabyAI-BossLevel-v0",
        ],
    )
    def test_facts_agree_with_the_simulator(self, env_id):
        env = gym.make(env_id)
        captioner = resolved(env)
        generator = np.random.default_rng(0)
        for seed in range(2):
            observation, _ = env.reset(seed=seed)
            for _ in range(100):
                batch = {
                    "image": observation["image"][None],
                    "direction": np.array([observation["direction"]]),
                    "mission": (observation["mission"],),
                }
                (facts,) = captioner.facts(batch, {})
                truth = true_facts(env)
                assert {name: facts[name] for name in truth} == truth
                assert facts["mission"] == env.unwrapped.mission
                assert captioner.state_captions([facts])[0].startswith("You face ")
                action = generator.integers(env.action_space.n)
                observation, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    observation, _ = env.reset()

    def test_places_agree_with_the_simulator(self):
        env = gym.make(DOOR_KEY)
        seen = 0
        for seed in range(60):
            observation, _ = env.reset(seed=seed)
            facts = resolved(env).facts({"image": observation["image"][None]}, {})[0]
            world = env.unwrapped
            (x, y), (dx, dy) = world.agent_pos, world.dir_vec
            for i in range(8):
                for j in range(8):
                    thing = world.grid.get(i, j)
                    if isinstance(thing, Key | Door) and facts[f"sees_{thing.type}"]:
                        ahead = (i - x) * dx + (j - y) * dy
                        right = (j - y) * dx - (i - x) * dy
                        place = (facts[f"{thing.type}_ahead"], facts[f"{thing.type}_right"])
                        assert place == (ahead, right)
                        seen += 1
        assert seen > 40

    def test_what_is_out_of_view_is_not_read(self):
        env = gym.make(DOOR_KEY)
        env.reset(seed=3)
        world = env.unwrapped

        def facts() -> Any:
            batch = {key: np.asarray(value)[None] for key, value in world.gen_obs().items()}
            return resolved(env).facts(batch, {})[0]

        before = facts()
        hidden = [
            (i, j)
            for i in range(1, 7)
            for j in range(1, 7)
            if (i, j) != tuple(world.agent_pos)
            and (
                not world.in_view(i, j)
                or world.gen_obs()["image"][tuple(world.get_view_coords(i, j))][0] == 0
            )
        ]
        assert len(hidden) > 10
        kinds = (Goal, Lava, lambda: Ball("red"), lambda: Box("red"), lambda: Key("red"))
        for number, place in enumerate(hidden):
            world.grid.set(*place, kinds[number % len(kinds)]())
        assert facts() == before


def test_a_reset_of_some_reads_their_missions() -> None:
    envs = gym.make_vec(
        "MiniGrid-DoorKey-5x5-v0",
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
    )
    envs = GoalObservationWrapper(envs, planner="reference:minigrid-doorkey")
    envs.reset(seed=0)
    mask = np.array([True, False, True])
    _, infos = envs.reset(options={"reset_mask": mask})
    assert all(infos["goal_text"][mask])
    assert envs.stats()["failures"] == 0
    assert envs.unguided() == []
    envs.close()


class TestLegality:
    def test_legal_is_what_changes_the_world(self):
        env = gym.make("MiniGrid-DoorKey-5x5-v0", disable_env_checker=True)
        captioner = resolve_captioner(env)
        names = captioner.description.action_names
        generator, met = np.random.default_rng(0), set()
        over = True
        for step in range(1500):
            if over:
                observation, _ = env.reset(seed=step)
            batch = {"image": observation["image"][None], "direction": [observation["direction"]]}
            (legal,) = captioner.legal_actions(captioner.facts(batch, {}))
            before = snapshot(env)
            # The doors stay shut if nothing ever helps.
            useful = legal.copy()
            useful[:2] = generator.random() < 0.5
            action = int(generator.choice(np.flatnonzero(useful if step % 2 else legal | True)))
            observation, _, terminated, truncated, _ = env.step(action)
            if names[action] != "done":
                assert (snapshot(env) != before) == legal[action], names[action]
            met.add((names[action], bool(legal[action])))
            over = terminated or truncated
        for name in ("forward", "pick up", "drop", "toggle"):
            assert {(name, True), (name, False)} <= met


def snapshot(env):
    world = env.unwrapped
    held = world.carrying and (world.carrying.type, world.carrying.color)
    return world.grid.encode().tolist(), tuple(world.agent_pos), int(world.agent_dir), held
