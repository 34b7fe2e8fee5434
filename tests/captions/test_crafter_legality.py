"""Which actions are called legal, held against what they do in the installed games."""

import copy

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from crafter_stages import CraftaxStage, CrafterStage, Scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.methods import sgrl
from llm_wrappers.worlds.craftax import CraftaxClassicEnv
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.crafter.captioner import (
    ACTIONS,
    INVENTORY,
    THINGS,
    CrafterFamilyCaptioner,
)
from llm_wrappers.worlds.crafter.rules import COSTS, legal_actions
from llm_wrappers.worlds.minigrid.captioner import MiniGridCaptioner

ITEMS = INVENTORY[4:]
MATERIALS, TOOLS = ITEMS[:6], ITEMS[6:]
DEEDS = [name for name in ACTIONS if name not in ("noop",) and not name.startswith("move_")]
# What a stage can put in front; `darkness` is outside the map.
IN_FRONT = [thing for thing in THINGS if thing not in ("darkness", "arrow")]


@pytest.fixture(scope="module", params=[CrafterStage, CraftaxStage])
def stage(request):
    return request.param()


@st.composite
def scenes(draw):
    holding = {
        **{item: draw(st.integers(0, 5)) for item in MATERIALS},
        **{tool: draw(st.integers(0, 1)) for tool in TOOLS},
        "energy": draw(st.sampled_from([3, 9])),
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
    @given(scene=scenes(), action=st.sampled_from(DEEDS))
    def test_legal_is_what_does_more_than_noop(self, stage, scene, action):
        does_something = outcome(stage, scene, action) != outcome(stage, scene, "noop")
        legal = legality(stage, scene, action)
        # Grass gives a sapling in one try of ten; who sleeps goes on to whatever is chosen.
        by_chance = action == "do" and scene.tiles["front"] == "grass"
        already = action == "sleep" and scene.sleeping
        if not (by_chance or already):
            assert does_something == legal

    @pytest.mark.parametrize(
        "action", [name for name in DEEDS if name.startswith(("place", "make"))]
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


# --- in the games as they are played ---


class CrafterTwins:
    """Crafter, in which an action can be tried before it is taken."""

    def __init__(self):
        self.env = CrafterEnv(area=(32, 32), size=18)

    def after(self, action):
        return copy.deepcopy(self.env).step(action)[4]


class CraftaxTwins:
    """Craftax-Classic, in which an action can be tried before it is taken."""

    def __init__(self):
        import jax

        self.env = CraftaxClassicEnv()
        self.jax = jax

    def after(self, action):
        worlds = self.env._worlds
        kept = self.jax.tree.map(np.array, worlds._states)
        info = self.env.step(action)[4]
        worlds._states = kept
        return info


def told(info):
    """Return what an agent is told, without the creatures."""
    view = np.where(np.isin(info["local_view"], _CREATURES), 0, info["local_view"])
    items = {item: info["inventory"][item] for item in ITEMS}
    return items, info["achievements"], info["facing"], info["sleeping"], view.tolist()


_CREATURES = [THINGS.index(name) for name in ("zombie", "skeleton", "cow", "arrow")]


def guided_states(twins, steps, seed):
    """Yield the facts of states met by playing within the reference masks."""
    env = sgrl.wrap(twins.env)
    generator = np.random.default_rng(seed)
    over = True
    for step in range(steps):
        if over:
            _, info = env.reset(seed=seed + step)
        yield twins.env.captioner.facts(None, batch_infos(info))
        open_ = env.action_masks() if generator.random() < 0.8 else np.ones(len(ACTIONS))
        action = generator.choice(np.flatnonzero(open_))
        _, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated


@pytest.mark.parametrize(("make", "steps"), [(CrafterTwins, 150), (CraftaxTwins, 200)])
def test_what_is_not_legal_does_what_noop_does(make, steps):
    twins, generator, tried = make(), np.random.default_rng(0), set()
    for facts in guided_states(twins, steps, seed=0):
        (legal,) = twins.env.captioner.legal_actions(facts)
        action = int(generator.choice(np.flatnonzero(~legal)))
        assert told(twins.after(action)) == told(twins.after(0)), (ACTIONS[action], dict(facts[0]))
        tried.add(ACTIONS[action])
    assert len(tried) >= 10


@pytest.mark.parametrize(("make", "steps"), [(CrafterTwins, 300), (CraftaxTwins, 300)])
def test_what_is_legal_to_place_or_make_succeeds(make, steps):
    twins, succeeded = make(), set()
    for facts in guided_states(twins, steps, seed=3):
        (legal,) = twins.env.captioner.legal_actions(facts)
        near_edge = facts[0]["near_darkness"] is not None or facts[0]["facing"] == "arrow"
        for name in () if near_edge else DEEDS[2:]:
            if legal[ACTIONS.index(name)] and name not in succeeded:
                held = {item: facts[0][item] for item in ITEMS}
                after = twins.after(ACTIONS.index(name))["inventory"]
                assert {item: after[item] for item in ITEMS} != held, name
                succeeded.add(name)
    assert "place_plant" in succeeded


class TestMiniGrid:
    def test_legal_is_what_changes_the_world(self):
        env = gym.make("MiniGrid-DoorKey-5x5-v0", disable_env_checker=True)
        captioner = resolve_captioner(env)
        names = captioner.description.action_names
        generator, met = np.random.default_rng(0), set()
        over = True
        for step in range(1500):
            if over:
                observation, _ = env.reset(seed=step)
            batch = {"image": observation["image"][None], "direction": [observation["direction"]]}
            (legal,) = captioner.legal_actions(captioner.facts(batch, {}))
            before = snapshot(env)
            # The doors stay shut if nothing ever helps.
            useful = legal.copy()
            useful[:2] = generator.random() < 0.5
            action = int(generator.choice(np.flatnonzero(useful if step % 2 else legal | True)))
            observation, _, terminated, truncated, _ = env.step(action)
            if names[action] != "done":
                assert (snapshot(env) != before) == legal[action], names[action]
            met.add((names[action], bool(legal[action])))
            over = terminated or truncated
        for name in ("forward", "pick up", "drop", "toggle"):
            assert {(name, True), (name, False)} <= met

    def test_is_not_known_where_actions_may_mean_something_else(self):
        facts = [{"facing": "wall", "front_is_free": False}]
        assert MiniGridCaptioner("MiniGrid-Dynamic-Obstacles-8x8-v0").legal_actions(facts) is None


def snapshot(env):
    world = env.unwrapped
    held = world.carrying and (world.carrying.type, world.carrying.color)
    return world.grid.encode().tolist(), tuple(world.agent_pos), int(world.agent_dir), held
