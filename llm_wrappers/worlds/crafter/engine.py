"""Crafter's own game, with what made it differ from run to run replaced.

Crafter 1.8.3 keeps the creatures of a chunk in a set, which iterates in the order of memory
addresses, and draws the noise of the night picture from the random numbers of the game, so that
rendering once more changes what happens next. Here chunks keep the order of insertion and the noise
has a generator of its own. The rules, the rewards and the pictures are Crafter's.

This module imports crafter, so only the constructor of the environment imports this module.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from crafter import constants, engine, env, objects, worldgen
from numpy.typing import NDArray

from llm_wrappers.worlds.crafter.captioner import THINGS

__all__ = ["Game"]

_CHUNK_SIZE = (12, 12)
_VIEW_COLUMNS = 9
_VIEW_ROWS = 7
_ITEM_ROWS = 2
_OUTSIDE_GREY = 127
_RIPE_PLANT = THINGS.index("ripe_plant")
_THING_OF_OBJECT: dict[Any, int] = {
    objects.Plant: THINGS.index("sapling"),
    objects.Zombie: THINGS.index("zombie"),
    objects.Skeleton: THINGS.index("skeleton"),
    objects.Cow: THINGS.index("cow"),
    objects.Arrow: THINGS.index("arrow"),
}
# What Crafter's map of the whole world tells apart besides the player, in the order of its ids.
_MAPPED_OBJECTS = [
    objects.Cow, objects.Zombie, objects.Skeleton, objects.Arrow, objects.Plant,
]  # fmt: skip
# By the number a world gives to each material; number 0 stands for no material.
_THING_OF_MATERIAL = np.array(
    [THINGS.index("darkness"), *(THINGS.index(name) for name in constants.materials)],
    dtype=np.uint8,
)
# The numbers of the four move actions.
_NUMBER_OF_DIRECTION: dict[tuple[int, int], int] = {
    (dx, dy): constants.actions.index(name)
    for name, dx, dy in (
        ("move_left", -1, 0), ("move_right", 1, 0), ("move_up", 0, -1), ("move_down", 0, 1),
    )
}  # fmt: skip


class OrderedSet(dict[Any, None]):
    """A set that iterates in the order of insertion, whatever the addresses of its members.

    >>> members = OrderedSet()
    >>> for member in "cab":
    ...     members.add(member)
    >>> members.remove("a")
    >>> list(members)
    ['c', 'b']
    """

    def add(self, member: Any) -> None:
        """Put a member at the end, unless it is in the set."""
        self[member] = None

    def remove(self, member: Any) -> None:
        """Take a member out; KeyError if it is not in the set."""
        del self[member]


class Window(NamedTuple):
    """What stands in a rectangle of the map.

    Args:
        materials: Material numbers of shape (columns, rows), 0 outside the map.
        occupants: (column, row, object) of each object inside, the player among them.
    """

    materials: NDArray[np.uint8]
    occupants: list[tuple[int, int, Any]]


class CrafterWorld(engine.World):  # type: ignore[misc]
    """Crafter's map, with ordered chunks and a fast look at a part of it."""

    def reset(self, seed: int | None = None) -> None:
        """Empty the map and seed the random numbers of the game."""
        super().reset(seed)
        self._chunks: defaultdict[Any, OrderedSet] = defaultdict(OrderedSet)

    def window(self, center: NDArray[np.int_], columns: int, rows: int) -> Window:
        """Return what stands in the rectangle of odd `columns` and `rows` around `center`."""
        x0, y0 = int(center[0]) - columns // 2, int(center[1]) - rows // 2
        left, top = max(x0, 0), max(y0, 0)
        right, bottom = min(x0 + columns, self.area[0]), min(y0 + rows, self.area[1])
        materials = np.zeros((columns, rows), np.uint8)
        materials[left - x0 : right - x0, top - y0 : bottom - y0] = self._mat_map[
            left:right, top:bottom
        ]
        indices = self._obj_map[left:right, top:bottom]
        occupants = [
            (x + left - x0, y + top - y0, self._objects[indices[x, y]])
            for x, y in np.argwhere(indices).tolist()
        ]
        return Window(materials, occupants)


class LocalView(engine.LocalView):  # type: ignore[misc]
    """Crafter's picture of the tiles around the player, drawn faster and with noise of its own.

    `noise_seed` is set by the game at each step; pictures drawn under one seed are equal.
    """

    noise_seed: tuple[int, int] = (0, 0)

    def __init__(self, world: CrafterWorld, textures: Any) -> None:
        super().__init__(world, textures, [_VIEW_COLUMNS, _VIEW_ROWS])
        self._tiles: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._vignettes: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def __call__(self, player: Any, unit: NDArray[np.int_]) -> NDArray[Any]:
        """Return the picture, shape (9 * unit, 7 * unit, 3), with tiles of `unit` pixels."""
        width, height = int(unit[0]), int(unit[1])
        window = self._world.window(player.pos, _VIEW_COLUMNS, _VIEW_ROWS)
        canvas = (
            self._tiles_of(width, height)[window.materials]
            .transpose(0, 2, 1, 3, 4)
            .reshape(_VIEW_COLUMNS * width, _VIEW_ROWS * height, 3)
        )
        for column, row, obj in window.occupants:
            texture = self._textures.get(obj.texture, (width, height))
            engine._draw_alpha(canvas, (column * width, row * height), texture)
        lit: NDArray[Any] = self._light(canvas, self._world.daylight)
        return self._sleep(lit) if player.sleeping else lit

    def _tiles_of(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return the pictures of all materials, shape (materials + 1, width, height, 3)."""
        if (width, height) not in self._tiles:
            tiles = np.full(
                (len(constants.materials) + 1, width, height, 3), _OUTSIDE_GREY, np.uint8
            )
            for number, name in enumerate(constants.materials, start=1):
                tiles[number] = self._textures.get(name, (width, height))[..., :3]
            self._tiles[width, height] = tiles
        return self._tiles[width, height]

    def _noise(self, canvas: NDArray[Any], amount: float, stddev: float) -> NDArray[Any]:
        random = np.random.default_rng(self.noise_seed)
        noise = random.uniform(32, 127, canvas.shape[:2])[..., None]
        mask = amount * self._vignette(canvas.shape, stddev)[..., None]
        blended: NDArray[Any] = (1 - mask) * canvas + mask * noise
        return blended

    def _vignette(self, shape: tuple[int, ...], stddev: float) -> NDArray[np.float64]:
        # Crafter caches these per class for ten views: more environments than that evict each
        # other, and the cache keeps closed ones alive.
        if shape not in self._vignettes:
            self._vignettes[shape] = engine.LocalView._vignette.__wrapped__(self, shape, stddev)
        return self._vignettes[shape]


class ItemView(engine.ItemView):  # type: ignore[misc]
    """Crafter's picture of the inventory, drawn again only when the inventory has changed."""

    def __init__(self, textures: Any) -> None:
        super().__init__(textures, [_VIEW_COLUMNS, _ITEM_ROWS])
        self._drawn: dict[int, tuple[tuple[int, ...], NDArray[np.uint8]]] = {}

    def __call__(self, inventory: dict[str, int], unit: NDArray[np.int_]) -> NDArray[np.uint8]:
        """Return the picture, shape (9 * unit, 2 * unit, 3); not to be written to."""
        size, amounts = int(unit[0]), tuple(inventory.values())
        if size not in self._drawn or self._drawn[size][0] != amounts:
            self._drawn[size] = amounts, super().__call__(inventory, unit)
        return self._drawn[size][1]


class Game(env.Env):  # type: ignore[misc]
    """Crafter's game loop with an explicit world seed: same seed and actions, same game.

    Args:
        area: Columns and rows of the map, in tiles.
        size: Height and width of an observation, in pixels.
        player_class: The class of the player; a subclass may act in other ways.
    """

    def __init__(
        self, area: tuple[int, int], size: int, player_class: type[Any] = objects.Player
    ) -> None:
        # Crafter draws a seed from NumPy's global generator unless it is given one.
        super().__init__(area=area, size=(size, size), length=None, seed=0)
        self._world = CrafterWorld(area, constants.materials, _CHUNK_SIZE)
        self._local_view = LocalView(self._world, self._textures)
        self._item_view = ItemView(self._textures)
        # The whole map is drawn when asked for, not at each step.
        self._map_view = engine.SemanticView(self._world, [player_class, *_MAPPED_OBJECTS])
        self._sem_view = _nothing
        self._player_class = player_class
        self._world_seed = 0

    def start(self, world_seed: int) -> NDArray[np.uint8]:
        """Generate the world of this seed and return the first observation."""
        # As Env.reset of crafter, which seeds by Python's hash() of a tuple instead.
        self._world_seed = world_seed
        self._step = 0
        self._world.reset(seed=world_seed)
        self._update_time()
        center = (self._world.area[0] // 2, self._world.area[1] // 2)
        self._player = self._player_class(self._world, center)
        self._last_health = self._player.health
        self._world.add(self._player)
        self._unlocked: set[str] = set()
        worldgen.generate_world(self._world, self._player)
        return self.picture()

    def act(self, action: int) -> tuple[NDArray[np.uint8], float]:
        """Play one step and return the observation and Crafter's reward."""
        observation, reward, _, _ = super().step(action)
        return observation, float(reward)

    def picture(self, scale: int = 1) -> NDArray[np.uint8]:
        """Return what the agent sees, shape (scale * size, scale * size, 3)."""
        size = tuple(scale * int(side) for side in self._size)
        return np.ascontiguousarray(super().render(size))

    @property
    def step_count(self) -> int:
        """The number of steps since the start of the episode."""
        return int(self._step)

    @property
    def dead(self) -> bool:
        """Whether the player has no health left."""
        return bool(self._player.health <= 0)

    @property
    def player(self) -> Any:
        """Crafter's player; a new one in each episode."""
        return self._player

    @property
    def world(self) -> CrafterWorld:
        """Crafter's world; the same one in all episodes."""
        return self._world

    @property
    def facing(self) -> int:
        """The direction the player faces, as the number of the action that moves there."""
        dx, dy = self._player.facing
        return _NUMBER_OF_DIRECTION[int(dx), int(dy)]

    def local_view(self) -> NDArray[np.uint8]:
        """Return the ids of the things the agent sees, shape (7, 9), the agent at [3, 4]."""
        window = self._world.window(self._player.pos, _VIEW_COLUMNS, _VIEW_ROWS)
        view = _THING_OF_MATERIAL[window.materials.T]
        for column, row, obj in window.occupants:
            if obj is not self._player:
                view[row, column] = _thing_of(obj)
        return view

    def whole_map(self) -> NDArray[np.uint8]:
        """Return Crafter's semantic view of the whole map, shape `area`, indexed [x, y]."""
        drawn: NDArray[np.uint8] = self._map_view()
        return drawn

    def _obs(self) -> NDArray[np.uint8]:
        return self.picture()

    def _update_time(self) -> None:
        super()._update_time()
        self._local_view.noise_seed = (self._world_seed, self._step)


def _thing_of(obj: Any) -> int:
    if isinstance(obj, objects.Plant) and obj.ripe:
        return _RIPE_PLANT
    return _THING_OF_OBJECT[type(obj)]


def _nothing() -> None:
    """Stand in for a view that is not wanted; a function of a module, so that it pickles."""
