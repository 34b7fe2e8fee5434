"""SGRL on MiniGrid DoorKey: its reference guidance against the real environment."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from minigrid.core.actions import Actions
from minigrid.core.world_object import Door, Key
from minigrid.wrappers import ImgObsWrapper

from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance import MaskBank, reference_artefact
from llm_wrappers.guidance.goals import checked_plan
from llm_wrappers.guidance.resolve import REFERENCES, resolve_planner
from llm_wrappers.methods import sgrl
from llm_wrappers.worlds.minigrid.captioner import MiniGridCaptioner

SIZES = (5, 6, 8, 16)
IDS = tuple(f"MiniGrid-DoorKey-{size}x{size}-v0" for size in SIZES)
EIGHT = IDS[2]
MOVES = ("left", "right", "forward")
DESCRIPTION = MiniGridCaptioner(EIGHT).description
ACTION = {name: index for index, name in enumerate(DESCRIPTION.action_names)}
ROOT = Path(__file__).parents[2]


def make(env_id=EIGHT):
    return gym.make(env_id, disable_env_checker=True)


def open_actions(env):
    return {DESCRIPTION.action_names[index] for index in np.flatnonzero(env.action_masks())}


def shortest_way(env):
    """Return the fewest actions to the goal, from what only the simulator knows."""
    world = env.unwrapped
    grid = {(x, y): world.grid.get(x, y) for x in range(world.width) for y in range(world.height)}
    goal = next(place for place, thing in grid.items() if thing and thing.type == "goal")

    def after(state, action):
        (x, y), facing, has_key, is_open = state
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[facing]
        front, thing = (x + dx, y + dy), grid[x + dx, y + dy]
        if action in (Actions.left, Actions.right):
            return (x, y), (facing + (1 if action == Actions.right else -1)) % 4, has_key, is_open
        if action == Actions.pickup and isinstance(thing, Key):
            return (x, y), facing, True, is_open
        if action == Actions.toggle and isinstance(thing, Door) and has_key:
            return (x, y), facing, has_key, not is_open
        free = (
            thing is None
            or thing.type == "goal"
            or (isinstance(thing, Key) and has_key)
            or (isinstance(thing, Door) and is_open)
        )
        moves = action == Actions.forward and free
        return (front if moves else (x, y)), facing, has_key, is_open

    start = (tuple(map(int, world.agent_pos)), int(world.agent_dir), False, False)
    ways, waiting = {start: []}, deque([start])
    while waiting:
        state = waiting.popleft()
        if state[0] == goal:
            return ways[state]
        for action in range(6):
            new = after(state, action)
            if new not in ways:
                ways[new] = [*ways[state], action]
                waiting.append(new)
    raise AssertionError("there is no way to the goal")


def play(env, choose, seed):
    """Return the return of one episode and its goals without repetitions."""
    _, info = env.reset(seed=seed)
    goals, total, done = [info["goal_text"]], 0.0, False
    while not done:
        _, reward, terminated, truncated, info = env.step(choose(env))
        total, done = total + float(reward), terminated or truncated
        if not done and info["goal_text"] != goals[-1]:
            goals.append(info["goal_text"])
    return total, goals


class TestWrap:
    @pytest.mark.parametrize("env_id", IDS)
    def test_needs_no_further_arguments(self, env_id):
        env = sgrl.wrap(make(env_id))
        observation, info = env.reset(seed=0)
        assert set(observation) == {"image", "direction", "mission", "goal"}
        assert observation["goal"].sum() == 1.0
        assert info["goal_text"] in DESCRIPTION.goals
        assert env.get_wrapper_attr("goal_vocabulary")() == DESCRIPTION.goals
        assert env.observation_space.contains(observation)

    def test_works_where_only_the_view_is_left(self):
        whole, view = sgrl.wrap(make()), sgrl.wrap(ImgObsWrapper(make()))
        for seed in range(5):
            _, info = whole.reset(seed=seed)
            observation, same = view.reset(seed=seed)
            assert set(observation) == {"obs", "goal"}
            assert info["goal_text"] == same["goal_text"]

    def test_says_where_no_guidance_ships(self):
        with pytest.raises(UnknownNameError, match=r"MiniGrid-Empty-5x5-v0.*only for.*DoorKey"):
            sgrl.wrap(gym.make("MiniGrid-Empty-5x5-v0"))

    def test_other_minigrid_environments_take_guidance_of_ones_own(self):
        env = sgrl.wrap(
            gym.make("MiniGrid-Empty-5x5-v0"),
            planner=lambda rows: [
                [("go to the goal" if row["sees_goal"] else "find the goal", 1.0)] for row in rows
            ],
            masks={"go to the goal": MOVES},
        )
        _, info = env.reset(seed=0)
        assert info["goal_text"] == "go to the goal"
        assert open_actions(env) == set(MOVES)

    @pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP])
    def test_a_vector_environment_has_the_goals_and_masks_of_single_ones(self, mode):
        singles = [sgrl.wrap(make(IDS[0])) for _ in range(3)]
        envs = sgrl.wrap(
            gym.make_vec(
                IDS[0],
                num_envs=3,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": mode},
            )
        )
        _, infos = envs.reset(seed=4)
        alone = [env.reset(seed=4 + index)[1] for index, env in enumerate(singles)]
        generator = np.random.default_rng(0)
        for _ in range(40):
            assert infos["goal_text"].tolist() == [info["goal_text"] for info in alone]
            masks = envs.action_masks()
            assert masks.tolist() == [env.action_masks().tolist() for env in singles]
            actions = np.array([generator.choice(np.flatnonzero(mask)) for mask in masks])
            _, _, terminated, truncated, infos = envs.step(actions)
            if (terminated | truncated).any():
                break
            alone = [env.step(a)[4] for env, a in zip(singles, actions, strict=True)]
        envs.close()


class TestReferenceGuidance:
    def test_ships_for_every_size_and_was_made_by_hand(self):
        registered = {env_id for env_id in gym.registry if env_id.startswith("MiniGrid-DoorKey")}
        assert registered == set(IDS)
        assert {REFERENCES[env_id] for env_id in IDS} == {"minigrid-doorkey"}
        assert reference_artefact("minigrid-doorkey").provenance.author == "hand"

    def test_has_a_mask_for_every_goal(self):
        masks = reference_artefact("minigrid-doorkey").masks
        assert masks is not None
        assert tuple(masks) == DESCRIPTION.goals
        MaskBank(masks, gym.spaces.Discrete(7), action_names=DESCRIPTION.action_names)
        # They take part in getting somewhere, and are of use only in front of the right thing.
        assert {goal: set(open_) for goal, open_ in masks.items() if set(open_) != set(MOVES)} == {
            "pick up the key": {"pick up"},
            "open the door": {"toggle"},
        }

    @pytest.mark.parametrize("env_id", IDS[::2])
    def test_leaves_the_shortest_way_open(self, env_id):
        for seed in range(15):
            env = sgrl.wrap(make(env_id))
            env.reset(seed=seed)
            way = iter(shortest_way(env))

            def follow(env, way=way):
                action = next(way)
                assert env.action_masks()[action], env.get_wrapper_attr("current_goal")()
                return action

            total, goals = play(env, follow, seed)
            assert total > 0.8
            assert next(way, None) is None
            # One thing after the other, however the agent gets there.
            deeds = [goal for goal in goals if goal.startswith(("pick up", "open"))]
            assert deeds == ["pick up the key", "open the door"]
            assert goals[-1] == "go to the goal"

    @pytest.mark.parametrize(
        ("facts", "goal"),
        [
            ({}, "find the key"),
            ({"sees_key": True}, "go to the key"),
            ({"sees_key": True, "facing": "key"}, "pick up the key"),
            ({"sees_door": True, "door_state": "locked"}, "find the key"),
            ({"sees_door": True, "door_state": "locked", "facing": "locked door"}, "find the key"),
            ({"carrying_key": True}, "find the door"),
            ({"carrying_key": True, "sees_door": True, "door_state": "locked"}, "go to the door"),
            ({"carrying_key": True, "facing": "locked door"}, "open the door"),
            ({"facing": "closed door", "door_state": "closed"}, "open the door"),
            ({"door_state": "open", "door_ahead": 2, "door_right": 0}, "go through the door"),
            ({"sees_goal": True, "door_state": "open", "door_ahead": 1}, "go to the goal"),
        ],
    )
    def test_what_comes_next(self, facts, goal):
        assert best_goal(**facts) == goal

    @pytest.mark.parametrize(
        ("direction", "ahead", "right", "goal"),
        [
            ("east", 1, -3, "go through the door"),
            ("west", 1, 3, "find the goal"),
            ("south", 4, -1, "go through the door"),
            ("south", 4, 1, "find the goal"),
            ("north", 4, 1, "go through the door"),
            ("north", 4, -1, "find the goal"),
            (None, 4, -1, "go through the door"),
        ],
    )
    def test_the_open_door_is_gone_through_from_the_west(self, direction, ahead, right, goal):
        facts = {"door_state": "open", "door_ahead": ahead, "door_right": right}
        assert best_goal(direction=direction, **facts) == goal

    def test_there_is_a_plan_for_whatever_is_met(self):
        env = sgrl.wrap(make(IDS[1]), masks="none")
        generator = np.random.default_rng(1)
        for seed in range(2):
            play(env, lambda _: int(generator.integers(7)), seed)
        stats = env.all_stats()["GoalObservationWrapper"]
        assert stats["failures"] == stats["unknown_goals"] == 0
        assert stats["states"] > 300

    def test_a_policy_that_knows_nothing_succeeds_far_more_often(self):
        generator = np.random.default_rng(0)

        def at_random(env):
            return int(generator.choice(np.flatnonzero(env.action_masks())))

        wins = {}
        for masks in ("reference:minigrid-doorkey", "none"):
            env = sgrl.wrap(gym.make(IDS[0], max_steps=120), masks=masks)
            wins[masks] = sum(play(env, at_random, seed)[0] > 0 for seed in range(20))
        assert wins["reference:minigrid-doorkey"] >= 6
        assert wins["none"] <= 2


def best_goal(**changes):
    """Return the goal of the reference planner for facts that differ from an empty room."""
    planner = resolve_planner("reference:minigrid-doorkey", env_id=EIGHT, goals=DESCRIPTION.goals)
    view = np.ones((1, 7, 7, 3), np.uint8) * np.array([1, 0, 0], np.uint8)
    observation = {"image": view, "direction": np.array([0]), "mission": ("",)}
    facts = {**MiniGridCaptioner(EIGHT).facts(observation, {})[0], **changes}
    (answer,) = planner.plan([facts])
    index = {goal: number for number, goal in enumerate(DESCRIPTION.goals)}
    return DESCRIPTION.goals[checked_plan(answer, index).best]


def test_the_walk_through_runs():
    text = (ROOT / "docs" / "another-world.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names = {}
    shorter = {r"learn\([\d_]+": "learn(128", "n_envs=8": "n_envs=2", "n_steps=128": "n_steps=64"}
    for block in blocks:
        for long, short in {**shorter, "batch_size=256": "batch_size=64"}.items():
            block = re.sub(long, short, block)
        exec(compile(block, "another-world.md", "exec"), names)
    assert set(names["met"]) <= set(names["description"].goals)
    stats = names["model"].get_env().env_method("all_stats", indices=[0])[0]
    assert stats["GoalObservationWrapper"]["failures"] == 0
    assert stats["GoalObservationWrapper"]["unknown_goals"] == 0
    assert stats["ActionMaskWrapper"]["masked_share"] == 1.0
    assert stats["ActionMaskWrapper"]["forbidden_actions"] == 0
