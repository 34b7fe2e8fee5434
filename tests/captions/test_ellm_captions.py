"""ELLM's sentences, held against the format of the paper's code and against the installed games."""

import pickle
import re

import numpy as np
import pytest
from crafter_stages import CraftaxStage, CrafterStage, Scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS, ACTIONS, INVENTORY, THINGS
from llm_wrappers.worlds.ellm_crafter.captioner import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.words import (
    ACTION_NAMES,
    EASIER_NAMES,
    GOOD_NAMES,
    SAME_DEED,
    split_name,
)

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


views = arrays(np.uint8, (7, 9), elements=st.integers(0, len(THINGS) - 1))
inventories = st.fixed_dictionaries(dict.fromkeys(INVENTORY, st.integers(0, 9)))


@examples
@given(view=views, facing=st.integers(1, 4), inventory=inventories)
def test_the_format_holds_for_every_state(view, facing, inventory):
    info = info_of(view, facing, **inventory)
    policy, prompt = captions_of(info)
    pattern = (
        r"You see (?P<seen>[a-z, ]+)\.( You are targeting (?P<target>[a-z ]+)\.)?"
        r"( You have in your inventory (?P<held>[a-z_, ]+)\.)?( You feel (?P<felt>[a-z, ]+)\.)?"
    )
    match = re.fullmatch(pattern, policy)
    assert match is not None
    names = re.split(r", and |, ", match["seen"])
    assert names == sorted(set(names))
    assert (", and " in match["seen"]) == (len(names) > 1)
    assert not {"sand", "arrow", "player", "darkness", "table", "sapling"} & set(names)
    assert ("plant" in names) == bool(
        np.isin(np.delete(view, 31), [THINGS.index("sapling"), THINGS.index("ripe_plant")]).any()
    )
    target = THINGS[view[FRONT[facing]]]
    shown = None if target in ("darkness", "path", "sand", "lava") else target
    assert match["target"] == {"sapling": "plant", "ripe_plant": "plant"}.get(shown, shown)
    held = match["held"].split(", ") if match["held"] else []
    assert [{"plant": "sapling"}.get(item, item) for item in held] == [
        item for item in INVENTORY[4:] if inventory[item]
    ]
    low = sum(inventory[vital] < 9 for vital in INVENTORY[:4])
    assert len(match["felt"].split(", ") if match["felt"] else []) == low
    assert prompt == re.sub(
        r" You feel [a-z, ]+\.", " You feel sleepy." if inventory["energy"] < 9 else "", policy
    )
    assert captions_of(info) == (policy, prompt)
    moved = np.delete(view, 31)[::-1]
    mirrored = np.insert(moved, 31, 0).reshape(7, 9)
    assert captions_of(info_of(mirrored, facing))[0].startswith(f"You see {match['seen']}.")


def test_many_states_are_captioned_as_each_alone():
    infos = [info_of(view_of("tree")), info_of(view_of("cow"), energy=2)]
    together = {
        key: {k: np.array([info[key][k] for info in infos]) for k in infos[0][key]}
        if isinstance(infos[0][key], dict)
        else np.array([info[key] for info in infos])
        for key in infos[0]
    }
    facts = CAPTIONER.facts(None, together)
    assert CAPTIONER.state_captions(facts) == [captions_of(info)[0] for info in infos]
    assert CAPTIONER.prompt_captions(facts) == [captions_of(info)[1] for info in infos]


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


def test_same_deeds_go_in_both_directions():
    assert all(SAME_DEED[SAME_DEED[name]] == name for name in SAME_DEED)
    assert set(SAME_DEED) <= set(GOOD_NAMES)
    assert all(" ".join(split_name(name)).strip() == name for name in ACTION_NAMES)


@pytest.mark.parametrize("actions", ["verb-noun", "easier"])
def test_a_verb_and_a_noun_are_their_own_caption(actions):
    captioner = EllmCaptioner("ellm-crafter", actions=actions)
    facts = captioner.facts(None, batch_infos(info_of(view_of())))
    for number, name in enumerate(captioner.description.action_names):
        assert captioner.transition_captions(facts, [number], facts) == [name]


@pytest.fixture(scope="module", params=[CrafterStage, CraftaxStage], ids=["crafter", "craftax"])
def stage(request):
    return request.param()


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
