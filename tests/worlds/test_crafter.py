"""Crafter as an environment: it is the game, and the same game every time."""

import sys
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded

import llm_wrappers  # noqa: F401  (registers the environment)
from llm_wrappers.captions.captioner import batch_infos
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.crafter.captioner import ACTIONS, THINGS

crafter = pytest.importorskip("crafter")

SMALL = (16, 16)
INFO_TYPES = {
    "achievements": dict,
    "inventory": dict,
    "local_view": np.ndarray,
    "facing": int,
    "sleeping": bool,
    "daylight": float,
}
DO, SLEEP = ACTIONS.index("do"), ACTIONS.index("sleep")
LEFT, RIGHT, UP, DOWN = 1, 2, 3, 4


class OrderedMembers(dict):
    def add(self, member: object) -> None:
        self[member] = None

    remove = dict.__delitem__


class ReferenceCrafter(crafter.Env):
    """Crafter's own loop and renderer; only the two sources of chance are tied down."""

    def __init__(self, world_seed: int) -> None:
        super().__init__(length=None, seed=0)
        reset_world, view = self._world.reset, self._local_view

        def reset(seed: int) -> None:
            reset_world(world_seed)
            self._world._chunks = defaultdict(OrderedMembers)

        def noise(canvas: np.ndarray, amount: float, stddev: float) -> np.ndarray:
            random = np.random.default_rng((world_seed, self._step))
            drawn = random.uniform(32, 127, canvas.shape[:2])[..., None]
            mask = amount * view._vignette(canvas.shape, stddev)[..., None]
            return (1 - mask) * canvas + mask * drawn

        self._world.reset, view._noise = reset, noise


def test_it_is_crafter_pixel_by_pixel_and_reward_by_reward() -> None:
    env = CrafterEnv(privileged=True)
    observation, info = env.reset(seed=3)
    reference = ReferenceCrafter(int(np.random.default_rng(3).integers(2**31 - 1)))
    np.testing.assert_array_equal(observation, reference.reset())

    random = np.random.default_rng(0)
    rewards, slept, dark = set(), 0, 0
    for step in range(480):
        for player in (env._game.player, reference._player):
            player.health = max(player.health, 3)
            if step == 250:  # tired, in the night
                player.inventory["energy"] = 5
            if step == 1:
                player.inventory.update(wood=9, stone=9, coal=5, iron=5, sapling=2)
        action = SLEEP if 250 <= step < 290 else int(random.integers(17))
        observation, reward, _, _, info = env.step(action)
        expected, expected_reward, _, expected_info = reference.step(action)
        assert np.array_equal(observation, expected), step
        assert reward == expected_reward
        assert info["inventory"] == expected_info["inventory"]
        assert info["achievements"] == expected_info["achievements"]
        assert info["player_pos"] == tuple(expected_info["player_pos"])
        assert np.array_equal(info["semantic"], expected_info["semantic"])
        rewards.add(round(reward, 1))
        slept += info["sleeping"]
        dark += info["daylight"] < 0.5
    assert {-0.1, 0.0, 0.1, 1.0} <= rewards
    assert slept > 10
    assert dark > 100


def test_later_resets_continue_the_stream() -> None:
    env, twin = CrafterEnv(area=SMALL), CrafterEnv(area=SMALL)
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    twin.reset(seed=5)
    for _ in range(3):
        twin.step(DO)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(twin.reset()[0], second)
    np.testing.assert_array_equal(twin.reset(seed=5)[0], first)


def test_repeated_renders_of_a_night_are_equal_and_four_times_as_large() -> None:
    env = CrafterEnv(render_mode="rgb_array", area=SMALL, size=36)
    env.reset(seed=0)
    env._game._step = 290
    observation = env.step(0)[0]
    frame = env.render()
    assert frame is not None
    assert frame.shape == (144, 144, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, env.render())
    np.testing.assert_array_equal(observation, env._game.picture())


def test_the_whole_map_is_neither_told_nor_drawn_unless_privileged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: object) -> None:
        raise AssertionError("the whole map was drawn")

    with monkeypatch.context() as patch:
        patch.setattr(crafter.engine.SemanticView, "__call__", fail)
        env = CrafterEnv(area=SMALL)
        env.reset(seed=0)
        env.step(0)
    info = CrafterEnv(area=(16, 20), privileged=True).reset(seed=0)[1]
    assert set(info) == {*INFO_TYPES, "semantic", "player_pos"}
    assert info["semantic"].shape == (16, 20)
    assert info["player_pos"] == (8, 10)


def beside(player: Any, dx: int, dy: int) -> tuple[int, int]:
    return int(player.pos[0]) + dx, int(player.pos[1]) + dy


def seen_tile_by_tile(env: CrafterEnv) -> np.ndarray:
    """Return the local view by asking Crafter's world about one tile at a time."""
    world, player = env._game.world, env._game.player
    view = np.zeros((7, 9), np.uint8)
    for row in range(7):
        for column in range(9):
            position = beside(player, column - 4, row - 3)
            material, obj = world[position]
            if obj is None or obj is player:
                name = material or "darkness"
            elif isinstance(obj, crafter.objects.Plant):
                name = "ripe_plant" if obj.ripe else "sapling"
            else:
                name = type(obj).__name__.lower()
            view[row, column] = THINGS.index(name)
    return view


def test_local_view_shows_what_is_around_the_agent() -> None:
    env = CrafterEnv(area=(24, 24))
    env.reset(seed=2)
    world, player = env._game.world, env._game.player
    for y, material in enumerate(crafter.constants.materials):
        world[5, y + 3] = material
    for (dx, dy), build in {
        (1, 0): lambda pos: crafter.objects.Zombie(world, pos, player),
        (2, 0): lambda pos: crafter.objects.Skeleton(world, pos, player),
        (3, 0): lambda pos: crafter.objects.Arrow(world, pos, (0, 1)),
        (0, -1): lambda pos: crafter.objects.Plant(world, pos),
        (0, -2): lambda pos: crafter.objects.Plant(world, pos),
        (0, 3): lambda pos: crafter.objects.Cow(world, pos),
    }.items():
        position = beside(player, dx, dy)
        if world[position][1]:
            world.remove(world[position][1])
        world[position] = "grass"
        world.add(build(position))
    world[beside(player, 0, -2)][1].grown = 500

    view = env._game.local_view()
    np.testing.assert_array_equal(view, seen_tile_by_tile(env))
    names = [THINGS[view[row, column]] for row, column in ((3, 5), (3, 6), (3, 7))]
    assert names == ["zombie", "skeleton", "arrow"]
    assert THINGS[view[3, 4]] == "grass"
    assert (THINGS[view[2, 4]], THINGS[view[1, 4]]) == ("sapling", "ripe_plant")
    assert THINGS[view[6, 4]] == "cow"

    seen = set(view.ravel().tolist())
    for x, y in ((0, 0), (23, 23), (0, 23), (5, 4), (5, 11), (12, 12)):
        if world[x, y][1] is not None and world[x, y][1] is not player:
            world.remove(world[x, y][1])
        if world[x, y][1] is None:
            world.move(player, (x, y))
        view = env._game.local_view()
        np.testing.assert_array_equal(view, seen_tile_by_tile(env))
        seen |= set(view.ravel().tolist())
    assert seen == set(range(len(THINGS)))


@pytest.mark.parametrize("action", [LEFT, RIGHT, UP, DOWN])
def test_facing_follows_the_move_actions_and_finds_the_tile_in_front(action: int) -> None:
    env = CrafterEnv(area=SMALL)
    _, info = env.reset(seed=0)
    assert info["facing"] == DOWN
    dx, dy = ((-1, 0), (1, 0), (0, -1), (0, 1))[action - 1]
    env._game.world[beside(env._game.player, dx, dy)] = "table"
    info = env.step(action)[4]
    facts = env.captioner.facts(None, batch_infos(info))[0]
    assert info["facing"] == action
    assert facts["facing"] == "table"
    assert facts["at_table"] is True


def test_death_terminates() -> None:
    env = CrafterEnv(area=SMALL, length=2)
    env.reset(seed=0)
    assert env.step(0)[2:4] == (False, False)
    env._game.world[beside(env._game.player, 1, 0)] = "lava"
    _, reward, terminated, truncated, info = env.step(RIGHT)
    # The limit is reached in this step as well; death is what counts.
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-0.9)
    assert info["inventory"]["health"] == 0
    assert info["local_view"][3, 4] == THINGS.index("lava")


def test_the_limit_of_steps_truncates() -> None:
    env = CrafterEnv(area=SMALL, length=3)
    env.reset(seed=0)
    for _ in range(2):
        ends = [env.step(0)[2:4] for _ in range(3)]
        assert ends == [(False, False), (False, False), (False, True)]
        env.reset()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("render_mode", "human"),
        ("size", 17),
        ("size", 64.0),
        ("size", (64, 64)),
        ("length", 0),
        ("length", None),
        ("length", True),
        ("area", (64,)),
        ("area", (8, 64)),
        ("area", 64),
        ("area", (64, "64")),
        ("privileged", 1),
    ],
)
def test_a_bad_option_is_refused_by_name_with_what_was_given(option: str, value: object) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        CrafterEnv(**{option: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{option} must be ")
    assert str(caught.value).endswith(f"got {value!r}")


def test_an_area_from_json_is_accepted() -> None:
    assert CrafterEnv(area=[16, 16]).reset(seed=0)[0].shape == (64, 64, 3)


def test_reset_comes_first() -> None:
    env = CrafterEnv(render_mode="rgb_array")
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.render()


def test_rendering_without_a_render_mode_warns() -> None:
    with pytest.warns(UserWarning, match="render_mode"):
        assert CrafterEnv().render() is None


def test_a_missing_crafter_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crafter", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "llm-wrappers\[crafter\]"'):
        CrafterEnv()
