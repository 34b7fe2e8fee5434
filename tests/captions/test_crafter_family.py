"""Facts and sentences of Crafter and Craftax-Classic, from views made by hand."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_wrappers import EnvDescription
from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.crafter.captioner import (
    ACHIEVEMENTS,
    ACTIONS,
    INVENTORY,
    THINGS,
    CrafterFamilyCaptioner,
)

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VITALS = dict.fromkeys(INVENTORY[:4], 9)
LEFT, RIGHT, UP, DOWN = 1, 2, 3, 4

views = arrays(np.uint8, (7, 9), elements=st.integers(0, len(THINGS) - 1))


@pytest.fixture(params=["crafter", "craftax-classic"], scope="module")
def captioner(request):
    return CrafterFamilyCaptioner(request.param)


ANY = CrafterFamilyCaptioner("crafter")


def info_of(tiles=None, *, unlocked=(), facing=DOWN, sleeping=False, daylight=1.0, **inventory):
    """Return an info; `tiles` are {(row, column): thing} around the agent, on grass."""
    view = np.full((7, 9), THINGS.index("grass"), np.uint8)
    for (row, column), thing in (tiles or {}).items():
        view[3 + row, 4 + column] = THINGS.index(thing)
    return {
        "local_view": view,
        "facing": facing,
        "sleeping": sleeping,
        "daylight": daylight,
        "inventory": {**dict.fromkeys(INVENTORY, 0), **VITALS, **inventory},
        "achievements": {name: int(name in unlocked) for name in ACHIEVEMENTS},
    }


def facts_of(*args, **options):
    return ANY.facts(None, batch_infos(info_of(*args, **options)))[0]


def stacked(infos):
    """Return many infos in the form of gymnasium.vector."""
    return {
        key: stacked([info[key] for info in infos])
        if isinstance(value, dict)
        else np.array([info[key] for info in infos])
        for key, value in infos[0].items()
    }


class TestFacts:
    def test_names(self):
        assert tuple(facts_of()) == (
            *INVENTORY,
            "facing",
            "sleeping",
            "dark",
            "at_table",
            "at_furnace",
            "hurt",
            "hungry",
            "thirsty",
            "tired",
            *(f"near_{thing}" for thing in THINGS),
            *(f"sees_{thing}" for thing in THINGS),
            "unlocked",
        )

    def test_the_inventory_is_told_as_it_is(self):
        given = {item: count % 10 for count, item in enumerate(INVENTORY, start=3)}
        facts = facts_of(**given)
        assert {item: facts[item] for item in INVENTORY} == given

    @examples
    @given(views)
    def test_near_is_the_distance_by_brute_force(self, view):
        facts = ANY.facts(None, batch_infos({**info_of(), "local_view": view}))[0]
        for number, thing in enumerate(THINGS):
            steps = [
                abs(row - 3) + abs(column - 4)
                for row in range(7)
                for column in range(9)
                if view[row, column] == number and (row, column) != (3, 4)
            ]
            assert facts[f"near_{thing}"] == min(steps, default=None)

    def test_the_tile_under_the_agent_is_not_near(self):
        assert facts_of({(0, 0): "path"})["near_path"] is None
        assert facts_of({(0, 0): "path", (3, -4): "path"})["near_path"] == 7

    @pytest.mark.parametrize(
        ("facing", "place"), [(LEFT, (0, -1)), (RIGHT, (0, 1)), (UP, (-1, 0)), (DOWN, (1, 0))]
    )
    def test_facing_is_the_thing_in_front(self, facing, place):
        assert facts_of({place: "cow"}, facing=facing)["facing"] == "cow"
        assert facts_of({place: "cow"}, facing=facing % 4 + 1)["facing"] == "grass"

    @examples
    @given(views, st.integers(1, 4))
    def test_what_is_faced_is_one_step_away(self, view, facing):
        info = {**info_of(facing=facing), "local_view": view}
        facts = ANY.facts(None, batch_infos(info))[0]
        assert facts[f"near_{facts['facing']}"] == 1

    @pytest.mark.parametrize("thing", ["table", "furnace"])
    def test_the_eight_tiles_around_are_where_one_can_craft(self, thing):
        for row in range(-3, 4):
            for column in range(-4, 5):
                at = facts_of({(row, column): thing})[f"at_{thing}"]
                assert at == (max(abs(row), abs(column)) <= 1)

    def test_unlocked_is_in_the_order_of_the_achievements_and_counts_do_not_matter(self):
        info = info_of(unlocked=("wake_up", "collect_wood", "eat_cow"))
        info["achievements"]["collect_wood"] = 300
        unlocked = ("collect_wood", "eat_cow", "wake_up")
        assert ANY.facts(None, batch_infos(info))[0]["unlocked"] == unlocked

    @pytest.mark.parametrize(("daylight", "dark"), [(0.0, True), (0.49, True), (0.5, False)])
    def test_dark(self, daylight, dark):
        assert facts_of(daylight=daylight)["dark"] is dark

    def test_sleeping(self):
        assert facts_of(sleeping=True)["sleeping"] is True
        assert facts_of()["sleeping"] is False

    @examples
    @given(st.lists(st.tuples(views, st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=4))
    def test_each_sub_environment_has_the_facts_it_has_alone(self, cases):
        infos = [
            {**info_of(facing=facing, wood=wood), "local_view": view}
            for view, facing, wood in cases
        ]
        table = ANY.facts(None, stacked(infos))
        assert len(table) == len(cases)
        assert list(table) == [ANY.facts(None, batch_infos(info))[0] for info in infos]

    def test_the_infos_of_a_vector_environment_may_hold_masks(self):
        info = batch_infos(info_of())
        masked = {**info, **{f"_{key}": np.array([True]) for key in info}}
        assert ANY.facts(None, masked)[0] == ANY.facts(None, info)[0]

    def test_facts_are_plain_values_and_do_not_change_with_the_arrays(self):
        info = batch_infos(info_of(wood=3))
        facts = ANY.facts(None, info)
        info["local_view"][:] = THINGS.index("lava")
        info["inventory"]["wood"][:] = 7
        assert (facts[0]["wood"], facts[0]["near_lava"]) == (3, None)
        assert json.loads(json.dumps(dict(facts[0])))["facing"] == "grass"


class TestStateCaptions:
    @pytest.mark.parametrize(
        ("info", "caption"),
        [
            (info_of(), "You see nothing of note. You face grass. You have nothing."),
            (
                info_of({(1, 0): "tree", (0, 3): "tree", (0, -2): "ripe_plant"}, wood=2, sapling=1),
                "You see tree (1 step), ripe plant (2 steps). You face tree. "
                "You have 1 sapling, 2 wood.",
            ),
            (
                info_of({(1, 0): "sand", (2, 0): "path"}, stone_pickaxe=1),
                "You see nothing of note. You face sand. You have 1 stone pickaxe.",
            ),
            (
                info_of(health=4, food=0, drink=4, energy=5),
                "You see nothing of note. You face grass. You have nothing. "
                "You feel hurt and hungry and thirsty.",
            ),
            (
                info_of(energy=1, sleeping=True, daylight=0.1),
                "You see nothing of note. You face grass. You have nothing. "
                "You feel tired. It is dark. You are asleep.",
            ),
        ],
        ids=lambda value: value[:60] if isinstance(value, str) else "",
    )
    def test_examples(self, captioner, info, caption):
        assert captioner.state_captions(captioner.facts(None, batch_infos(info))) == [caption]

    def test_one_per_state_from_any_mapping(self, captioner):
        facts = [dict(facts_of(wood=wood)) for wood in range(3)]
        captions = captioner.state_captions(facts)
        assert [caption.split("You have ")[1] for caption in captions] == [
            "nothing.",
            "1 wood.",
            "2 wood.",
        ]


def caption_of(action, before, after):
    return ANY.transition_captions([before], [ACTIONS.index(action)], [after])[0]


NOTHING = "nothing happens"


def old(**options):
    """Return facts in whose episode everything has been unlocked before."""
    return facts_of(unlocked=ACHIEVEMENTS, **options)


def in_front(thing, **options):
    return facts_of({(1, 0): thing}, unlocked=ACHIEVEMENTS, **options)


class TestTransitionCaptions:
    @pytest.mark.parametrize("name", ACHIEVEMENTS)
    def test_a_new_achievement_is_told_in_the_words_of_the_goal(self, captioner, name):
        before, after = facts_of(unlocked=()), facts_of(unlocked=(name,))
        caption = captioner.transition_captions([before], [ACTIONS.index("noop")], [after])[0]
        assert caption in captioner.description.goals
        assert caption == name.replace("_", " ")

    def test_two_at_once(self):
        after = facts_of(unlocked=("wake_up", "collect_drink", "eat_cow"))
        assert (
            caption_of("do", facts_of(unlocked=("eat_cow",)), after) == "collect drink and wake up"
        )

    @pytest.mark.parametrize(
        ("action", "before", "after", "caption"),
        [
            ("noop", old(), old(), NOTHING),
            ("move_left", old(), old(), "move left"),
            ("move_down", old(), old(wood=1), "move down"),
            ("do", in_front("tree"), in_front("grass", wood=1), "collect wood"),
            ("do", in_front("tree", wood=9), in_front("tree", wood=9), NOTHING),
            ("do", in_front("stone", stone=1), in_front("path", stone=2), "collect stone"),
            ("do", in_front("coal"), in_front("path", coal=1), "collect coal"),
            ("do", in_front("iron"), in_front("path", iron=1), "collect iron"),
            ("do", in_front("diamond"), in_front("path", diamond=1), "collect diamond"),
            ("do", in_front("grass"), in_front("grass", sapling=1), "collect sapling"),
            ("do", in_front("grass"), in_front("grass"), NOTHING),
            ("do", in_front("water", drink=3), in_front("water", drink=4), "collect drink"),
            ("do", in_front("iron"), in_front("iron"), NOTHING),
            ("do", in_front("cow"), in_front("cow"), "attack cow"),
            ("do", in_front("cow", food=3), in_front("grass"), "eat cow"),
            ("do", in_front("ripe_plant", food=3), in_front("sapling", food=7), "eat plant"),
            ("do", in_front("sapling"), in_front("sapling"), NOTHING),
            ("do", in_front("zombie"), in_front("grass", health=7), "attack zombie"),
            ("do", in_front("skeleton"), in_front("path"), "attack skeleton"),
            ("place_stone", in_front("water", stone=2), in_front("stone", stone=1), "place stone"),
            ("place_table", in_front("grass", wood=3), in_front("table", wood=1), "place table"),
            ("place_furnace", in_front("path", stone=1), in_front("furnace"), "place furnace"),
            ("place_plant", in_front("grass", sapling=1), in_front("sapling"), "place plant"),
            ("place_plant", in_front("sand", sapling=1), in_front("sand", sapling=1), NOTHING),
            ("place_stone", in_front("grass"), in_front("grass", food=8), NOTHING),
            ("make_wood_pickaxe", old(wood=1), old(wood_pickaxe=1), "make wood pickaxe"),
            ("make_iron_sword", old(iron=1), old(iron=1), NOTHING),
            ("make_stone_sword", old(), old(stone_pickaxe=1), NOTHING),
            ("sleep", old(energy=5), old(energy=5, sleeping=True), "fall asleep"),
            ("sleep", old(), old(), NOTHING),
            ("do", old(sleeping=True), old(sleeping=True), "keep sleeping"),
            ("sleep", old(sleeping=True), old(), "stop sleeping"),
        ],
    )
    def test_each_kind_of_deed(self, action, before, after, caption):
        assert caption_of(action, before, after) == caption

    @pytest.mark.parametrize("item", [name for name in ACTIONS if name.startswith("make_")])
    def test_making_again(self, item):
        made = {item.removeprefix("make_"): 2}
        assert caption_of(item, old(), old(**made)) == item.replace("_", " ")

    def test_one_per_transition(self):
        before, after = [facts_of(), facts_of()], [facts_of(), facts_of(unlocked=("eat_cow",))]
        told = ANY.transition_captions(before, np.array([1, 5]), after)
        assert told == ["move left", "eat cow"]

    def test_lengths_must_agree(self):
        with pytest.raises(ValueError, match="longer"):
            ANY.transition_captions([facts_of()], [0, 1], [facts_of()])


class TestDescription:
    def test_of_both(self, captioner):
        assert isinstance(captioner, Captioner)
        description = captioner.description
        assert description.env_id.startswith("llm_wrappers/Craft")
        assert len(description.action_names) == 17
        assert len(description.goals) == 22
        assert description.goals == tuple(name.replace("_", " ") for name in ACHIEVEMENTS)
        assert captioner.description == description

    def test_an_unknown_variant_is_refused(self):
        with pytest.raises(UnknownNameError, match=r"\['craftax-classic', 'crafter'\], got 'craf'"):
            CrafterFamilyCaptioner("craf")

    @pytest.mark.parametrize("option", ["action_names", "goals"])
    @pytest.mark.parametrize(
        ("names", "message"),
        [(("a", ""), "non-empty strings"), (("a", 1), "non-empty"), (("a", "b", "a"), "repeat")],
    )
    def test_names_are_distinct_texts(self, option, names, message):
        with pytest.raises(InvalidOptionError, match=f"{option} must .*{message}"):
            EnvDescription(env_id="Toy-v0", rules="", **{option: names})

    def test_is_a_value(self, captioner):
        with pytest.raises(dataclasses.FrozenInstanceError):
            captioner.description.goals = ()
        hash(captioner.description)
