"""The downstream tasks of EllmCrafterEnv: what pays, when, and that it pays once."""

import pytest
from ellm_crafter_stage import Stage
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.worlds.ellm_crafter.tasks import TASKS, Deed, TaskProgress, find_task
from llm_wrappers.worlds.ellm_crafter.words import GOOD_NAMES

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


def test_a_plant_beside_a_table_is_no_row() -> None:
    stage = Stage(task="plant row")
    stage.hold(sapling=1)
    stage.put("table", 2, 0)
    assert stage.act("place plant")[0] == 0.0


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


def test_wilderness_survival_is_sleep_harvest_and_a_fight() -> None:
    stage = Stage(task="wilderness survival")
    stage.hold(energy=8)
    assert stage.act("sleep")[0] == 0.0
    stage.hold(energy=9)
    assert chop_grass_until_it_works(stage) == (0.0, False)
    stage.clear()
    stage.put("zombie")
    assert stage.act("attack zombie")[:2] == (1.0, True)


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
