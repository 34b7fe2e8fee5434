"""The four recipes in every order, in six worlds; the table in docs/stacks.md is made here.

`STACK_TABLE=write pytest -m "" tests/wrappers/test_stack_orders.py -k docs_says` writes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stack_worlds import (
    CART_POLE,
    CRAFTAX,
    CRAFTER,
    DOOR_KEY,
    FROZEN_LAKE,
    ORDERS,
    PENDULUM,
    SOME_ORDERS,
    WORLDS,
    World,
    lost,
    outcome,
    play,
)

from llm_wrappers import load_guidance, save_guidance
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env
from llm_wrappers.testing import Point, check_stack, check_vector_wrapper
from llm_wrappers.worlds.craftax import CraftaxClassicVectorEnv

TABLE = Path(__file__).parents[2] / "docs" / "stacks.md"
CHEAP = [world for world in WORLDS if not world.is_dear]
MANY = (False, True)
pytestmark = pytest.mark.filterwarnings("ignore:judgements can add up to")


def world_id(value: Any) -> str | None:
    if isinstance(value, World):
        return value.env_id
    return "-".join(value) if isinstance(value, tuple) else None


def row_of(world: World, cells: Mapping[bool, Mapping[Sequence[str], str]]) -> str:
    """Return the line of the table for a world, from the outcomes of single and vector stacks."""
    kind = "native" if world.is_native else "`SyncVectorEnv`"
    texts = [f"`{world.env_id}`"]
    for many, title in ((False, ""), (True, f", {kind}")):
        refused = {order: text for order, text in cells[many].items() if text != "works"}
        text = f"{len(ORDERS) - len(refused)} of {len(ORDERS)}{title}"
        lines = [f"`{' > '.join(order)}`: {said}" for order, said in refused.items()]
        texts.append("<br>".join([text, *lines]))
    return f"| {' | '.join(texts)} |"


@pytest.mark.parametrize(
    "world",
    [pytest.param(world, marks=[pytest.mark.slow] if world.is_dear else []) for world in WORLDS],
    ids=world_id,
)
@pytest.mark.timeout(3000)
def test_every_order_does_what_the_table_in_the_docs_says(world: World) -> None:
    steps = 40 if world.is_dear else 26
    outcomes = {
        many: {order: outcome(world, order, many=many, steps=steps) for order in ORDERS}
        for many in MANY
    }
    said = {text for cells in outcomes.values() for text in cells.values()}
    # Nothing is lost in silence: what does not work is refused when it is built.
    assert all(text == "works" or text.startswith("refused: ") for text in said), said
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.startswith(f"| `{world.env_id}` |")]
    row = row_of(world, outcomes)
    if os.environ.get("STACK_TABLE") == "write":
        lines[place] = row
        TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert row == (row if os.environ.get("STACK_TABLE") == "write" else lines[place])


def test_a_dear_world_works_in_one_order_too() -> None:
    assert outcome(CRAFTER, SOME_ORDERS[0], many=False) == "works"


def test_lost_guidance_is_seen_in_the_counters() -> None:
    """The table would be worth nothing if a stack without guidance counted as one that works."""
    stats = play(CART_POLE.stack(ORDERS[0], CART_POLE.make()), 26)
    assert lost(stats) == []
    nothing = {name: dict.fromkeys(counters, 0) for name, counters in stats.items()}
    assert lost(nothing) == [
        "no goals", "nothing is pruned", "nothing is judged", "nothing is rewarded",
        "no critical state is met",
    ]  # fmt: skip


# --- the whole contract ---

_POINTS = [
    Point.STACK_WORDS, Point.STACK_ACTIONS, Point.STACK_MASKS, Point.STACK_PROGRESS,
    Point.STACK_RESUME,
]  # fmt: skip


@pytest.mark.parametrize("world", CHEAP, ids=world_id)
def test_two_orders_keep_the_points_of_stacks(world: World) -> None:
    report = check_stack(
        world.recipes, make_env=world.make, orders=SOME_ORDERS, points=_POINTS, steps=24
    )
    assert report.works == list(SOME_ORDERS)
    # Actions of a Box have no masks; what a recorder cannot write is the mission of MiniGrid.
    expected = {"Pendulum-v1": {Point.STACK_MASKS}, DOOR_KEY.env_id: {Point.STACK_ACTIONS}}
    assert report.skipped.keys() == expected.get(world.env_id, set())


def test_a_stack_and_its_twin_keep_the_whole_contract() -> None:
    order = SOME_ORDERS[1]
    report = check_stack(
        CART_POLE.recipes,
        make_env=CART_POLE.make,
        vector_factories=CART_POLE.recipes,
        orders=[order],
        steps=24,
    )
    assert report.works == [order]
    assert not report.vector_refused


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("world", WORLDS, ids=world_id)
def test_every_order_keeps_the_whole_contract(world: World) -> None:
    # What a world of its own compiles, or builds for seconds, is checked in two orders.
    orders = SOME_ORDERS if world.is_dear else ORDERS
    report = check_stack(
        world.recipes,
        make_env=world.make,
        vector_factories=world.recipes,
        orders=orders,
        steps=40,
    )
    assert report.works == list(orders)
    assert not report.vector_refused


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("order", SOME_ORDERS, ids=world_id)
def test_a_stack_around_the_native_vector_is_the_twin_of_single_ones(order: Sequence[str]) -> None:
    def native(envs: Any) -> Any:
        mode = envs.metadata["autoreset_mode"]
        bare = CraftaxClassicVectorEnv(envs.num_envs, autoreset_mode=mode, **CRAFTAX.options)
        return CRAFTAX.stack(order, bare)

    single = partial(CRAFTAX.stack, order)
    check_vector_wrapper(native, single, make_env=CRAFTAX.make, n=2)


# --- training ---


def _learner(kind: type[Any], env: Any) -> Any:
    is_dict = isinstance(env.observation_space, gym.spaces.Dict)
    return kind(
        "MultiInputPolicy" if is_dict else "MlpPolicy",
        env,
        n_steps=64,
        batch_size=64,
        n_epochs=1,
        policy_kwargs={"net_arch": [16]},
        device="cpu",
        seed=1,
    )


def _learnable(world: World, order: Sequence[str]) -> Any:
    """Return a stack that a policy can learn from; what changes observations is outermost."""
    env = world.stack(order, world.make())
    if world is DOOR_KEY:
        shown = [key for key in env.observation_space.spaces if key != "mission"]
        env = gym.wrappers.FilterObservation(env, shown)
    return env if world is CART_POLE else gym.wrappers.FlattenObservation(env)


def _trains_saves_loads_and_goes_on(
    world: World, order: Sequence[str], kind: type[Any], folder: Path
) -> None:
    model = _learner(kind, _learnable(world, order))
    model.learn(128, callback=GuidanceCallback())
    model.save(folder / "model")
    save_guidance(model.get_env(), folder / "guidance.json")
    counted = _steps(model)
    again = kind.load(folder / "model", env=_learnable(world, order), device="cpu")
    load_guidance(again.get_env(), folder / "guidance.json")
    assert _steps(again) == counted >= 128
    again.learn(64, callback=GuidanceCallback(), reset_num_timesteps=False)
    assert again.num_timesteps == 192
    assert _steps(again) >= counted + 64
    stats = again.get_env().env_method("all_stats")[0]
    assert lost(stats) == []
    assert again.get_env().env_method("unguided") == [[]]
    before, after = (each.policy.state_dict() for each in (model, again))
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def _steps(model: Any) -> int:
    stats = model.get_env().env_method("all_stats")[0]
    steps: int = stats["CriticalStateOverrideWrapper"]["steps"]
    return steps


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    # Small networks are slower on many threads, and other tests run beside this one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


KINDS = [PPO, MaskablePPO]
_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_one_order_trains_saves_loads_and_goes_on(tmp_path: Path) -> None:
    _trains_saves_loads_and_goes_on(CART_POLE, ORDERS[-1], PPO, tmp_path)


@pytest.mark.slow
@_kinds
@pytest.mark.parametrize("order", ORDERS, ids=world_id)
def test_every_order_trains_saves_loads_and_goes_on(
    kind: type[Any], order: Sequence[str], tmp_path: Path
) -> None:
    _trains_saves_loads_and_goes_on(CART_POLE, order, kind, tmp_path)


@pytest.mark.slow
@_kinds
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("order", SOME_ORDERS, ids=world_id)
@pytest.mark.parametrize("world", [FROZEN_LAKE, DOOR_KEY, PENDULUM, CRAFTER, CRAFTAX], ids=world_id)
def test_two_orders_train_in_each_world(
    world: World, kind: type[Any], order: Sequence[str], tmp_path: Path
) -> None:
    if world is PENDULUM and kind is MaskablePPO:
        pytest.skip("actions of a Box have no masks")
    _trains_saves_loads_and_goes_on(world, order, kind, tmp_path)


def test_a_vector_stack_trains_saves_loads_and_goes_on(tmp_path: Path) -> None:
    def build() -> Any:
        return as_vec_env(CART_POLE.stack(ORDERS[5], CART_POLE.make_vec()))

    model = _learner(MaskablePPO, build())
    model.learn(128, callback=GuidanceCallback())
    model.save(tmp_path / "model")
    save_guidance(model.get_env(), tmp_path / "guidance.json")
    again = MaskablePPO.load(tmp_path / "model", env=build(), device="cpu")
    load_guidance(again.get_env(), tmp_path / "guidance.json")
    assert _steps(again) == _steps(model) >= 128
    again.learn(128, callback=GuidanceCallback(), reset_num_timesteps=False)
    stats: Mapping[str, Mapping[str, Any]] = again.get_env().env_method("all_stats")[0]
    assert lost(stats) == []


def test_masked_policies_never_choose_what_the_stack_closes() -> None:
    env = CART_POLE.stack(("ultra", "sgrl", "lmgt", "ellm"), CART_POLE.make())
    model = _learner(MaskablePPO, env).learn(64)
    observation, _ = env.reset(seed=3)
    for _ in range(30):
        masks = env.get_wrapper_attr("action_masks")()
        action, _ = model.predict(observation, action_masks=masks)
        assert masks[int(np.asarray(action))]
        observation, _, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            observation, _ = env.reset()
