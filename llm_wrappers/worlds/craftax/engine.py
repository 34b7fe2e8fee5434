"""Craftax-Classic compiled once: one jitted call for a step of all worlds, one for a new world."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import require
from llm_wrappers.worlds.crafter.rules import ACHIEVEMENTS, INVENTORY, THINGS

__all__ = ["OBSERVATIONS", "Frame", "Kernels", "Worlds", "compiled_kernels", "unpack_infos"]

OBSERVATIONS = ("symbolic", "pixels")
_VIEW_SHAPE = (7, 9)
# What each block of Craftax-Classic is called here, in the order of its BlockType.
_BLOCK_NAMES = (
    "darkness", "darkness", "grass", "water", "stone", "tree", "tree", "path", "coal", "iron",
    "diamond", "table", "furnace", "sand", "lava", "sapling", "ripe_plant",
)  # fmt: skip
_MOB_NAMES = ("zombie", "cow", "skeleton", "arrow")
_PLAYER_ITEMS = INVENTORY[4:]
_PIXELS_PER_BLOCK_OBSERVED = 7
_PIXELS_PER_BLOCK_RENDERED = 16


class Frame(NamedTuple):
    """What one step or one new world looks like from outside; arrays of JAX.

    `observation` has shape (n, 1345) or (n, 63, 63, 3); `reward`, `terminated` and `truncated`
    have shape (n,); `numbers` packs everything that goes into `info` as uint8; `daylight` is
    float. For a new world the leading axis is absent.
    """

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    numbers: Any
    daylight: Any


class Kernels(NamedTuple):
    """The compiled functions; each takes and returns JAX arrays.

    Args:
        new_world: world seed -> (state, Frame), for one world.
        stack: list of states -> states.
        step: (states, world seeds (n,), actions (n,), length) -> (states, Frame).
        insert: (states, state, index) -> states.
        render: states, index -> an RGB picture in 0..255.
    """

    new_world: Callable[..., Any]
    stack: Callable[..., Any]
    step: Callable[..., Any]
    insert: Callable[..., Any]
    render: Callable[..., Any]


@lru_cache(maxsize=len(OBSERVATIONS))
def compiled_kernels(observation: str) -> Kernels:
    """Return the kernels for one kind of observation, compiled on first use and kept.

    The compiled programs are also kept on disk between processes, in the directory that JAX is
    configured with, else in ``$LLM_WRAPPERS_CACHE_DIR/jax`` or ``~/.cache/llm_wrappers/jax``.
    """
    checks.one_of("observation", observation, OBSERVATIONS)
    jax = require("jax", extra="craftax")
    require("craftax", extra="craftax")
    _keep_compiled_programs(jax)
    return _build_kernels(jax, observation)


def unpack_infos(frame: Frame) -> dict[str, Any]:
    """Return the infos of n sub-environments as fresh arrays, in the form of gymnasium.vector.

    The `_key` masks that say which sub-environments have a key are all true.
    """
    numbers = np.asarray(frame.numbers)
    n = len(numbers)
    present = np.ones(n, dtype=np.bool_)
    view, inventory, achievements, facing, sleeping = np.split(numbers, _SPLIT_AT, axis=1)
    infos = {
        "achievements": _named_columns(ACHIEVEMENTS, achievements, present),
        "inventory": _named_columns(INVENTORY, inventory, present),
        "local_view": view.reshape(n, *_VIEW_SHAPE).copy(),
        "facing": facing[:, 0].astype(np.int64),
        "sleeping": sleeping[:, 0].astype(np.bool_),
        "daylight": np.asarray(frame.daylight, dtype=np.float64),
    }
    return {**infos, **{f"_{key}": present for key in infos}}


_SPLIT_AT = np.cumsum([np.prod(_VIEW_SHAPE), len(INVENTORY), len(ACHIEVEMENTS), 1])


def _named_columns(
    names: tuple[str, ...], values: NDArray[np.uint8], present: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    columns = dict(zip(names, values.astype(np.int64).T, strict=True))
    return {**columns, **{f"_{name}": present for name in names}}


def _keep_compiled_programs(jax: Any) -> None:
    if jax.config.jax_compilation_cache_dir is None:
        root = os.environ.get("LLM_WRAPPERS_CACHE_DIR") or Path.home() / ".cache" / "llm_wrappers"
        jax.config.update("jax_compilation_cache_dir", str(Path(root) / "jax"))


def _build_kernels(jax: Any, observation: str) -> Kernels:
    jnp = jax.numpy
    symbolic_env = require(
        "craftax.craftax_classic.envs.craftax_symbolic_env", extra="craftax"
    ).CraftaxClassicSymbolicEnvNoAutoReset()
    game_logic = require("craftax.craftax_classic.game_logic", extra="craftax")
    params, static_params = symbolic_env.default_params, symbolic_env.static_env_params
    to_picture = _pixels(jax, _PIXELS_PER_BLOCK_OBSERVED) if observation == "pixels" else None

    def frame_of(state: Any, reward: Any, length: Any) -> Frame:
        symbols = symbolic_env.get_obs(state)
        in_lava = state.map[tuple(state.player_position)] == _block_index("lava")
        terminated = in_lava | (state.player_health <= 0)
        return Frame(
            observation=symbols if to_picture is None else to_picture(state),
            reward=reward,
            terminated=terminated,
            truncated=(state.timestep >= length) & ~terminated,
            numbers=_pack_numbers(jnp, state, symbols),
            daylight=state.light_level,
        )

    def new_world(world_seed: Any) -> tuple[Any, Frame]:
        _, state = symbolic_env.reset_env(jax.random.PRNGKey(world_seed), params)
        # World generation leaves weakly typed numbers in some fields; a step would return strong
        # ones, and would then be compiled a second time.
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.asarray(leaf).dtype), state)
        return state, frame_of(state, jnp.float32(0), jnp.int32(np.iinfo(np.int32).max))

    def step_one(state: Any, world_seed: Any, action: Any, length: Any) -> tuple[Any, Frame]:
        key = jax.random.fold_in(jax.random.PRNGKey(world_seed), state.timestep)
        new_state, reward = game_logic.craftax_step(key, state, action, params, static_params)
        new_state = jax.tree.map(lambda new, old: new.astype(old.dtype), new_state, state)
        return new_state, frame_of(new_state, reward, length)

    def insert(states: Any, state: Any, index: Any) -> Any:
        return jax.tree.map(lambda many, one: many.at[index].set(one), states, state)

    return Kernels(
        new_world=jax.jit(new_world),
        stack=jax.jit(lambda states: jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)),
        step=jax.jit(jax.vmap(step_one, in_axes=(0, 0, 0, None)), donate_argnums=0),
        insert=jax.jit(insert, donate_argnums=0),
        render=_renderer(jax),
    )


def _pack_numbers(jnp: Any, state: Any, symbols: Any) -> Any:
    tiles = symbols[: np.prod(_VIEW_SHAPE) * (len(_BLOCK_NAMES) + len(_MOB_NAMES))]
    tiles = tiles.reshape(*_VIEW_SHAPE, -1)
    block_things = jnp.array([THINGS.index(name) for name in _BLOCK_NAMES], dtype=jnp.uint8)
    view = block_things[tiles[..., : len(_BLOCK_NAMES)].argmax(axis=-1)]
    for index, name in enumerate(_MOB_NAMES, start=len(_BLOCK_NAMES)):
        view = jnp.where(tiles[..., index] > 0, jnp.uint8(THINGS.index(name)), view)
    vitals = [state.player_health, state.player_food, state.player_drink, state.player_energy]
    items = [getattr(state.inventory, item) for item in _PLAYER_ITEMS]
    numbers = [
        view.ravel(),
        jnp.stack([jnp.maximum(value, 0).astype(jnp.uint8) for value in (*vitals, *items)]),
        state.achievements.astype(jnp.uint8),
        jnp.stack([state.player_direction, state.is_sleeping]).astype(jnp.uint8),
    ]
    return jnp.concatenate(numbers)


def _block_index(name: str) -> int:
    return _BLOCK_NAMES.index(name)


def _pixels(jax: Any, pixels_per_block: int) -> Callable[[Any], Any]:
    """Return a function from one state to a picture; reads the textures, so not while tracing."""
    renderer = require("craftax.craftax_classic.renderer", extra="craftax")
    to_pixels = renderer.make_craftax_pixel_renderer(pixels_per_block)
    return lambda state: jax.numpy.clip(to_pixels(state), 0, 255).astype(jax.numpy.uint8)


def _renderer(jax: Any) -> Callable[..., Any]:
    @lru_cache(maxsize=1)
    def compiled() -> Any:
        to_picture = _pixels(jax, _PIXELS_PER_BLOCK_RENDERED)
        return jax.jit(
            lambda states, index: to_picture(jax.tree.map(lambda leaf: leaf[index], states))
        )

    return lambda states, index: compiled()(states, index)


_LARGEST_SEED = np.iinfo(np.uint32).max
_LONGEST_EPISODE = np.iinfo(np.int32).max  # Craftax counts the steps in 32 bits


class Worlds:
    """n worlds of Craftax-Classic that step together.

    A world is generated only where an episode has ended; a step of all n never generates one.

    Args:
        n: The number of worlds.
        observation: ``"symbolic"`` or ``"pixels"``.
        length: The number of steps after which an episode is truncated.
    """

    def __init__(self, n: int, *, observation: str, length: int) -> None:
        self._n = n
        self._length = np.int32(min(length, _LONGEST_EPISODE))
        self._observation = observation
        self._seeds = np.zeros(n, dtype=np.uint32)
        self._states: Any = None

    @property
    def started(self) -> bool:
        """Whether every world has been generated."""
        return self._states is not None

    def start(self, generators: list[np.random.Generator]) -> Frame:
        """Generate every world anew and return their first frame."""
        kernels = compiled_kernels(self._observation)
        worlds = [
            kernels.new_world(self._draw_seed(index, generator))
            for index, generator in enumerate(generators)
        ]
        self._states = kernels.stack([state for state, _ in worlds])
        frames = [frame for _, frame in worlds]
        return Frame(
            *(np.stack([np.asarray(x) for x in field]) for field in zip(*frames, strict=True))
        )

    def restart(self, index: int, generator: np.random.Generator) -> Frame:
        """Generate one world anew and return its first frame, with a leading axis of 1."""
        kernels = compiled_kernels(self._observation)
        state, frame = kernels.new_world(self._draw_seed(index, generator))
        self._states = kernels.insert(self._states, state, np.int32(index))
        return Frame(*(np.asarray(field)[None] for field in frame))

    def step(self, actions: NDArray[np.integer[Any]]) -> Frame:
        """Step every world; the actions have shape (n,)."""
        self._states, frame = compiled_kernels(self._observation).step(
            self._states, self._seeds, actions.astype(np.int32), self._length
        )
        return frame  # type: ignore[no-any-return]

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return an RGB picture of what the agent of one world sees, shape (144, 144, 3)."""
        return np.array(compiled_kernels(self._observation).render(self._states, np.int32(index)))

    def _draw_seed(self, index: int, generator: np.random.Generator) -> np.uint32:
        seed = np.uint32(generator.integers(_LARGEST_SEED, dtype=np.uint32))
        self._seeds[index] = seed
        return seed
