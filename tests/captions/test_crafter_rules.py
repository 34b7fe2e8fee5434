"""The rules and the captions, held against what happens in the installed games."""

import re

import crafter.constants
import pytest
from crafter_stages import CraftaxStage, CrafterStage, Scene

from llm_wrappers.captions import batch_infos
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS, ACTIONS, INVENTORY, THINGS

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


@pytest.fixture(scope="module", params=[CrafterStage, CraftaxStage])
def stage(request):
    return request.param()


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

    @pytest.mark.parametrize("action", TOOLS + PLACED)
    def test_one_less_of_anything_is_not(self, stage, action):
        cost = costs_told(stage.captioner.description)[action]
        for item in cost:
            holding = {**cost, item: cost[item] - 1}
            info = stage.play(Scene(tiles=WORKSHOP, holding=holding), action)
            assert info["achievements"][action] == 0
            assert items_of(info) == {**dict.fromkeys(ITEMS, 0), **holding}

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

    def test_they_are_those_of_the_data_of_crafter(self):
        told = costs_told(CrafterStage().captioner.description)
        data = {
            **{
                f"place_{name}": crafter.constants.place[name]["uses"]
                for name in ("table", "furnace")
            },
            **{f"make_{name}": what["uses"] for name, what in crafter.constants.make.items()},
        }
        assert told == data


class TestRules:
    @pytest.mark.parametrize("thing", COLLECTED)
    def test_what_collecting_needs(self, stage, thing):
        item, tool = COLLECTED[thing]
        tools = [name.removeprefix("make_") for name in TOOLS]

        def collected(*held):
            scene = Scene({"front": thing}, dict.fromkeys(held, 1))
            return stage.play(scene, "do")["inventory"][item]

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
