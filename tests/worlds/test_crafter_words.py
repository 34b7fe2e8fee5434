"""Crafter and Craftax-Classic in words: facts, captions, rules and legality."""

import re

import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from crafter_stages import CrafterStage, Scene
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
from llm_wrappers.worlds.crafter.rules import COSTS, legal_actions

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


ITEMS = INVENTORY[4:]
TOOLS = [name for name in ACTIONS if name.startswith("make_")]
PLACED = ["place_table", "place_furnace"]
WORKSHOP = {"above": "table", "below": "furnace"}
COLLECTED = {
    "tree": ("wood", None),
    "stone": ("stone", "wood_pickaxe"),
    "coal": ("coal", "wood_pickaxe"),
    "iron": ("iron", "stone_pickaxe"),
    "diamond": ("diamond", "iron_pickaxe"),
}


def costs_told(description):
    """Return {action: {item: count}} as the rules tell it."""
    costs = {}
    pattern = r"(?:A|An|a|and a) ([a-z ]+?) (?:takes? )?(\d [a-z0-9, ]+?)(?=[.;]| and a |, beside)"
    rules = " ".join(description.rules.split())
    for names, amounts in re.findall(pattern, rules):
        cost = {item: int(count) for count, item in re.findall(r"(\d) (\w+)", amounts)}
        for name in re.split(r" or ", names.removesuffix(" takes")):
            kind = "place" if name in ("table", "furnace") else "make"
            costs[f"{kind}_{name.replace(' ', '_')}"] = cost
    return costs


def items_of(info):
    return {item: info["inventory"][item] for item in ITEMS}


class TestCosts:
    def test_the_rules_name_all(self, stage):
        assert sorted(costs_told(stage.captioner.description)) == sorted(TOOLS + PLACED)

    @pytest.mark.parametrize("action", TOOLS + PLACED)
    def test_exactly_what_the_rules_say_is_enough_and_is_taken(self, stage, action):
        cost = costs_told(stage.captioner.description)[action]
        info = stage.play(Scene(tiles=WORKSHOP, holding=cost), action)
        assert info["achievements"][action] == 1
        made = {action.removeprefix("make_"): 1} if action in TOOLS else {}
        assert items_of(info) == {**dict.fromkeys(ITEMS, 0), **made}

    @pytest.mark.parametrize("action", TOOLS)
    def test_tools_are_made_beside_a_table_and_iron_ones_beside_a_furnace_too(self, stage, action):
        plenty = dict.fromkeys(("wood", "stone", "coal", "iron"), 9)
        tables = {
            "table": {"above": "table"},
            "furnace": {"above": "furnace"},
            "both": WORKSHOP,
        }
        made = {
            name: stage.play(Scene(tiles=tiles, holding=plenty), action)["achievements"][action]
            for name, tiles in tables.items()
        }
        assert made == {"table": int("iron" not in action), "furnace": 0, "both": 1}


class TestRules:
    @pytest.mark.parametrize("thing", COLLECTED)
    def test_what_collecting_needs(self, stage, thing):
        item, tool = COLLECTED[thing]
        tools = [name.removeprefix("make_") for name in TOOLS]

        def collected(*held):
            scene = Scene({"front": thing}, dict.fromkeys(held, 1))
            number = stage.play(scene, "do")["inventory"][item]
            assert legality(stage, scene, "do") == bool(number)
            return number

        assert collected(*tools) == 1
        assert collected(*(name for name in tools if name != tool)) == int(tool is None)

    def test_what_collecting_needs_is_told(self, stage):
        assert (
            "Collecting stone and coal needs a wood pickaxe, iron a stone pickaxe, "
            "diamond an iron pickaxe."
        ) in one_line(stage)

    @pytest.mark.parametrize("tile", THINGS[1:13])
    def test_where_stone_can_be_placed(self, stage, tile):
        placed = stage.play(Scene({"front": tile}, {"stone": 1}), "place_stone")
        allowed = re.search(r"Stone can be placed on ([^.]+)\.", one_line(stage)).group(1)
        assert placed["achievements"]["place_stone"] == (tile in re.findall(r"\w+", allowed))

    def test_a_sapling_grows_on_grass_only(self, stage):
        for tile, placed in (("grass", 1), ("sand", 0), ("path", 0)):
            info = stage.play(Scene({"front": tile}, {"sapling": 1}), "place_plant")
            assert info["achievements"]["place_plant"] == placed

    def test_sleep_starts_below_full_energy_and_ends_with_it(self, stage):
        assert stage.play(Scene(holding={"energy": 9}), "sleep")["sleeping"] is False
        assert stage.play(Scene(holding={"energy": 8}), "sleep")["sleeping"] is True
        assert stage.play(Scene(holding={"energy": 8}, sleeping=True), "noop")["sleeping"] is True
        assert stage.play(Scene(holding={"energy": 9}, sleeping=True), "noop")["sleeping"] is False

    @pytest.mark.parametrize(
        ("tool", "damage"), [(None, 1), ("wood_sword", 2), ("stone_sword", 3), ("iron_sword", 5)]
    )
    def test_swords_make_blows_stronger(self, stage, tool, damage):
        def defeated(health):
            scene = Scene({"front": "zombie"}, {tool: 1} if tool else {}, creature_health=health)
            return stage.play(scene, "do")["achievements"]["defeat_zombie"]

        assert (defeated(damage), defeated(damage + 1)) == (1, 0)

    def test_lava_kills(self, stage):
        stage.play(Scene({"front": "lava"}), "noop")
        assert stage.terminated is False
        info = stage.play(Scene({"front": "lava"}), "move_right")
        assert stage.terminated is True
        assert THINGS[info["local_view"][3, 4]] == "lava"

    def test_moving_into_something_solid_only_turns(self, stage):
        info = stage.play(Scene({"above": "tree"}), "move_up")
        assert info["facing"] == ACTIONS.index("move_up")
        assert THINGS[info["local_view"][2, 4]] == "tree"


def one_line(stage):
    return " ".join(stage.captioner.description.rules.split())


DEEDS = [
    ("do", Scene({"front": "tree"}), "collect wood"),
    ("do", Scene({"front": "stone"}, {"wood_pickaxe": 1}), "collect stone"),
    ("do", Scene({"front": "coal"}, {"wood_pickaxe": 1}), "collect coal"),
    ("do", Scene({"front": "iron"}, {"stone_pickaxe": 1}), "collect iron"),
    ("do", Scene({"front": "diamond"}, {"iron_pickaxe": 1}), "collect diamond"),
    ("do", Scene({"front": "water"}, {"drink": 3}), "collect drink"),
    ("do", Scene({"front": "cow"}, {"food": 3}, creature_health=1), "eat cow"),
    ("do", Scene({"front": "ripe_plant"}, {"food": 3}), "eat plant"),
    ("place_stone", Scene({"front": "water"}, {"stone": 1}), "place stone"),
    ("place_table", Scene({"front": "sand"}, {"wood": 9}), "place table"),
    ("place_furnace", Scene({"front": "path", "above": "table"}, {"stone": 9}), "place furnace"),
    ("place_plant", Scene({"front": "grass"}, {"sapling": 1}), "place plant"),
    ("make_wood_pickaxe", Scene(WORKSHOP, {"wood": 1}), "make wood pickaxe"),
    ("make_stone_sword", Scene(WORKSHOP, {"wood": 1, "stone": 1}), "make stone sword"),
]
UNEVENTFUL = [
    ("noop", Scene(), "nothing happens"),
    ("move_up", Scene(), "move up"),
    ("move_left", Scene({"behind": "tree"}), "move left"),
    ("do", Scene({"front": "stone"}), "nothing happens"),
    ("do", Scene({"front": "sapling"}), "nothing happens"),
    ("do", Scene({"front": "table"}), "nothing happens"),
    ("do", Scene({"front": "cow"}), "attack cow"),
    ("do", Scene({"front": "zombie"}), "attack zombie"),
    ("do", Scene({"front": "skeleton"}), "attack skeleton"),
    ("place_stone", Scene({"front": "grass"}), "nothing happens"),
    ("place_table", Scene({"front": "tree"}, {"wood": 9}), "nothing happens"),
    ("make_iron_sword", Scene({"above": "table"}, {"wood": 9, "iron": 1}), "nothing happens"),
    ("sleep", Scene(), "nothing happens"),
    ("sleep", Scene(holding={"energy": 3}), "fall asleep"),
    ("do", Scene({"front": "tree"}, {"energy": 3}, sleeping=True), "keep sleeping"),
]


class TestCaptions:
    def told(self, stage, action, scene):
        before = stage.captioner.facts(None, scene.infos())
        after = stage.captioner.facts(None, batch_infos(stage.play(scene, action)))
        (caption,) = stage.captioner.transition_captions(before, [ACTIONS.index(action)], after)
        return caption

    @pytest.mark.parametrize(("action", "scene", "caption"), DEEDS)
    @pytest.mark.parametrize("unlocked", [(), ACHIEVEMENTS], ids=["first time", "again"])
    def test_a_deed_is_told_alike_the_first_time_and_again(
        self, stage, action, scene, caption, unlocked
    ):
        scene = Scene(scene.tiles, scene.holding, unlocked, creature_health=scene.creature_health)
        assert self.told(stage, action, scene) == caption
        assert caption in stage.captioner.description.goals

    @pytest.mark.parametrize(("action", "scene", "caption"), UNEVENTFUL)
    def test_what_is_no_deed(self, stage, action, scene, caption):
        assert self.told(stage, action, scene) == caption

    @pytest.mark.parametrize("creature", ["zombie", "skeleton"])
    def test_a_defeat_is_told_once(self, stage, creature):
        tiles = {"front": creature}
        first = Scene(tiles, creature_health=1)
        again = Scene(tiles, unlocked=ACHIEVEMENTS, creature_health=1)
        assert self.told(stage, "do", first) == f"defeat {creature}"
        assert self.told(stage, "do", again) == f"attack {creature}"

    def test_waking_up(self, stage):
        asleep = Scene(holding={"energy": 9}, sleeping=True)
        assert self.told(stage, "noop", asleep) == "wake up"
        again = Scene(holding={"energy": 9}, sleeping=True, unlocked=ACHIEVEMENTS)
        assert self.told(stage, "noop", again) == "stop sleeping"


MATERIALS, HELD_TOOLS = ITEMS[:6], ITEMS[6:]
ACTIVE = [name for name in ACTIONS if name not in ("noop",) and not name.startswith("move_")]
# What a stage can put in front; `darkness` is outside the map.
IN_FRONT = [thing for thing in THINGS if thing not in ("darkness", "arrow")]


@st.composite
def scenes(draw):
    holding = {
        **{item: draw(st.integers(0, 5)) for item in MATERIALS},
        **{tool: draw(st.integers(0, 1)) for tool in HELD_TOOLS},
        "energy": draw(st.sampled_from([3, 8, 9])),
        "drink": 3,
        "food": 3,
    }
    tiles = {
        "front": draw(st.sampled_from(IN_FRONT)),
        "above": draw(st.sampled_from(["grass", "table"])),
        "below": draw(st.sampled_from(["grass", "furnace"])),
    }
    return Scene(tiles, holding, sleeping=draw(st.booleans()), creature_health=1)


def legality(stage, scene, action):
    facts = stage.captioner.facts(None, scene.infos())
    return bool(stage.captioner.legal_actions(facts)[0, ACTIONS.index(action)])


def outcome(stage, scene, action):
    """Return what an action leaves behind; creatures and vital signs move by themselves."""
    info = stage.play(scene, action)
    items = {item: info["inventory"][item] for item in ITEMS}
    return items, info["achievements"], info["sleeping"]


class TestScenes:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(scene=scenes(), action=st.sampled_from(ACTIVE))
    def test_legal_is_what_does_more_than_noop(self, stage, scene, action):
        does_something = outcome(stage, scene, action) != outcome(stage, scene, "noop")
        legal = legality(stage, scene, action)
        # Grass gives a sapling in one try of ten; who sleeps goes on to whatever is chosen.
        by_chance = action == "do" and scene.tiles["front"] == "grass"
        already = action == "sleep" and scene.sleeping
        if not (by_chance or already):
            assert does_something == legal

    @pytest.mark.parametrize(
        "action", [name for name in ACTIVE if name.startswith(("place", "make"))]
    )
    def test_exactly_the_cost_is_enough(self, stage, action):
        variant = "crafter" if isinstance(stage, CrafterStage) else "craftax-classic"
        cost = COSTS[variant][action]
        workshop = {"above": "table", "below": "furnace"}
        assert legality(stage, Scene(workshop, dict(cost)), action)
        assert outcome(stage, Scene(workshop, dict(cost)), action)[1][action] == 1
        for item in cost:
            assert not legality(stage, Scene(workshop, {**cost, item: cost[item] - 1}), action)

    def test_a_sleeper_can_only_sleep(self, stage):
        facts = stage.captioner.facts(None, Scene(holding={"energy": 3}, sleeping=True).infos())
        (legal,) = stage.captioner.legal_actions(facts)
        assert [ACTIONS[index] for index in np.flatnonzero(legal)] == ["sleep"]

    def test_arrows_hide_the_ground_in_one_of_the_games(self):
        scene = Scene({"front": "arrow"}, {"stone": 1})
        open_ = {
            variant: bool(
                legal_actions(variant, CrafterFamilyCaptioner(variant).facts(None, scene.infos()))[
                    0, ACTIONS.index("place_stone")
                ]
            )
            for variant in COSTS
        }
        assert open_ == {"crafter": False, "craftax-classic": True}

    def test_other_games_are_not_known(self):
        with pytest.raises(UnknownNameError, match="crafter"):
            legal_actions("minecraft", [])


def test_a_table_and_plain_mappings_give_the_same(stage):
    seen = [Scene({"front": thing}, {"wood": 2, "stone": 4}).infos() for thing in IN_FRONT]
    for infos in seen:
        facts = stage.captioner.facts(None, infos)
        plain = [dict(facts[0])]
        legal = stage.captioner.legal_actions(facts)
        assert legal.tolist() == stage.captioner.legal_actions(plain).tolist()
    assert stage.captioner.legal_actions([]).shape == (0, len(ACTIONS))
