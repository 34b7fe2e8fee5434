"""What a user of the two Craftax-Classic environments notices, and that they are the same."""

import copy
import functools
import json
import pickle
from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest
from craftax.craftax_classic import renderer
from craftax.craftax_classic.constants import Achievement, Action, BlockType
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import llm_wrappers  # noqa: F401  (registers the environments)
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.craftax import CraftaxClassicEnv, CraftaxClassicVectorEnv, engine
from llm_wrappers.worlds.craftax.engine import compiled_kernels
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS, ACTIONS, THINGS

ID = "llm_wrappers/CraftaxClassic-v1"
# Each number of sub-environments is a program of its own to compile: all tests share this one.
N = 3
MODES = list(AutoresetMode)
NOOP, RIGHT, DO, SLEEP = (ACTIONS.index(name) for name in ("noop", "move_right", "do", "sleep"))


def random_actions(steps: int, n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(len(ACTIONS), size=(steps, n))


def edit(env: Any, **changes: Any) -> Any:
    """Change the states of a running environment and return them; `inventory` is a dict."""
    states = jax.tree.map(np.array, env._worlds._states)
    for name, value in changes.items():
        if name == "inventory":
            for item, count in value.items():
                getattr(states.inventory, item)[:] = count
        else:
            getattr(states, name)[:] = value
    env._worlds._states = states
    return states


def frail(new_world: Any, world_seed: Any) -> Any:
    """Generate a world whose agent starves after 5 to 15 steps."""
    state, frame = new_world(world_seed)
    changes = {"player_health": 1, "player_food": 0, "player_recover": -(int(world_seed) % 11)}
    typed = {
        name: jax.numpy.asarray(value, getattr(state, name).dtype)
        for name, value in changes.items()
    }
    return state.replace(**typed), frame


@pytest.fixture
def new_worlds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let another function generate the worlds, from the original one and the seed."""

    def replace(make: Any) -> None:
        def kernels(observation: str) -> Any:
            original = compiled_kernels(observation)
            return original._replace(new_world=functools.partial(make, original.new_world))

        monkeypatch.setattr(engine, "compiled_kernels", kernels)

    return replace


class TestApi:
    def test_the_words_are_those_of_craftax(self) -> None:
        assert tuple(member.name.lower() for member in Achievement) == ACHIEVEMENTS
        assert [member.value for member in Action] == list(range(len(ACTIONS)))
        assert [member.name.lower() for member in Action] == [
            name.removeprefix("move_") for name in ACTIONS
        ]

    def test_vector_spaces_are_batches_of_the_single_ones(self) -> None:
        env, envs = CraftaxClassicEnv(), CraftaxClassicVectorEnv(N)
        assert envs.single_observation_space == env.observation_space
        assert envs.single_action_space == env.action_space
        observations, _ = envs.reset(seed=0)
        assert envs.observation_space.contains(observations)
        step = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(step[0])
        assert [part.dtype for part in step[1:4]] == [np.float64, np.bool_, np.bool_]
        assert [part.shape for part in step[1:4]] == [(N,)] * 3


class TestSeeds:
    def test_later_resets_continue_the_stream(self) -> None:
        env, twin = CraftaxClassicEnv(), CraftaxClassicEnv()
        first, _ = env.reset(seed=5)
        second, _ = env.reset()
        twin.reset(seed=5)
        twin.step(DO)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(twin.reset()[0], second)
        np.testing.assert_array_equal(twin.reset(seed=5)[0], first)

    def test_what_happens_in_a_world_follows_from_its_seed(self) -> None:
        env, twin, other = (CraftaxClassicEnv() for _ in range(3))
        for each, seed in ((env, 0), (twin, 0), (other, 1)):
            each.reset(seed=seed)
            edit(each, map=BlockType.GRASS.value, player_position=32)
            each._worlds._states = copy.deepcopy(env._worlds._states)
        observations = [[each.step(DO)[0] for _ in range(40)] for each in (env, twin, other)]
        np.testing.assert_array_equal(observations[0], observations[1])
        assert not np.array_equal(observations[0], observations[2])

    def test_a_vector_environment_takes_a_seed_or_a_list(self) -> None:
        envs = CraftaxClassicVectorEnv(N)
        first, _ = envs.reset(seed=5)
        second, _ = envs.reset()
        assert len({row.tobytes() for row in (*first, *second)}) == 2 * N
        np.testing.assert_array_equal(envs.reset(seed=[5, 6, 7])[0], first)
        np.testing.assert_array_equal(envs.reset(seed=np.int64(5))[0], first)
        # None continues the stream of one sub-environment: it had one world since its seed.
        np.testing.assert_array_equal(
            envs.reset(seed=[5, None, 7])[0], np.stack([first[0], second[1], first[2]])
        )


def both(
    mode: AutoresetMode, n: int = N, **options: Any
) -> tuple[CraftaxClassicVectorEnv, SyncVectorEnv]:
    """Return the vector environment and Gymnasium's own of single environments."""
    native = CraftaxClassicVectorEnv(n, autoreset_mode=mode, **options)
    singles = [functools.partial(CraftaxClassicEnv, **options)] * n
    return native, SyncVectorEnv(singles, autoreset_mode=mode)


def reset_ended(envs: Any, step: Any) -> tuple[Any, np.ndarray]:
    ended = step[2] | step[3]
    return (envs.reset(options={"reset_mask": ended}) if ended.any() else None), ended


def assert_same(got: Any, expected: Any) -> None:
    assert data_equivalence(got, expected, exact=True)


class TestOneAndTheSame:
    """Sub-environment i is the single environment of seed + i."""

    @pytest.mark.parametrize("mode", MODES)
    def test_as_gymnasiums_vector_of_single_environments(
        self, mode: AutoresetMode, new_worlds: Any
    ) -> None:
        new_worlds(frail)  # so that deaths and limits come at different steps
        native, reference = both(mode, length=12)
        assert native.metadata["autoreset_mode"] == reference.metadata["autoreset_mode"]
        assert_same(native.reset(seed=11), reference.reset(seed=11))
        ends = []
        for actions in random_actions(160, seed=1):
            step, expected = native.step(actions), reference.step(actions)
            assert_same(step, expected)
            ends.append((step[2], step[3]))
            if mode == AutoresetMode.DISABLED:
                self.reset_both(native, reference, step)
        terminated, truncated = (np.array(part) for part in zip(*ends, strict=True))
        assert terminated.sum() > 20
        assert truncated.sum() > 5
        alone = (terminated | truncated).sum(axis=1)
        assert {1, 2} <= set(alone.tolist())

    def reset_both(self, native: Any, reference: Any, step: Any) -> None:
        """Reset what ended; Gymnasium tells the infos of these sub-environments only."""
        got, ended = reset_ended(native, step)
        expected, _ = reset_ended(reference, step)
        if ended.any():
            np.testing.assert_array_equal(got[0], expected[0])
            assert_same(rows_of(got[1], ended), rows_of(expected[1], ended))

    @pytest.mark.slow
    def test_in_pixels(self) -> None:
        # One sub-environment, because programs that draw take long to compile.
        native, reference = both(AutoresetMode.SAME_STEP, n=1, length=6, observation="pixels")
        assert_same(native.reset(seed=3), reference.reset(seed=3))
        for actions in random_actions(15, 1):
            assert_same(native.step(actions), reference.step(actions))


def row_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """Return what the infos say about one sub-environment, as a single environment would."""
    row = {}
    for key, value in infos.items():
        if isinstance(value, dict):
            if not key.startswith("final_"):
                row[key] = row_of(value, index)
        elif not key.startswith(("_", "final_")):
            item = value[index]
            row[key] = item.item() if isinstance(item, np.generic) else item
    return row


def rows_of(infos: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    return {
        key: rows_of(value, mask) if isinstance(value, dict) else value[mask]
        for key, value in infos.items()
    }


class TestResetMask:
    def test_only_the_masked_begin_anew(self) -> None:
        envs = CraftaxClassicVectorEnv(N, autoreset_mode="Disabled")
        envs.reset(seed=0)
        for actions in random_actions(10):
            last, *_ = envs.step(actions)
        mask = np.array([False, True, False])
        options = {"reset_mask": mask}
        observations, infos = envs.reset(seed=[9, 8, 7], options=options)
        assert options == {"reset_mask": mask}
        observation, info = CraftaxClassicEnv().reset(seed=8)
        np.testing.assert_array_equal(observations, np.stack([last[0], observation, last[2]]))
        assert_same(row_of(infos, 1), info)
        # Of the others nothing is told, as by Gymnasium's SyncVectorEnv.
        told = {key: mask.tolist() for key in infos if key.startswith("_")}
        assert told
        assert {key: infos[key].tolist() for key in told} == told
        assert not infos["local_view"][~mask].any()

    def test_the_others_go_on_as_if_nothing_had_happened(self) -> None:
        envs, twins = (CraftaxClassicVectorEnv(N, length=25) for _ in range(2))
        envs.reset(seed=0)
        twins.reset(seed=0)
        for t, actions in enumerate(random_actions(40)):
            if t == 10:
                envs.reset(options={"reset_mask": np.array([False, True, False])})
            step, expected = envs.step(actions), twins.step(actions)
            np.testing.assert_array_equal(step[0][[0, 2]], expected[0][[0, 2]])
            assert step[3].tolist() == [t == 24, t == 34, t == 24]

    @pytest.mark.parametrize(
        "mask", [np.ones(2, bool), np.ones((N, 1), bool), np.ones(N, int), np.zeros(N, bool), True]
    )
    def test_a_mask_is_n_booleans_one_of_them_true(self, mask: Any) -> None:
        envs = CraftaxClassicVectorEnv(N)
        envs.reset(seed=0)
        with pytest.raises(InvalidOptionError, match="3 booleans, one of them true, got"):
            envs.reset(options={"reset_mask": mask})

    def test_a_whole_reset_comes_first(self) -> None:
        with pytest.raises(ResetNeeded, match="without a reset_mask first"):
            CraftaxClassicVectorEnv(N).reset(options={"reset_mask": np.ones(N, bool)})

    def test_disabled_says_who_must_be_reset(self) -> None:
        envs = CraftaxClassicVectorEnv(N, autoreset_mode=AutoresetMode.DISABLED, length=2)
        envs.reset(seed=0)
        envs.step(np.zeros(N, int))
        envs.reset(options={"reset_mask": np.array([True, False, False])})
        assert envs.step(np.zeros(N, int))[3].tolist() == [False, True, True]
        with pytest.raises(ResetNeeded, match=r"reset sub-environments \[1, 2\] first"):
            envs.step(np.zeros(N, int))
        envs.reset(options={"reset_mask": np.array([True, True, False])})
        with pytest.raises(ResetNeeded, match=r"reset sub-environments \[2\] first"):
            envs.step(np.zeros(N, int))
        envs.reset(options={"reset_mask": np.array([False, True, True])})
        assert not envs.step(np.zeros(N, int))[3].any()
        assert envs.step(np.zeros(N, int))[3].all()
        envs.reset()
        assert not envs.step(np.zeros(N, int))[3].any()


MOBS = ("zombie", "cow", "skeleton", "arrow")
NAMED_OTHERWISE = {
    "INVALID": "darkness",
    "OUT_OF_BOUNDS": "darkness",
    "WOOD": "tree",
    "CRAFTING_TABLE": "table",
    "PLANT": "sapling",
}
OBSERVED_ITEMS = (
    "wood", "stone", "coal", "iron", "diamond", "sapling", "wood_pickaxe", "stone_pickaxe",
    "iron_pickaxe", "wood_sword", "stone_sword", "iron_sword", "health", "food", "drink", "energy",
)  # fmt: skip


def view_decoded(observation: np.ndarray) -> np.ndarray:
    """Return the local view that a symbolic observation shows, tile by tile."""
    view = np.zeros((7, 9), np.uint8)
    for place, tile in enumerate(observation[: 63 * 21].reshape(63, 21)):
        (block,) = np.flatnonzero(tile[:17])
        name = BlockType(int(block)).name
        thing = NAMED_OTHERWISE.get(name, name.lower())
        for mob in np.flatnonzero(tile[17:]):
            thing = MOBS[mob]
        view[divmod(place, 9)] = THINGS.index(thing)
    return view


def check_against_observation(observation: np.ndarray, info: dict[str, Any]) -> None:
    np.testing.assert_array_equal(info["local_view"], view_decoded(observation))
    numbers = observation[63 * 21 :]
    held = dict(zip(OBSERVED_ITEMS, np.rint(numbers[:16] * 10).astype(int).tolist(), strict=True))
    assert info["inventory"] == held
    assert info["facing"] == numbers[16:20].argmax() + 1
    assert info["daylight"] == pytest.approx(float(numbers[20]))
    assert info["sleeping"] == bool(numbers[21])


class TestInfo:
    def test_agrees_with_the_observation(self) -> None:
        env = CraftaxClassicEnv()
        check_against_observation(*env.reset(seed=1))
        for (action,) in random_actions(60, 1):
            observation, _, _, _, info = env.step(action)
            check_against_observation(observation, info)

    def test_shows_every_block_and_every_creature(self) -> None:
        env = CraftaxClassicEnv()
        env.reset(seed=1)
        states = edit(env, player_position=32, mob_map=False)
        states.map[0, 29, 28:37] = [member.value for member in BlockType][:9]
        states.map[0, 35, 28:36] = [member.value for member in BlockType][9:]
        states.map[0, 30:35, 28:37] = BlockType.STONE.value  # so that no creature moves
        creatures = (states.zombies, states.cows, states.skeletons, states.arrows)
        for column, mobs in enumerate(creatures, start=28):
            mobs.mask[:] = False
            mobs.mask[0, 0] = True
            mobs.position[0, 0] = (31, column)
        states.arrow_directions[:] = 0
        states.map[0, 31, 31] = BlockType.PATH.value  # where the arrow hangs in the air
        observation, _, _, _, info = env.step(NOOP)
        check_against_observation(observation, info)
        assert [THINGS[number] for number in info["local_view"][2, :4]] == list(MOBS)
        assert set(info["local_view"].ravel().tolist()) == set(range(len(THINGS)))

    def test_the_reward_is_what_was_unlocked_and_the_change_of_health(self) -> None:
        env = CraftaxClassicEnv()
        _, info = env.reset(seed=1)
        edit(env, inventory=dict.fromkeys(OBSERVED_ITEMS[:6], 9))
        unlocked, health, rewards = info["achievements"], info["inventory"]["health"], set()
        for (action,) in random_actions(200, 1, seed=3):
            _, reward, terminated, _, info = env.step(action)
            new = sum(info["achievements"].values()) - sum(unlocked.values())
            change = info["inventory"]["health"] - health
            assert reward == pytest.approx(new + 0.1 * change)
            rewards.add(round(reward, 1))
            unlocked, health = info["achievements"], info["inventory"]["health"]
            if terminated:
                break
        assert {0.0, 1.0} <= rewards


class TestEnds:
    @pytest.mark.parametrize("last_step", [False, True])
    def test_death_terminates_and_does_not_truncate(self, last_step: bool) -> None:
        env = CraftaxClassicEnv(length=2 if last_step else 9)
        env.reset(seed=0)
        assert env.step(NOOP)[2:4] == (False, False)
        edit(env, player_health=1, player_food=0, player_recover=-15.0)
        _, reward, terminated, truncated, info = env.step(NOOP)
        assert (terminated, truncated) == (True, False)
        assert info["inventory"]["health"] == 0
        assert reward == pytest.approx(-0.1)

    def test_lava_terminates(self) -> None:
        env = CraftaxClassicEnv()
        env.reset(seed=0)
        states = edit(env, player_position=32)
        states.map[0, 32, 33] = BlockType.LAVA.value
        states.mob_map[:] = False
        _, _, terminated, truncated, info = env.step(RIGHT)
        assert (terminated, truncated) == (True, False)
        assert THINGS[info["local_view"][3, 4]] == "lava"

    def test_the_limit_of_steps_truncates(self) -> None:
        env = CraftaxClassicEnv(length=3)
        env.reset(seed=0)
        for _ in range(2):
            ends = [env.step(NOOP)[2:4] for _ in range(3)]
            assert ends == [(False, False), (False, False), (False, True)]
            env.reset()

    def test_a_limit_beyond_32_bits_is_no_limit(self) -> None:
        env = CraftaxClassicEnv(length=10**12)
        env.reset(seed=0)
        assert env.step(NOOP)[2:4] == (False, False)


class TestPictures:
    @pytest.mark.slow
    def test_pixels(self) -> None:
        env = CraftaxClassicEnv(observation="pixels")
        observation, _ = env.reset(seed=0)
        assert (observation.shape, observation.dtype) == ((63, 63, 3), np.uint8)
        assert observation.max() > 100
        assert env.step(RIGHT)[0] in env.observation_space

    def test_render(self) -> None:
        env = CraftaxClassicEnv(render_mode="rgb_array")
        envs = CraftaxClassicVectorEnv(N, render_mode="rgb_array")
        env.reset(seed=1)
        envs.reset(seed=0)
        frame, frames = env.render(), envs.render()
        assert (frame.shape, frame.dtype) == ((144, 144, 3), np.uint8)
        assert isinstance(frames, tuple)
        assert len(frames) == N
        np.testing.assert_array_equal(frames[1], frame)
        assert not np.array_equal(frames[0], frame)
        frame[:] = 0
        np.testing.assert_array_equal(env.render(), frames[1])

    def test_textures_are_read_before_a_program_is_traced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def make(pixels: int) -> Any:
            np.asarray(jax.numpy.arange(3) + 1)  # as Craftax does; impossible while tracing
            return lambda state: jax.numpy.full((pixels, pixels, 3), state["brightness"])

        monkeypatch.setattr(renderer, "make_craftax_pixel_renderer", make)
        states = {"brightness": np.array([3.0, 300.0])}
        picture = engine._renderer(jax)(states, 1)
        assert (picture.dtype, picture.max()) == (np.uint8, 255)

    @pytest.mark.parametrize("make", [CraftaxClassicEnv, CraftaxClassicVectorEnv])
    def test_without_a_render_mode(self, make: Any) -> None:
        env = make()
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="no render mode"):
            assert env.render() is None

    @pytest.mark.parametrize("make", [CraftaxClassicEnv, CraftaxClassicVectorEnv])
    def test_rendering_before_the_reset(self, make: Any) -> None:
        with pytest.raises(ResetNeeded, match=r"call reset\(\) before render\(\)"):
            make(render_mode="rgb_array").render()


def arrays_in(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        inner = arrays_in(value.tolist()) if value.dtype == object else []
        return [value, *inner]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return []


class TestFreshness:
    def outputs(self, env: Any, actions: Any) -> list[Any]:
        outputs = [env.reset(seed=0)]
        outputs += [env.step(action) for action in actions]
        return outputs

    @pytest.mark.parametrize("mode", [None, *MODES])
    def test_calls_share_nothing_and_nothing_is_read_only(self, mode: Any) -> None:
        env = (
            CraftaxClassicEnv(length=3)
            if mode is None
            else CraftaxClassicVectorEnv(N, length=3, autoreset_mode=mode)
        )
        steps = 3 if mode == AutoresetMode.DISABLED else 5
        outputs = self.outputs(env, [NOOP if mode is None else np.zeros(N, int)] * steps)
        if mode is not None:
            # The same states are told twice here.
            outputs += [env.reset(options={"reset_mask": np.array([True, False, False])})]
            outputs += [env.reset(options={"reset_mask": np.array([True, False, False])})]
        by_call = [arrays_in(output) for output in outputs]
        assert all(array.flags.writeable for arrays in by_call for array in arrays)
        for earlier, arrays in enumerate(by_call):
            for later in by_call[earlier + 1 :]:
                assert not any(np.shares_memory(a, b) for a in arrays for b in later)
            for index, array in enumerate(arrays):
                assert not any(np.shares_memory(array, other) for other in arrays[index + 1 :])


COPIES = [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy]


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy"])
class TestCopies:
    @pytest.mark.parametrize("mode", MODES)
    def test_a_vector_environment_that_waits(self, copied: Any, mode: AutoresetMode) -> None:
        envs = CraftaxClassicVectorEnv(N, length=5, autoreset_mode=mode)
        envs.reset(seed=0)
        for actions in random_actions(5):
            envs.step(actions)
        twins = copied(envs)
        if mode == AutoresetMode.DISABLED:
            options = {"reset_mask": np.ones(N, bool)}
            assert_same(envs.reset(options=options), twins.reset(options=options))
        for actions in random_actions(5, seed=1):
            assert_same(envs.step(actions), twins.step(actions))


class TestMistakes:
    @pytest.mark.parametrize("make", [CraftaxClassicEnv, CraftaxClassicVectorEnv])
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("observation", "text"),
            ("observation", None),
            ("length", 0),
            ("length", -3),
            ("length", 10.0),
            ("length", True),
            ("length", None),
            ("render_mode", "human"),
        ],
    )
    def test_a_bad_option_is_refused_by_name(self, make: Any, option: str, value: Any) -> None:
        with pytest.raises(InvalidOptionError) as caught:
            make(**{option: value})
        assert str(caught.value).startswith(f"{option} must be ")
        assert str(caught.value).endswith(f"got {value!r}")

    @pytest.mark.parametrize("num_envs", [0, -1, 2.0, "2", True, None])
    def test_a_bad_number_of_sub_environments(self, num_envs: Any) -> None:
        with pytest.raises(InvalidOptionError, match=r"num_envs must be a whole number >= 1, got"):
            CraftaxClassicVectorEnv(num_envs)

    @pytest.mark.parametrize("mode", ["same_step", "", None, 1])
    def test_a_bad_autoreset_mode(self, mode: Any) -> None:
        with pytest.raises(InvalidOptionError, match=r"one of \['NextStep', 'SameStep', 'Disabl"):
            CraftaxClassicVectorEnv(N, autoreset_mode=mode)

    @pytest.mark.parametrize(
        ("actions", "message"),
        [
            ([0, 0], r"expected 3 integer actions, got int64 of shape \(2,\)"),
            (np.zeros((N, 1), int), r"shape \(3, 1\)"),
            (0, r"shape \(\)"),
            (np.zeros(N), "got float64"),
            (np.zeros(N, bool), "got bool"),
            (["noop"] * N, "got <U4"),
            ([0, 17, 0], r"expected actions in 0\.\.16"),
            ([0, 0, -1], r"expected actions in 0\.\.16"),
        ],
    )
    def test_actions_outside_the_space(self, actions: Any, message: str) -> None:
        envs = CraftaxClassicVectorEnv(N)
        envs.reset(seed=0)
        with pytest.raises(InvalidOptionError, match=message):
            envs.step(actions)


class TestRegistry:
    def test_make_vec_makes_the_native_one(self) -> None:
        envs = gym.make_vec(ID, num_envs=N, length=2)
        assert isinstance(envs.unwrapped, CraftaxClassicVectorEnv)
        assert envs.num_envs == N
        assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        envs.reset(seed=0)
        assert [envs.step([NOOP] * N)[3].all() for _ in range(2)] == [False, True]

    @pytest.mark.parametrize("mode", MODES)
    def test_the_mode_may_be_its_name(self, mode: AutoresetMode) -> None:
        envs = gym.make_vec(ID, num_envs=N, autoreset_mode=mode.value)
        assert envs.metadata["autoreset_mode"] is mode
        assert json.loads(envs.spec.to_json())["kwargs"]["autoreset_mode"] == mode.value

    def test_the_spec_makes_an_equal_vector_environment(self) -> None:
        envs = gym.make_vec(ID, num_envs=N, length=3, autoreset_mode="NextStep")
        twins = gym.make_vec(envs.spec)
        assert_same(envs.reset(seed=0), twins.reset(seed=0))
        for actions in random_actions(8):
            assert_same(envs.step(actions), twins.step(actions))


class TestCost:
    @pytest.mark.parametrize("mode", MODES)
    def test_worlds_are_generated_only_where_an_episode_has_ended(
        self, mode: AutoresetMode, new_worlds: Any
    ) -> None:
        seeds = []

        def counted(new_world: Any, world_seed: Any) -> Any:
            seeds.append(int(world_seed))
            return frail(new_world, world_seed)

        new_worlds(counted)
        envs = CraftaxClassicVectorEnv(N, autoreset_mode=mode)
        envs.reset(seed=0)
        assert len(seeds) == N
        ended = 0
        waiting = np.zeros(N, bool)
        for actions in random_actions(60):
            step = envs.step(actions)
            now = step[2] | step[3]
            ended += int(now.sum())
            if mode == AutoresetMode.DISABLED:
                reset_ended(envs, step)
            waiting = now if mode == AutoresetMode.NEXT_STEP else np.zeros(N, bool)
            assert len(seeds) == N + ended - waiting.sum()
        assert ended > 9
        assert len(set(seeds)) == len(seeds)

    @pytest.mark.slow
    def test_a_step_is_compiled_once(self) -> None:
        kernels = compiled_kernels("symbolic")
        assert compiled_kernels("symbolic") is kernels
        kernels.step.clear_cache()  # of what other tests compiled
        envs = CraftaxClassicVectorEnv(N, length=7)
        for _ in range(2):
            envs.reset(seed=0)
            for actions in random_actions(20):
                envs.step(actions)
            envs.reset(options={"reset_mask": np.array([True, False, False])})
        assert kernels.step._cache_size() == 1
