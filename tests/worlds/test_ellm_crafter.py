"""ELLM's Crafter: actions, success, tasks, and its words."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from crafter_stages import CrafterStage, Scene
from ellm_crafter_stage import SMALL, Stage
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import llm_wrappers  # noqa: F401  (registers the environment)
from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.craftax import CraftaxClassicEnv
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS, ACTIONS, INVENTORY, THINGS
from llm_wrappers.worlds.ellm_crafter import EllmCrafterEnv
from llm_wrappers.worlds.ellm_crafter.captioner import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.tasks import TASKS, Deed, TaskProgress, find_task
from llm_wrappers.worlds.ellm_crafter.verb_noun import VerbNounActions
from llm_wrappers.worlds.ellm_crafter.words import (
    ACTION_NAMES,
    EASIER_NAMES,
    GOOD_NAMES,
    NOUNS,
    VERBS,
)

crafter = pytest.importorskip("crafter")

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


@pytest.mark.parametrize("task", ["fly", 3, "do nothing"])
def test_an_unknown_task_is_refused_with_the_known_ones(task: object) -> None:
    with pytest.raises(UnknownNameError, match="'deforestation'"):
        EllmCrafterEnv(task=task)  # type: ignore[arg-type]


LONG = [
    "plant row", "make workshop", "chop grass with wood pickaxe", "survival", "vegetarianism",
    "deforestation", "work and sleep", "gardening", "wilderness survival",
]  # fmt: skip


def chop_grass_until_it_works(stage: Stage) -> tuple[float, bool]:
    """Return the reward and the end of the step that yields a sapling; none before it counts."""
    for _ in range(200):
        stage.hold(health=9, food=9, drink=9, energy=stage.player.inventory["energy"])
        reward, terminated, _, info = stage.act("chop grass")
        if info["eval_success"]:
            return reward, terminated
        assert (reward, terminated) == (0.0, False)
    raise AssertionError("no sapling in 200 tries")


def test_the_tasks_are_the_single_deeds_and_nine_longer_ones() -> None:
    assert list(TASKS) == [*GOOD_NAMES[5:], *LONG]


def test_a_single_deed_pays_once_and_ends_the_episode() -> None:
    stage = Stage(task="place crafting table")
    stage.put("tree")
    assert stage.act("chop tree")[:3] == (0.0, False, False)  # an achievement, and no reward
    assert stage.act("place crafting table")[:3] == (1.0, True, False)
    # Who goes on after the end is not paid again.
    stage.hold(wood=1)
    stage.player.facing = (-1, 0)
    reward, _, _, info = stage.act("place crafting table")
    assert (reward, info["eval_success"]) == (0.0, True)


@pytest.mark.parametrize(
    ("task", "thing", "deed"),
    [
        ("place crafting table", None, "make crafting table"),
        ("attack cow", "cow", "eat cow"),
        ("eat cow", "cow", "attack cow"),
    ],
)
def test_another_name_of_the_deed_counts(task: str, thing: str | None, deed: str) -> None:
    stage = Stage(task=task)
    stage.put(thing)
    stage.hold(wood=1)
    assert stage.act(deed)[:2] == (1.0, True)


def test_an_action_that_only_names_something_does_not_count() -> None:
    stage = Stage(task="mine stone")
    stage.put("stone")
    reward, terminated, _, info = stage.act("mine stone")
    assert (reward, terminated, info["action_success"]) == (0.0, False, True)


def test_a_new_episode_starts_the_task_over() -> None:
    stage = Stage(task="deforestation")
    for _ in range(2):
        for trees in range(5):
            stage.put("tree")
            expected = (float(trees == 4), trees == 4)
            assert stage.act("chop tree")[:2] == expected
        stage.arrange()


def test_survival_pays_each_step_and_has_no_end_but_the_limit() -> None:
    stage = Stage(task="survival", length=3)
    steps = [stage.act("do nothing")[:3] for _ in range(3)]
    assert steps == [(0.05, False, False), (0.05, False, False), (0.05, False, True)]


@pytest.mark.parametrize(
    ("task", "thing", "items", "deed"),
    [
        ("plant row", "plant", {"sapling": 2}, "place plant"),
        ("make workshop", "table", {"wood": 2}, "place crafting table"),
    ],
)
@pytest.mark.parametrize(
    ("place", "pays"),
    [((2, 0), True), ((1, 1), True), ((1, -1), True), ((2, 1), False), ((0, 1), False)],
    ids=["behind", "below", "above", "diagonal", "beside the agent"],
)
def test_a_row_shares_an_edge(task, thing, items, deed, place, pays) -> None:
    stage = Stage(task=task)
    stage.hold(**items)
    stage.put(thing, *place)
    reward, terminated, _, info = stage.act(deed)
    assert info["eval_success"]
    assert (reward, terminated) == (float(pays), pays)


@pytest.mark.parametrize("pickaxes", [0, 1])
def test_chop_grass_with_wood_pickaxe_needs_one(pickaxes: int) -> None:
    stage = Stage(task="chop grass with wood pickaxe")
    stage.hold(wood_pickaxe=pickaxes)
    assert chop_grass_until_it_works(stage) == (float(pickaxes), bool(pickaxes))


def test_vegetarianism_is_to_drink_and_then_to_harvest() -> None:
    stage = Stage(task="vegetarianism")
    assert chop_grass_until_it_works(stage) == (0.0, False)
    stage.hold(drink=5)
    stage.put("water")
    assert stage.act("drink water")[0] == 0.0
    stage.put("grass")
    assert chop_grass_until_it_works(stage) == (1.0, True)


@pytest.mark.parametrize(
    ("task", "deeds"),
    [
        ("work and sleep", ("chop tree", "sleep", "place crafting table")),
        ("gardening", ("chop grass", "chop tree", "place plant")),
        ("deforestation", ("chop tree",) * 5),
    ],
)
def test_steps_count_in_their_order_only(task: str, deeds: tuple[str, ...]) -> None:
    progress = TaskProgress(find_task(task))
    assert [progress.reward_for(Deed(deed)) for deed in deeds] == [0.0] * (len(deeds) - 1) + [1.0]
    if len(set(deeds)) > 1:
        backwards = TaskProgress(find_task(task))
        assert not any(backwards.reward_for(Deed(deed)) for deed in deeds[::-1])


deeds = st.none() | st.builds(
    Deed,
    name=st.sampled_from(GOOD_NAMES),
    with_wood_pickaxe=st.booleans(),
    beside_another=st.booleans(),
)


@given(task=st.sampled_from(sorted(TASKS)), history=st.lists(deeds, max_size=60))
def test_whatever_is_done_a_task_pays_one_in_all(task: str, history: list[Deed | None]) -> None:
    progress = TaskProgress(find_task(task))
    rewards = [progress.reward_for(deed) for deed in history]
    if task == "survival":
        assert rewards == [0.05] * len(history)
        assert not progress.done
    else:
        assert sum(rewards) == float(progress.done)
        assert progress.done == (1.0 in rewards)


def flags(info: dict[str, Any]) -> tuple[bool, bool]:
    return info["action_success"], info["eval_success"]


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


CAPTIONER = EllmCaptioner("ellm-crafter")
NOTHING, DID_NOTHING = "nothing happened.", "you did nothing."
FRONT = {1: (3, 3), 2: (3, 5), 3: (2, 4), 4: (4, 4)}


def info_of(view, facing=2, **inventory):
    counts = {**dict.fromkeys(INVENTORY, 0), **dict.fromkeys(INVENTORY[:4], 9), **inventory}
    return {
        "local_view": np.asarray(view, np.uint8),
        "facing": facing,
        "sleeping": False,
        "daylight": 1.0,
        "inventory": counts,
        "achievements": dict.fromkeys(ACHIEVEMENTS, 0),
    }


def view_of(*things, front="path", rest="sand"):
    """Return a view of `rest` with `things` in its first row and `front` to the agent's right."""
    view = np.full((7, 9), THINGS.index(rest), np.uint8)
    view[0, : len(things)] = [THINGS.index(thing) for thing in things]
    view[FRONT[2]] = THINGS.index(front)
    return view


def captions_of(info, captioner=CAPTIONER):
    facts = captioner.facts(None, batch_infos(info))
    return captioner.state_captions(facts)[0], captioner.prompt_captions(facts)[0]


@pytest.mark.parametrize(
    ("view", "items", "expected"),
    [
        (view_of(front="sand"), {}, "You see nothing."),
        (view_of(), {}, "You see path."),
        (view_of("lava", front="lava"), {}, "You see lava."),
        (view_of("tree"), {}, "You see path, and tree."),
        (view_of("tree", "cow"), {}, "You see cow, path, and tree."),
        (view_of("tree", "tree", "arrow", "darkness"), {}, "You see path, and tree."),
        (view_of("table"), {}, "You see crafting table, and path."),
        (view_of("sapling", "ripe_plant"), {}, "You see path, and plant."),
        (view_of(front="ripe_plant"), {}, "You see plant. You are targeting plant."),
        (view_of(front="arrow"), {}, "You see nothing. You are targeting arrow."),
        (view_of(front="darkness"), {}, "You see nothing."),
        (view_of(front="grass"), {}, "You see grass. You are targeting grass."),
        (view_of(front="table"), {}, "You see crafting table. You are targeting table."),
        (
            view_of(),
            {"wood": 3, "sapling": 1, "wood_pickaxe": 9},
            "You see path. You have in your inventory plant, wood, wood_pickaxe.",
        ),
        (
            view_of(front="water"),
            {"coal": 1, "energy": 8},
            "You see water. You are targeting water. You have in your inventory coal. "
            "You feel sleepy.",
        ),
    ],
)
def test_the_sentences_are_those_of_the_published_code(view, items, expected):
    assert captions_of(info_of(view, **items)) == (expected, expected)


def test_the_policy_reads_four_feelings_and_the_prompt_one():
    policy, prompt = captions_of(info_of(view_of(), health=8, food=8, drink=8, energy=8))
    assert policy == "You see path. You feel hurt, hungry, thirsty, sleepy."
    assert prompt == "You see path. You feel sleepy."
    policy, prompt = captions_of(info_of(view_of(), health=0, food=9, drink=4))
    assert policy == "You see path. You feel hurt, thirsty."
    assert prompt == "You see path."


def test_the_tile_under_the_agent_is_not_seen():
    view = view_of()
    view[3, 4] = THINGS.index("grass")
    assert captions_of(info_of(view))[0] == "You see path."


@pytest.mark.parametrize(
    ("variant", "actions", "names", "goals"),
    [
        ("ellm-crafter", None, ACTION_NAMES, GOOD_NAMES),
        ("ellm-crafter", "easier", EASIER_NAMES, EASIER_NAMES),
        ("craftax-classic", "verb-noun", ACTION_NAMES, GOOD_NAMES),
        ("crafter", None, ACTIONS, None),
        ("craftax-classic", "game", ACTIONS, None),
    ],
)
def test_the_description_has_the_names_and_the_goals(variant, actions, names, goals):
    captioner = EllmCaptioner(variant, actions=actions)
    assert isinstance(captioner, Captioner)
    assert pickle.loads(pickle.dumps(captioner)).description == captioner.description
    assert captioner.description.action_names == names
    if goals is None:
        goals = tuple(n for n in GOOD_NAMES if n not in ("do nothing", "make crafting table"))
    assert captioner.description.goals == goals


def test_the_rules_say_what_differs():
    rules = {
        variant: EllmCaptioner(variant, actions="verb-noun").description.rules
        for variant in ("ellm-crafter", "crafter", "craftax-classic")
    }
    assert "A crafting table takes 1 wood, a furnace 4 stone." in rules["ellm-crafter"]
    assert "A crafting table takes 2 wood, a furnace 4 stone." in rules["crafter"]
    assert "A crafting table takes 2 wood, a furnace 1 stone." in rules["craftax-classic"]
    assert "one blow" in rules["ellm-crafter"]
    assert "several blows" in rules["crafter"]


def test_what_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match=r"'ellm-crafter'.*got 'minecraft'"):
        EllmCaptioner("minecraft")
    with pytest.raises(UnknownNameError, match=r"'easier'.*got 'hard'"):
        EllmCaptioner("crafter", actions="hard")
    with pytest.raises(InvalidOptionError, match='use "verb-noun"'):
        EllmCaptioner("ellm-crafter", actions="game")


SCENES = [
    ("noop", Scene(), DID_NOTHING),
    ("do", Scene({"front": "tree"}), "chop tree"),
    ("do", Scene({"front": "stone"}, {"wood_pickaxe": 1}), "mine stone"),
    ("do", Scene({"front": "stone"}), NOTHING),
    ("do", Scene({"front": "coal"}, {"wood_pickaxe": 1}), "mine coal"),
    ("do", Scene({"front": "iron"}, {"stone_pickaxe": 1}), "mine iron"),
    ("do", Scene({"front": "diamond"}, {"iron_pickaxe": 1}), "mine diamond"),
    ("do", Scene({"front": "water"}, {"drink": 5}), "drink water"),
    ("do", Scene({"front": "water"}), NOTHING),
    ("do", Scene({"front": "cow"}, {"food": 5}, creature_health=9), "attack cow"),
    ("do", Scene({"front": "cow"}, {"food": 2}, creature_health=1), "eat cow"),
    ("do", Scene({"front": "cow"}, creature_health=1), "eat cow"),
    ("do", Scene({"front": "zombie"}, creature_health=9), "attack zombie"),
    ("do", Scene({"front": "skeleton"}, creature_health=9), "attack skeleton"),
    ("do", Scene({"front": "table"}), NOTHING),
    ("do", Scene({"front": "sapling"}), NOTHING),
    ("place_table", Scene(holding={"wood": 9}), "place crafting table"),
    ("place_table", Scene(), NOTHING),
    ("place_stone", Scene(holding={"stone": 1}), "place stone"),
    ("place_furnace", Scene({"behind": "table"}, {"stone": 9}), "place furnace"),
    ("place_plant", Scene(holding={"sapling": 1}), "place plant"),
    ("make_wood_pickaxe", Scene({"behind": "table"}, {"wood": 1}), "make wood pickaxe"),
    ("make_stone_sword", Scene({"behind": "table"}, {"wood": 1, "stone": 1}), "make stone sword"),
    ("make_wood_pickaxe", Scene(holding={"wood": 1}), NOTHING),
    ("move_left", Scene(), "move left"),
    ("sleep", Scene(holding={"energy": 5}), "sleep"),
    ("sleep", Scene(), NOTHING),
    ("do", Scene({"front": "tree"}, {"energy": 5}, sleeping=True), NOTHING),
    ("move_left", Scene(holding={"energy": 5}, sleeping=True), NOTHING),
]


@pytest.mark.parametrize(("action", "scene", "expected"), SCENES, ids=range(len(SCENES)))
def test_an_action_of_the_game_is_told_by_what_it_did(stage, action, scene, expected):
    variant = "crafter" if isinstance(stage, CrafterStage) else "craftax-classic"
    captioner = EllmCaptioner(variant)
    before = captioner.facts(None, scene.infos())
    after = captioner.facts(None, batch_infos(stage.play(scene, action)))
    (caption,) = captioner.transition_captions(before, [ACTIONS.index(action)], after)
    assert caption == expected
    assert (caption in captioner.no_effect) == (expected in (NOTHING, DID_NOTHING))
    assert caption in {*captioner.description.goals, *captioner.no_effect}


def test_a_ripe_plant_is_eaten_in_crafter():
    stage, captioner = CrafterStage(), EllmCaptioner("crafter")
    for food in (3, 9):
        scene = Scene({"front": "ripe_plant"}, {"food": food})
        before = captioner.facts(None, scene.infos())
        after = captioner.facts(None, batch_infos(stage.play(scene, "do")))
        assert captioner.transition_captions(before, [5], after) == ["eat plant"]


def test_who_wakes_with_full_energy_acts_at_once_in_crafter():
    stage, captioner = CrafterStage(), EllmCaptioner("crafter")
    scene = Scene({"front": "tree"}, sleeping=True)
    before = captioner.facts(None, scene.infos())
    after = captioner.facts(None, batch_infos(stage.play(scene, "do")))
    assert captioner.transition_captions(before, [5], after) == ["chop tree"]


def test_grass_is_chopped_where_it_yields_a_sapling():
    stage, captioner = CrafterStage(), EllmCaptioner("crafter")
    said = set()
    for _ in range(60):
        before = captioner.facts(None, Scene().infos())
        after = captioner.facts(None, batch_infos(stage.play(Scene(), "do")))
        (caption,) = captioner.transition_captions(before, [5], after)
        assert (caption == "chop grass") == (after[0]["sapling"] == 1)
        said.add(caption)
    assert said == {"chop grass", NOTHING}
