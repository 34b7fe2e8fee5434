"""What a user of EllmCrafterEnv notices: the actions, what counts as success, and the API."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from ellm_crafter_stage import SMALL, Stage
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import llm_wrappers  # noqa: F401  (registers the environment)
from llm_wrappers.captions import batch_infos
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds import ENV_IDS, REGISTERED_IDS
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.ellm_crafter import EllmCrafterEnv
from llm_wrappers.worlds.ellm_crafter.captioner import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.words import (
    ACTION_NAMES,
    EASIER_NAMES,
    GOOD_NAMES,
    NOUNS,
    VERBS,
)

crafter = pytest.importorskip("crafter")

ENV_ID = "llm_wrappers/EllmCrafter-v1"
FULL = 9
BOTH, NAMED, NEITHER = (True, True), (True, False), (False, False)


def test_actions_are_six_verbs_and_seven_verbs_times_nineteen_nouns() -> None:
    env = EllmCrafterEnv(area=SMALL)
    names = env.captioner.description.action_names
    assert env.action_space.n == len(names) == len(set(names)) == 139
    assert (len(VERBS), len(NOUNS)) == (7, 19)
    assert names[:7] == (
        "do nothing", "move left", "move right", "move up", "move down", "sleep", "mine zombie",
    )  # fmt: skip
    assert names[6 + 5 * 19 + 10] == "place crafting table"
    assert names[-1] == "make iron sword"
    assert set(GOOD_NAMES) < set(ACTION_NAMES)
    assert len(GOOD_NAMES) == 29
    assert env.captioner.description.goals == GOOD_NAMES


def test_easier_has_the_27_names_and_plays_alike() -> None:
    env = EllmCrafterEnv(area=SMALL, easier=True)
    names = env.captioner.description.action_names
    assert env.action_space.n == len(names) == 27
    assert names == EASIER_NAMES
    assert set(GOOD_NAMES) - set(names) == {"eat cow", "make crafting table"}
    stage = Stage(easier=True)
    stage.put("tree")
    assert stage.success("chop tree") == BOTH
    assert stage.player.inventory["wood"] == 1


@pytest.mark.parametrize(
    ("deed", "thing", "holding", "expected", "gains"),
    [
        ("chop tree", "tree", {}, BOTH, {"wood": 1}),
        ("drink water", "water", {"drink": 5}, BOTH, {"drink": 1}),
        ("mine stone", "stone", {"wood_pickaxe": 1}, BOTH, {"stone": 1}),
        ("mine coal", "coal", {"wood_pickaxe": 1}, BOTH, {"coal": 1}),
        ("mine iron", "iron", {"stone_pickaxe": 1}, BOTH, {"iron": 1}),
        ("mine diamond", "diamond", {"iron_pickaxe": 1}, BOTH, {"diamond": 1}),
        ("eat cow", "cow", {"food": 3}, BOTH, {"food": 6}),
        ("eat plant", "ripe plant", {"food": 3}, BOTH, {"food": 4}),
        ("attack plant", "ripe plant", {"food": 3}, NAMED, {}),
        ("attack cow", "cow", {"food": 3}, BOTH, {"food": 6}),
        ("attack zombie", "zombie", {}, BOTH, {}),
        ("attack skeleton", "skeleton", {}, BOTH, {}),
        ("place stone", None, {"stone": 1}, BOTH, {"stone": -1}),
        ("place crafting table", None, {"wood": 1}, BOTH, {"wood": -1}),
        ("make crafting table", None, {"wood": 9}, BOTH, {"wood": -1}),
        ("place furnace", None, {"stone": 4}, BOTH, {"stone": -4}),
        ("place plant", None, {"sapling": 1}, BOTH, {"sapling": -1}),
        # The noun is in front, and nothing happens.
        ("eat tree", "tree", {}, NAMED, {}),
        ("mine tree", "tree", {}, NAMED, {}),
        ("attack plant", "plant", {}, NAMED, {}),
        ("eat plant", "plant", {}, NAMED, {}),
        ("mine stone", "stone", {}, NAMED, {}),
        ("mine diamond", "diamond", {"stone_pickaxe": 1}, NAMED, {}),
        ("chop cow", "cow", {}, NAMED, {}),
        ("place furnace", "furnace", {"stone": 4}, NAMED, {}),
        ("drink water", "water", {}, NAMED, {}),
        ("chop tree", "tree", {"wood": 9}, NAMED, {}),
        # The noun is in the inventory.
        ("eat stone", None, {"stone": 2}, NAMED, {}),
        ("drink wood pickaxe", None, {"wood_pickaxe": 1}, NAMED, {}),
        ("make wood pickaxe", None, {"wood_pickaxe": 1}, NAMED, {}),
        # Neither.
        ("chop tree", None, {}, NEITHER, {}),
        ("eat cow", "zombie", {}, NEITHER, {}),
        ("place stone", None, {}, NEITHER, {}),
        ("place crafting table", None, {}, NEITHER, {}),
        ("place crafting table", "water", {"wood": 5}, NEITHER, {}),
        ("make wood pickaxe", None, {"wood": 1}, NEITHER, {}),
        ("place plant", "sand", {"sapling": 1}, NEITHER, {}),
        ("eat crafting table", "table", {}, NEITHER, {}),
        ("mine plant", None, {"sapling": 1}, NEITHER, {}),
        ("sleep", None, {}, NEITHER, {}),
        ("sleep", None, {"energy": 8}, BOTH, {}),
        ("do nothing", None, {}, BOTH, {}),
        ("move right", None, {}, BOTH, {}),
        ("move right", "stone", {}, NEITHER, {}),
        ("move right", "cow", {}, NEITHER, {}),
        ("move left", None, {}, BOTH, {}),
    ],
)
def test_success_and_effect(
    deed: str, thing: str | None, holding: dict, expected: tuple, gains: dict
) -> None:
    stage = Stage()
    stage.put(thing)
    stage.hold(**holding)
    before = dict(stage.player.inventory)
    assert stage.success(deed) == expected
    # Zombies and skeletons may have hit back.
    changed = {
        item: count - before[item]
        for item, count in stage.player.inventory.items()
        if count != before[item] and item != "health"
    }
    assert changed == gains


@pytest.mark.parametrize("noun", ["tree", "cow", "water"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_does_not_fit_changes_nothing(verb: str, noun: str) -> None:
    if f"{verb} {noun}" in GOOD_NAMES:
        return
    stage = Stage()
    obj = stage.put(noun)
    stage.hold(drink=5, food=5)
    assert stage.success(f"{verb} {noun}") == NAMED
    assert stage.player.inventory["food"] == stage.player.inventory["drink"] == 5
    assert obj is None or obj.health == 3
    assert not any(stage.player.achievements.values())


def test_tools_are_made_beside_a_table() -> None:
    stage = Stage()
    stage.hold(wood=1)
    assert stage.success("make wood sword") == NEITHER
    stage.put("table", -1, -1)
    assert stage.success("make wood sword") == BOTH
    assert stage.success("make wood sword") == NAMED
    assert stage.player.inventory["wood_sword"] == 1


def test_chopping_grass_works_one_time_in_ten_and_always_names_it() -> None:
    stage = Stage(length=10_000)
    outcomes = []
    for _ in range(600):
        stage.hold(food=FULL, drink=FULL, energy=FULL, health=FULL, sapling=0)
        stage.clear()
        outcome = stage.success("chop grass")
        assert outcome == (True, stage.player.inventory["sapling"] == 1)
        outcomes.append(outcome[1])
    assert 0.05 < np.mean(outcomes) < 0.16


def test_grass_under_a_cow_can_be_chopped_and_the_cow_stays() -> None:
    stage = Stage()
    cow = stage.put("cow")
    assert stage.success("chop grass")[0]
    assert cow.health == 3


@pytest.mark.parametrize(("creature", "health"), [("cow", 3), ("zombie", 5), ("skeleton", 3)])
def test_one_blow_kills_with_bare_hands_and_leaves_no_sword(creature: str, health: int) -> None:
    stage = Stage()
    obj = stage.put(creature)
    assert obj.health == health
    reward, _, _, info = stage.act(f"attack {creature}")
    assert obj.removed
    assert reward == 1.0
    assert info["inventory"]["iron_sword"] == 0


def test_a_full_item_is_used_up_but_not_counted() -> None:
    stage = Stage()
    stage.put("water")
    reward, _, _, info = stage.act("drink water")
    assert reward == 0.0
    assert info["achievements"]["collect_drink"] == 0
    stage.hold(drink=8)
    reward, _, _, info = stage.act("drink water")
    assert reward == 1.0
    assert info["inventory"]["drink"] == 9


def test_only_sleep_succeeds_while_asleep() -> None:
    stage = Stage()
    stage.hold(energy=5, stone=1)
    assert stage.success("sleep") == BOTH
    stage.put("tree")
    assert stage.success("chop tree") == NEITHER
    assert stage.success("eat stone") == NEITHER
    assert stage.success("do nothing") == NEITHER
    assert stage.success("sleep") == BOTH
    stage.hold(energy=FULL)
    assert stage.success("chop tree") == BOTH
    assert not stage.player.sleeping


def test_waking_up_is_no_success_of_the_action() -> None:
    stage = Stage()
    stage.player.sleeping = True
    reward, _, _, info = stage.act("mine iron")
    assert info["achievements"]["wake_up"] == 1
    assert reward == 1.0
    assert (info["action_success"], info["eval_success"]) == NEITHER


def test_the_reward_is_one_at_most_and_knows_no_health() -> None:
    stage = Stage()
    stage.put("tree")
    stage.player._hunger = stage.player._recover = -100
    stage.player.health = 4
    stage.env._game._last_health = 9
    reward, *_ = stage.act("chop tree")
    assert reward == 1.0
    stage.put("tree")
    assert stage.act("chop tree")[0] == 0.0
    # Waking up and collecting in one step unlock two achievements.
    stage = Stage()
    stage.put("tree")
    stage.player.sleeping = True
    reward, _, _, info = stage.act("chop tree")
    assert sum(info["achievements"].values()) == 2
    assert reward == 1.0


def test_crafter_beside_it_keeps_its_costs_and_its_blows() -> None:
    stage = Stage()
    stage.hold(wood=1)
    assert stage.success("place crafting table") == BOTH
    assert crafter.constants.place["table"]["uses"] == {"wood": 2}
    other = CrafterEnv(area=SMALL)
    other.reset(seed=0)
    player, world = other._game.player, other._game.world
    world[int(player.pos[0]), int(player.pos[1]) + 1] = "grass"
    for wood, placed in ((1, 0), (2, 1)):
        player.inventory["wood"] = wood
        info = other.step(8)[4]
        assert info["achievements"]["place_table"] == placed
    cow = crafter.objects.Cow(world, (0, 0))
    player._do_object(cow)
    assert cow.health == 2


def test_death_terminates_and_400_steps_truncate() -> None:
    stage = Stage()
    stage.env._game._step = 398
    assert stage.act("do nothing")[1:3] == (False, False)
    assert stage.act("do nothing")[1:3] == (False, True)
    stage = Stage()
    stage.put("lava")
    reward, terminated, truncated, info = stage.act("move right")
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["action_success"], info["eval_success"]) == BOTH


def test_infos_add_two_flags_that_are_false_at_reset() -> None:
    env = EllmCrafterEnv(area=SMALL)
    plain = CrafterEnv(area=SMALL).reset(seed=0)[1]
    _, first = env.reset(seed=0)
    later = env.step(np.int64(0))[4]
    for info in (first, later):
        assert set(info) == {*plain, "action_success", "eval_success"}
        assert type(info["action_success"]) is type(info["eval_success"]) is bool
    assert (first["action_success"], later["action_success"]) == (False, True)
    _, again = env.reset()
    assert again["action_success"] is again["eval_success"] is False


def test_the_same_seed_is_the_same_world_as_in_crafter() -> None:
    ours = EllmCrafterEnv(area=SMALL, privileged=True).reset(seed=4)
    theirs = CrafterEnv(area=SMALL, privileged=True).reset(seed=4)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1]["semantic"], theirs[1]["semantic"])


def rollout_digest() -> str:
    env = EllmCrafterEnv(area=(24, 24), size=36)
    random, digest = np.random.default_rng(3), hashlib.sha256()
    observation, info = env.reset(seed=11)
    for _ in range(250):
        name = GOOD_NAMES[int(random.integers(len(GOOD_NAMES)))]
        observation, *rest, info = env.step(ACTION_NAMES.index(name))
        flat = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in info.items()}
        digest.update(observation.tobytes())
        digest.update(repr((rest, flat)).encode())
        if rest[1] or rest[2]:
            env.reset()
    return digest.hexdigest()


def test_same_rollout_in_another_process() -> None:
    other = subprocess.run(
        [sys.executable, "-W", "error", __file__],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.stderr == ""
    assert other.stdout.strip() == rollout_digest()


def test_copies_go_on_alike_in_the_middle_of_an_episode() -> None:
    env = EllmCrafterEnv(area=SMALL, task="gardening")
    env.reset(seed=4)
    random = np.random.default_rng(0)
    for action in random.integers(139, size=40):
        env.step(int(action))
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for action in random.integers(139, size=40):
        expected = env.step(int(action))
        for twin in copies:
            got = twin.step(int(action))
            np.testing.assert_array_equal(got[0], expected[0])
            assert got[1:4] == expected[1:4]
            assert got[4]["action_success"] == expected[4]["action_success"]


@pytest.mark.parametrize("options", [{}, {"easier": True, "task": "survival"}])
def test_the_checks_of_gymnasium_and_stable_baselines3(options: dict) -> None:
    made = gym.make(ENV_ID, render_mode="rgb_array", area=SMALL, **options)
    check_env(made.unwrapped)
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(EllmCrafterEnv(area=SMALL, **options))


def test_it_is_registered_and_its_spec_comes_back() -> None:
    env = gym.make(ENV_ID, area=[16, 16], easier=True, task="chop tree")
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert again.action_space == env.action_space
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])
    assert again.unwrapped._task == env.unwrapped._task
    assert ENV_ID in REGISTERED_IDS
    assert set(ENV_IDS) < set(REGISTERED_IDS)
    # Reference guidance and the demo know Crafter's 17 actions only.
    assert ENV_ID not in ENV_IDS


def test_ppo_trains_on_it() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    env = EllmCrafterEnv(area=SMALL, size=36, length=10)
    model = sb3.PPO("CnnPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(32)
    assert model.num_timesteps == 32


def test_the_captioner_speaks_of_the_game() -> None:
    stage = Stage()
    stage.put("table")
    stage.put("cow", -1, 0)
    stage.hold(sapling=2, stone_pickaxe=1, food=8, energy=3)
    before = batch_infos(stage.env._info())
    captioner = stage.env.captioner
    assert isinstance(captioner, EllmCaptioner)
    facts = captioner.facts(None, before)
    assert captioner.state_captions(facts) == [
        "You see cow, crafting table, and grass. You are targeting table. You have in your "
        "inventory plant, stone_pickaxe. You feel hungry, sleepy."
    ]
    assert captioner.prompt_captions(facts)[0].endswith("stone_pickaxe. You feel sleepy.")
    assert captioner.transition_captions(facts, [ACTION_NAMES.index("eat cow")], facts) == [
        "eat cow"
    ]


@pytest.mark.parametrize("action", [-1, 139, 1.0, "noop", None])
def test_an_action_outside_the_space_is_refused(action: object) -> None:
    env = EllmCrafterEnv(area=(9, 9))
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(InvalidOptionError, match="from 0 to 138"):
        env.step(action)


@pytest.mark.parametrize(("option", "value"), [("easier", 1), ("length", 0), ("size", 17)])
def test_a_bad_option_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=f"^{option} must be .* got {value}$"):
        EllmCrafterEnv(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["fly", 3, "do nothing"])
def test_an_unknown_task_is_refused_with_the_known_ones(task: object) -> None:
    with pytest.raises(UnknownNameError, match="'deforestation'"):
        EllmCrafterEnv(task=task)  # type: ignore[arg-type]


def test_importing_it_does_not_import_crafter() -> None:
    code = "import sys, llm_wrappers.worlds.ellm_crafter; sys.exit('crafter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


if __name__ == "__main__":
    print(rollout_digest())
