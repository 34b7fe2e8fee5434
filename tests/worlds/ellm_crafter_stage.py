"""A meadow in Crafter or ELLM's Crafter, with what a test puts around the agent."""

from typing import Any

import crafter

from llm_wrappers.worlds.ellm_crafter import EllmCrafterEnv

SMALL = (16, 16)
_RIPE = 400


class Stage:
    """The agent in the middle of a meadow without creatures, facing right."""

    def __init__(self, env_class: type = EllmCrafterEnv, **options: Any) -> None:
        self.env = env_class(area=SMALL, size=18, **options)
        self.arrange()

    def arrange(self) -> None:
        """Start an episode and level its world."""
        self.env.reset(seed=0)
        self.player, self.world = self.env._game.player, self.env._game.world
        self.clear()
        self.world._mat_map[:] = self.world._mat_ids["grass"]
        self.player.facing = (1, 0)

    def clear(self) -> None:
        """Take every object but the agent out of the world."""
        for obj in [obj for obj in self.world.objects if obj is not self.player]:
            self.world.remove(obj)

    def put(self, thing: str | None, dx: int = 1, dy: int = 0) -> Any:
        """Put a material or an object beside the agent; return the object."""
        position = int(self.player.pos[0]) + dx, int(self.player.pos[1]) + dy
        kinds = {"cow": 0, "plant": 0, "ripe plant": 0, "zombie": 1, "skeleton": 1}
        if thing is None:
            return None
        if thing not in kinds:
            self.world[position] = thing
            return None
        kind = getattr(crafter.objects, thing.removeprefix("ripe ").capitalize())
        obj = kind(self.world, position, *[self.player] * kinds[thing])
        if thing == "ripe plant":
            obj.grown = _RIPE
        self.world.add(obj)
        return obj

    def hold(self, **items: int) -> None:
        self.player.inventory.update(items)

    def act(self, name: str) -> tuple[float, bool, bool, dict[str, Any]]:
        action = self.env.captioner.description.action_names.index(name)
        return self.env.step(action)[1:]

    def success(self, name: str) -> tuple[bool, bool]:
        info = self.act(name)[3]
        return info["action_success"], info["eval_success"]
