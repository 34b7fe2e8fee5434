"""ELLM's actions over Crafter and Craftax-Classic, in the installed games."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from ellm_crafter_stage import Stage
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import llm_wrappers  # noqa: F401  (registers the environments)
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds.craftax import CraftaxClassicEnv
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.crafter.rules import ACTIONS
from llm_wrappers.worlds.ellm_crafter import EllmCrafterEnv
from llm_wrappers.worlds.ellm_crafter.verb_noun import VerbNounActions
from llm_wrappers.worlds.ellm_crafter.words import ACTION_NAMES, EASIER_NAMES, GOOD_NAMES

SMALL = (16, 16)
BOTH, NAMED, NEITHER = (True, True), (True, False), (False, False)


def flags(info: dict[str, Any]) -> tuple[bool, bool]:
    return info["action_success"], info["eval_success"]


@pytest.mark.parametrize(
    ("deed", "thing", "holding", "expected"),
    [
        ("chop tree", "tree", {}, BOTH),
        ("eat tree", "tree", {}, NAMED),
        ("mine stone", "stone", {}, NAMED),
        ("mine stone", "stone", {"wood_pickaxe": 1}, BOTH),
        ("eat cow", "cow", {}, BOTH),
        ("attack cow", "cow", {}, BOTH),
        ("chop cow", "cow", {}, NAMED),
        ("attack zombie", "cow", {}, NEITHER),
        ("eat plant", "plant", {}, NAMED),
        ("eat plant", "ripe plant", {"food": 2}, BOTH),
        ("place crafting table", None, {"wood": 1}, NEITHER),
        ("place crafting table", None, {"wood": 2}, BOTH),
        ("make crafting table", None, {"wood": 2}, BOTH),
        ("eat stone", None, {"stone": 1}, NAMED),
        ("sleep", None, {"energy": 5}, BOTH),
        ("sleep", None, {}, NEITHER),
        ("move right", None, {}, BOTH),
        ("move right", "tree", {}, NEITHER),
        ("do nothing", None, {}, BOTH),
    ],
)
def test_success_over_crafter(deed: str, thing: str | None, holding: dict, expected: tuple) -> None:
    stage = Stage(env_class=CrafterEnv)
    stage.put(thing)
    stage.hold(**holding)
    env = VerbNounActions(stage.env)
    env._before = env._look(stage.env._info())
    assert flags(env.step(ACTION_NAMES.index(deed))[4]) == expected


def test_only_what_fits_is_played() -> None:
    stage = Stage(env_class=CrafterEnv)
    stage.put("tree")
    env = VerbNounActions(stage.env)
    for verb in ("mine", "eat", "attack", "drink", "place", "make"):
        env._before = env._look(stage.env._info())
        assert flags(env.step(ACTION_NAMES.index(f"{verb} tree"))[4]) == NAMED
    assert stage.player.inventory["wood"] == 0
    info = env.step(ACTION_NAMES.index("chop tree"))[4]
    assert info["inventory"]["wood"] == 1


def test_it_says_what_the_game_of_ellm_says() -> None:
    """Where the games do not differ, the flags are those of EllmCrafterEnv, step by step."""
    ours = VerbNounActions(CrafterEnv(area=(32, 32), size=18))
    theirs = EllmCrafterEnv(area=(32, 32), size=18, length=10_000)
    names = [n for n in GOOD_NAMES if n.split()[0] in ("move", "chop", "sleep", "do", "place")]
    names += ["eat tree", "mine grass", "eat wood pickaxe", "drink stone"]
    names = [n for n in names if "table" not in n]  # it costs less
    random = np.random.default_rng(0)
    ours.reset(seed=2)
    theirs.reset(seed=2)
    met = set()
    for step in range(300):  # long enough to sleep and to wake
        for env in (ours.unwrapped, theirs):
            env._game.player.inventory.update(health=9, food=9, drink=9, sapling=step % 3)
        ours._before = ours._look(ours.unwrapped._info())
        name = names[int(random.integers(len(names)))]
        player = theirs._game.player
        if len(player.names_at(player.target)) > 1:
            name = "do nothing"  # what a creature stands on is in no info
        mine = ours.step(ACTION_NAMES.index(name))
        other = theirs.step(ACTION_NAMES.index(name))
        assert np.array_equal(mine[0], other[0]), (step, name)
        assert flags(mine[4]) == flags(other[4]), (step, name)
        met.add(flags(mine[4]))
    assert met == {BOTH, NAMED, NEITHER}


@pytest.fixture(scope="module")
def craftax() -> VerbNounActions:
    return VerbNounActions(CraftaxClassicEnv())


def test_random_play_over_craftax_agrees_with_its_infos(craftax: VerbNounActions) -> None:
    _, info = craftax.reset(seed=1)
    assert flags(info) == NEITHER
    random, worked = np.random.default_rng(5), set()
    names = [name for name in GOOD_NAMES if name != "sleep"]
    for _ in range(400):
        name = names[int(random.integers(len(names)))]
        before = info["inventory"]
        _, _, terminated, truncated, info = craftax.step(ACTION_NAMES.index(name))
        after = info["inventory"]
        gained = {item for item in after if after[item] > before[item]}
        action_success, eval_success = flags(info)
        assert action_success >= eval_success
        if eval_success:
            worked.add(name)
        if name.startswith(("chop ", "drink ")):
            assert eval_success == bool(gained & {"wood", "sapling", "drink"})
        if terminated or truncated:
            _, info = craftax.reset()
    assert {"chop grass", "move left", "do nothing"} <= worked


def test_plays_the_same_game_as_the_actions_below(craftax: VerbNounActions) -> None:
    plain = CraftaxClassicEnv()
    observation, _ = craftax.reset(seed=3)
    np.testing.assert_array_equal(observation, plain.reset(seed=3)[0])
    for name in ("move left", "move up", "sleep", "eat diamond", "place stone", "do nothing"):
        game = "noop" if name in ("eat diamond", "do nothing") else name.replace(" ", "_")
        mine, theirs = craftax.step(ACTION_NAMES.index(name)), plain.step(ACTIONS.index(game))
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1:4] == theirs[1:4]


def test_easier_and_the_captioner(craftax: VerbNounActions) -> None:
    easier = VerbNounActions(CrafterEnv(area=SMALL), easier=True)
    assert easier.action_space == gym.spaces.Discrete(27)
    assert easier.captioner.description.action_names == EASIER_NAMES
    assert "several blows" in easier.captioner.description.rules
    assert craftax.captioner.description.action_names == ACTION_NAMES
    assert "a furnace 1 stone" in craftax.captioner.description.rules


def test_checks_spec_pickle_and_vectors() -> None:
    env = VerbNounActions(gym.make("llm_wrappers/Crafter-v1", area=[16, 16]), easier=True)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.action_space == env.action_space
    with pytest.warns(UserWarning, match="different from the unwrapped"):
        check_env(VerbNounActions(CrafterEnv(area=SMALL)), skip_render_check=True)
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(VerbNounActions(CrafterEnv(area=SMALL)))
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    for action in (9, 1, 15, 3):
        assert flags(env.step(action)[4]) == flags(twin.step(action)[4])
    envs = gym.make_vec(
        "llm_wrappers/Crafter-v1",
        num_envs=2,
        vectorization_mode="sync",
        wrappers=[VerbNounActions],
        area=SMALL,
    )
    envs.reset(seed=0)
    infos = envs.step(np.array([0, 6]))[4]
    assert infos["action_success"].tolist() == [True, False]


def test_asleep_only_sleep_succeeds() -> None:
    stage = Stage(env_class=CrafterEnv)
    stage.hold(stone=1, energy=5)
    env = VerbNounActions(stage.env)
    env._before = env._look(stage.env._info())
    assert flags(env.step(ACTION_NAMES.index("sleep"))[4]) == BOTH
    for name in ("eat stone", "do nothing", "move left"):
        assert flags(env.step(ACTION_NAMES.index(name))[4]) == NEITHER
    assert flags(env.step(ACTION_NAMES.index("sleep"))[4]) == BOTH


def test_what_the_caller_does_to_an_info_changes_nothing() -> None:
    stage = Stage(env_class=CrafterEnv)
    stage.put("tree")
    env = VerbNounActions(stage.env)
    env._before = env._look(stage.env._info())
    info = env.step(ACTION_NAMES.index("do nothing"))[4]
    info["local_view"][:] = 0
    info["inventory"].clear()
    assert flags(env.step(ACTION_NAMES.index("chop tree"))[4]) == BOTH


def test_what_does_not_fit_is_refused() -> None:
    for env in (
        gym.make("CartPole-v1"),
        EllmCrafterEnv(area=SMALL),
        VerbNounActions(CrafterEnv(area=SMALL)),
    ):
        with pytest.raises(IncompatibleEnvironmentError, match="its own 17 actions"):
            VerbNounActions(env)
    with pytest.raises(InvalidOptionError, match="easier must be True or False"):
        VerbNounActions(CrafterEnv(area=SMALL), easier=1)  # type: ignore[arg-type]
    env = VerbNounActions(CrafterEnv(area=SMALL))
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(InvalidOptionError, match="from 0 to 138"):
        env.step(139)
