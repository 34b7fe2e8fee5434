"""Scenes set by hand in the installed games, to play one action in."""

from dataclasses import dataclass, field

import numpy as np
from craftax.craftax_classic.constants import BlockType
from crafter import objects

from llm_wrappers.captions import batch_infos
from llm_wrappers.worlds.craftax import CraftaxClassicEnv
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS, ACTIONS, INVENTORY, THINGS

# Where a tile lies from the agent, as (row, column); the agent faces right.
PLACES = {"front": (0, 1), "behind": (0, -1), "above": (-1, 0), "below": (1, 0)}
RIGHT = 2
CREATURES = ("cow", "zombie", "skeleton")


@dataclass(frozen=True)
class Scene:
    """The agent on grass, facing right; `tiles` and `holding` say what differs from the start."""

    tiles: dict = field(default_factory=dict)
    holding: dict = field(default_factory=dict)
    unlocked: tuple = ()
    sleeping: bool = False
    creature_health: int = 3

    def infos(self):
        """Return what the agent is told in this scene."""
        view = np.full((7, 9), THINGS.index("grass"), np.uint8)
        for place, thing in self.tiles.items():
            row, column = PLACES[place]
            view[3 + row, 4 + column] = THINGS.index(thing)
        info = {
            "local_view": view,
            "facing": RIGHT,
            "sleeping": self.sleeping,
            "daylight": 1.0,
            "inventory": self.inventory(),
            "achievements": {name: int(name in self.unlocked) for name in ACHIEVEMENTS},
        }
        return batch_infos(info)

    def inventory(self):
        vitals = dict.fromkeys(INVENTORY[:4], 9)
        return {**dict.fromkeys(INVENTORY, 0), **vitals, **self.holding}


class CrafterStage:
    def __init__(self):
        self.env = CrafterEnv(area=(24, 24))
        self.env.reset(seed=0)
        self.captioner = self.env.captioner

    def play(self, scene, action):
        """Return the info after one action in the scene."""
        game, world, player = self.env._game, self.env._game.world, self.env._game.player
        for obj in [obj for obj in world.objects if obj is not player]:
            world.remove(obj)
        world._mat_map[:] = world._mat_ids["grass"]
        if tuple(player.pos) != (12, 12):
            world.move(player, (12, 12))
        player.facing = (1, 0)
        for place, thing in scene.tiles.items():
            row, column = PLACES[place]
            self.put(thing, (12 + column, 12 + row), scene)
        player.inventory.update(scene.inventory())
        player.achievements.update({name: int(name in scene.unlocked) for name in ACHIEVEMENTS})
        player.sleeping = scene.sleeping
        player._hunger = player._thirst = player._fatigue = player._recover = 0
        player._last_health = game._last_health = player.health
        game._unlocked = set(scene.unlocked)
        game._step = 0
        _, _, self.terminated, _, info = self.env.step(ACTIONS.index(action))
        return info

    def put(self, thing, position, scene):
        game = self.env._game
        if thing in CREATURES:
            kind = getattr(objects, thing.capitalize())
            others = () if thing == "cow" else (game.player,)
            creature = kind(game.world, position, *others)
            creature.health = scene.creature_health
            game.world.add(creature)
        elif thing in ("sapling", "ripe_plant"):
            plant = objects.Plant(game.world, position)
            plant.grown = 500 if thing == "ripe_plant" else 0
            game.world.add(plant)
        else:
            game.world[position] = thing


class CraftaxStage:
    BLOCKS = {"table": "CRAFTING_TABLE", "sapling": "PLANT"}  # noqa: RUF012

    def __init__(self):
        import jax

        self.env = CraftaxClassicEnv()
        self.env.reset(seed=0)
        self.captioner = self.env.captioner
        self.states = self.env._worlds._states
        self.jax = jax

    def play(self, scene, action):
        """Return the info after one action in the scene."""
        states = self.jax.tree.map(np.array, self.states)
        states.map[:] = BlockType.GRASS.value
        for creatures in (states.cows, states.zombies, states.skeletons, states.arrows):
            creatures.mask[:] = False
        states.mob_map[:] = False
        states.player_position[:] = 32
        states.player_direction[:] = RIGHT
        for place, thing in scene.tiles.items():
            row, column = PLACES[place]
            self.put(states, thing, (32 + row, 32 + column), scene)
        for item, count in scene.inventory().items():
            is_vital = item in INVENTORY[:4]
            holder, name = (states, f"player_{item}") if is_vital else (states.inventory, item)
            getattr(holder, name)[:] = count
        states.achievements[:] = [name in scene.unlocked for name in ACHIEVEMENTS]
        states.is_sleeping[:] = scene.sleeping
        self.env._worlds._states = states
        _, _, self.terminated, _, info = self.env.step(ACTIONS.index(action))
        return info

    def put(self, states, thing, position, scene):
        if thing in CREATURES:
            creatures = getattr(states, f"{thing}s")
            creatures.mask[0, 0] = True
            creatures.position[0, 0] = position
            creatures.health[0, 0] = scene.creature_health
            states.mob_map[0][position] = True
        else:
            block = BlockType[self.BLOCKS.get(thing, thing.upper())]
            states.map[0][position] = block.value
