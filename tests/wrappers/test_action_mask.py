"""What each option of the mask wrapper does, and which actions it leaves open when."""

from __future__ import annotations

import json
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution
from wrapper_doubles import (
    GOALS,
    MASKS,
    MULTI_BINARY,
    MULTI_BINARY_MASKS,
    MULTI_DISCRETE,
    MULTI_DISCRETE_MASKS,
    EnvWithMasks,
    always,
    counting_env,
    episodes,
    stable_id,
    with_goal,
)

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.testing import ScriptedEnv, make_scripted_env
from llm_wrappers.worlds.crafter.captioner import CrafterFamilyCaptioner
from llm_wrappers.wrappers import ActionMaskWrapper, vector

FALLING = {"kind": "linear", "start": 1.0, "end": 0.0}


def masked(
    goal: str = "left",
    *,
    masks: Any = MASKS,
    env: gym.Env[Any, Any] | None = None,
    **options: Any,
) -> ActionMaskWrapper:
    """Return an environment that always has this goal, with its mask."""
    base = counting_env(1_000) if env is None else env
    return ActionMaskWrapper(with_goal(base, always(goal)), masks=masks, **options)


def open_actions(env: ActionMaskWrapper) -> list[int]:
    return np.flatnonzero(env.action_masks()).tolist()


class EnvWithGoal(ScriptedEnv):
    """It sets its own goals and knows no vocabulary."""

    goal: Any = "left"

    def current_goal(self) -> Any:
        return self.goal


# --- one test per option ---


@pytest.mark.parametrize("actions", [["push left"], [0], [True, False], np.array([True, False])])
def test_masks_may_hold_names_indices_or_booleans(actions: Any) -> None:
    env = masked(env=gym.make("CartPole-v1"), masks={"left": actions})
    env.reset(seed=0)
    assert env.action_masks().dtype == np.bool_
    assert env.action_masks().tolist() == [True, False]


def test_masks_may_be_a_file_or_a_name(tmp_path: Any) -> None:
    (tmp_path / "masks.json").write_text(json.dumps({"left": [2], "right": [0]}))
    env = masked(masks=f"file:{tmp_path / 'masks.json'}")
    env.reset(seed=0)
    assert open_actions(env) == [2]
    nothing = masked(masks="none")
    nothing.reset(seed=0)
    assert open_actions(nothing) == [0, 1, 2]
    assert nothing.stats()["masked_states"] == 0
    wide = counting_env(action_space=gym.spaces.Discrete(30))
    chance = masked(env=wide, masks="random")
    chance.reset(seed=0)
    assert 5 < len(open_actions(chance)) < 25
    shuffled = masked(masks=f"shuffled:file:{tmp_path / 'masks.json'}")
    shuffled.reset(seed=0)
    assert open_actions(shuffled) == [0]


def test_schedule_is_the_share_of_steps_at_which_the_mask_applies() -> None:
    shares = {}
    for xi in (0.0, 0.3, 1.0):
        env = masked(schedule=xi)
        infos = [info for _, info in episodes(env, [0] * 999)]
        shares[xi] = np.mean([info["mask_applied"] for info in infos])
        assert env.stats()["xi"] == xi
        assert env.stats()["masked_share"] == pytest.approx(shares[xi])
    assert shares[0.0] == 0.0
    assert shares[1.0] == 1.0
    assert abs(shares[0.3] - 0.3) < 0.05


@pytest.mark.parametrize("schedule", [FALLING, lambda progress: 1.0 - progress])
def test_schedule_follows_the_progress(schedule: Any) -> None:
    env = masked(schedule=schedule)
    for progress, xi in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        env.set_progress(progress)
        assert env.stats()["xi"] == xi
    env.reset(seed=0)
    env.step(0)
    assert open_actions(env) == [0, 1, 2]


@pytest.mark.parametrize(
    ("space", "masks", "chosen", "closed"),
    [
        (gym.spaces.Discrete(3), {"left": [0]}, np.int64(2), [True]),
        (gym.spaces.Discrete(3, start=5), {"left": [0]}, np.int64(7), [True]),
        (MULTI_DISCRETE, MULTI_DISCRETE_MASKS, np.array([2, 0]), [True, False]),
        (MULTI_DISCRETE, MULTI_DISCRETE_MASKS, np.array([1, 1]), [True, True]),
        (
            gym.spaces.MultiDiscrete([3, 2], start=[4, -1]),
            MULTI_DISCRETE_MASKS,
            np.array([6, -1]),
            [True, False],
        ),
        (MULTI_BINARY, MULTI_BINARY_MASKS, np.array([1, 0, 1], np.int8), [True, False, True]),
    ],
    ids=stable_id,
)
def test_resample_replaces_the_closed_parts_of_an_action(
    space: gym.Space[Any], masks: Any, chosen: Any, closed: list[bool]
) -> None:
    base = counting_env(1_000, action_space=space)
    env = masked(env=base, masks=masks, enforce="resample")
    env.reset(seed=0)
    given = chosen.copy()
    _, _, _, _, info = env.step(chosen)
    np.testing.assert_array_equal(chosen, given)
    executed = base.actions[-1]
    assert executed in space
    changed = np.atleast_1d(executed != chosen).tolist()
    assert changed == closed
    assert info["action_was_open"] is False
    assert info["executed_action"] == pytest.approx(executed)
    env.step(executed)
    np.testing.assert_array_equal(base.actions[-1], executed)
    assert env.stats()["forbidden_actions"] == 1


def test_resample_draws_among_the_open_actions_alike() -> None:
    base = counting_env(5_000)
    env = masked("right", env=base, enforce="resample")
    episodes(env, [0] * 1_000)
    counts = np.bincount(base.actions, minlength=3)
    assert counts[0] == 0
    assert abs(counts[1] - 500) < 80


@pytest.mark.parametrize(("options", "taken_off"), [({}, 0.1), ({"penalty": 2.5}, 2.5)])
@pytest.mark.parametrize(
    ("space", "masks", "open_one", "closed_one"),
    [
        (gym.spaces.Discrete(3), MASKS, 0, 1),
        (MULTI_DISCRETE, MULTI_DISCRETE_MASKS, np.array([0, 0]), np.array([0, 1])),
        (MULTI_BINARY, MULTI_BINARY_MASKS, np.array([0, 0, 0]), np.array([0, 0, 1])),
        (MULTI_BINARY, MULTI_BINARY_MASKS, np.zeros(3, np.float32), np.array([0.0, 0.0, 1.0])),
    ],
    ids=["discrete", "multi-discrete", "multi-binary", "bits as floats"],
)
def test_penalty_is_taken_off_the_reward_of_a_closed_action(
    space: Any, masks: Any, open_one: Any, closed_one: Any, options: Any, taken_off: float
) -> None:
    base = counting_env(1_000, action_space=space)
    env = masked(env=base, masks=masks, enforce="penalty", **options)
    env.reset(seed=0)
    for action, reward in ((open_one, 1.0), (closed_one, 1.0 - taken_off)):
        _, got, _, _, info = env.step(action)
        assert (got, info["extrinsic_reward"]) == (reward, 1.0)
        np.testing.assert_array_equal(base.actions[-1], action)


def test_mask_only_offers_itself() -> None:
    base = counting_env(1_000)
    env = masked(env=base, enforce="mask", penalty=5.0)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(2)
    assert (base.actions, reward, info["action_was_open"]) == ([2], 1.0, False)
    assert "executed_action" not in info


# --- what the user got wrong ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"masks": "gpt"}, UnknownNameError, "expected one of reference:NAME, file:PATH, random"),
        ({"masks": "file:/nowhere/masks.json"}, GuidanceFileError, "/nowhere/masks.json"),
        ({"masks": [0, 1]}, InvalidOptionError, "expected a dict of goal -> actions"),
        ({"masks": {"fly": [0]}}, InvalidOptionError, "vocabulary ['left', 'right', 'wait'], got"),
        ({"masks": {"left": 0}}, InvalidOptionError, "must be a list of actions, got 0"),
        ({"masks": {"left": []}}, InvalidOptionError, "'left' leaves no action open"),
        ({"masks": {"left": [3]}}, InvalidOptionError, "indices in 0..2, got 3"),
        ({"masks": {"left": ["jump"]}}, InvalidOptionError, "names action 'jump'; known names"),
        ({"schedule": 1.5}, InvalidOptionError, "in [0, 1], got 1.5"),
        ({"enforce": "clip"}, InvalidOptionError, "('mask', 'resample', 'penalty'), got 'clip'"),
        ({"penalty": -1.0}, InvalidOptionError, "a finite number >= 0, got -1.0"),
    ],
    ids=stable_id,
)
def test_a_wrong_option_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    vector_goal = vector.GoalObservationWrapper(
        gym.vector.SyncVectorEnv([make_scripted_env]), planner=always("left"), goals=GOALS
    )
    for env, wrapper in (
        (with_goal(), ActionMaskWrapper),
        (vector_goal, vector.ActionMaskWrapper),
    ):
        with pytest.raises(error, match=re.escape(message)):
            wrapper(env, **{"masks": MASKS, **options})


@pytest.mark.parametrize(
    ("space", "masks", "message"),
    [
        (gym.spaces.Box(-1, 1, (1,)), {}, "for continuous actions use ActionBoundsWrapper"),
        (gym.spaces.Tuple([gym.spaces.Discrete(2)]), {}, "actions can be masked"),
        (gym.spaces.MultiBinary([2, 2]), {}, "actions can be masked"),
        (MULTI_DISCRETE, {"left": [0, 1, 2]}, "'left' leaves no action open"),
    ],
    ids=stable_id,
)
def test_an_action_space_without_masks_is_refused(space: Any, masks: Any, message: str) -> None:
    with pytest.raises((IncompatibleEnvironmentError, InvalidOptionError), match=message):
        masked(env=counting_env(action_space=space), masks=masks)


def test_a_goal_below_is_needed() -> None:
    with pytest.raises(
        IncompatibleEnvironmentError, match="in GoalObservationWrapper first, as in"
    ):
        ActionMaskWrapper(make_scripted_env(), masks=MASKS)
    with pytest.raises(IncompatibleEnvironmentError, match="no layer below has one"):
        vector.ActionMaskWrapper(gym.vector.SyncVectorEnv([make_scripted_env]), masks=MASKS)


@pytest.mark.parametrize(
    ("space", "masks", "action"),
    [
        (gym.spaces.Discrete(3), MASKS, 3),
        (gym.spaces.Discrete(3), MASKS, 0.5),
        (gym.spaces.Discrete(3), MASKS, None),
        (gym.spaces.Discrete(3), MASKS, np.array([0, 1])),
        (gym.spaces.Discrete(3, start=5), MASKS, 0),
        (MULTI_DISCRETE, MULTI_DISCRETE_MASKS, [0, 2]),
        (MULTI_BINARY, MULTI_BINARY_MASKS, [0, 0, 2]),
    ],
    ids=stable_id,
)
def test_an_action_outside_the_space_is_refused(space: Any, masks: Any, action: Any) -> None:
    env = masked(env=counting_env(action_space=space), masks=masks)
    env.reset(seed=0)
    with pytest.raises(InvalidOptionError, match=re.escape(f"expected an action in {space}, got")):
        env.step(action)


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan"), "half"])
def test_a_progress_outside_0_to_1_is_refused_and_changes_nothing(progress: Any) -> None:
    env = masked(schedule=FALLING)
    env.set_progress(0.5)
    with pytest.raises(InvalidOptionError, match="progress must be a number in"):
        env.set_progress(progress)
    assert env.stats()["xi"] == 0.5
    assert env.state_dict()["progress"] == 0.5


# --- the method of the paper ---


def probabilities(logits: torch.Tensor, mask: Any) -> torch.Tensor:
    distribution = MaskableCategoricalDistribution(len(logits))
    distribution.proba_distribution(logits[None])
    distribution.apply_masking(None if mask is None else mask[None])
    return distribution.distribution.probs[0]


def test_19_every_sampled_action_serves_the_goal_and_without_xi_the_policy_is_free() -> None:
    """Test 19."""
    logits = torch.tensor([2.0, 0.5, -1.0])
    tight, free = masked("right", schedule=1.0), masked("right", schedule=0.0)
    for env in (tight, free):
        env.reset(seed=0)
    pruned = probabilities(logits, tight.action_masks())
    sampled = torch.multinomial(pruned, 500, replacement=True)
    assert set(sampled.tolist()) <= set(MASKS["right"])
    torch.testing.assert_close(probabilities(logits, free.action_masks()), logits.softmax(0))
    # The actions that stay open keep their ratio.
    torch.testing.assert_close(pruned[1] / pruned[2], (logits[1] - logits[2]).exp())


@pytest.mark.parametrize("goal", ["no such goal", None, ""])
def test_21_an_unknown_goal_leaves_everything_open(goal: Any) -> None:
    """Test 21."""
    env = ActionMaskWrapper(EnvWithGoal(), masks=MASKS)
    env.unwrapped.goal = goal  # type: ignore[attr-defined]
    _, info = env.reset(seed=0)
    assert env.action_masks().all()
    assert info["mask_applied"] is False


def test_22_the_mask_is_drawn_once_per_step_and_is_of_the_goal_that_is_shown() -> None:
    """Test 22."""
    env = ActionMaskWrapper(
        with_goal(counting_env(1_000), "random", reselect="every_step"), masks=MASKS, schedule=0.5
    )
    seen = [env.reset(seed=0)]
    outcomes = set()
    for _ in range(200):
        first, second = env.action_masks(), env.action_masks()
        np.testing.assert_array_equal(first, second)
        first[:] = False
        np.testing.assert_array_equal(env.action_masks(), second)
        observation, info = seen[-1]
        goal = GOALS[int(observation["goal"].argmax())]
        expected = MASKS.get(goal, [0, 1, 2]) if info["mask_applied"] else [0, 1, 2]
        assert np.flatnonzero(second).tolist() == expected
        outcomes.add((goal, info["mask_applied"]))
        observation, _, _, _, info = env.step(1)
        seen.append((observation, info))
    assert outcomes == {(g, a) for g in ("left", "right") for a in (True, False)} | {
        ("wait", False)
    }


def test_22_reading_the_mask_does_not_move_the_coin() -> None:
    """Test 22: an evaluation that asks for masks more often sees the same ones."""
    once, often = masked(schedule=0.5), masked(schedule=0.5)
    for env in (once, often):
        env.reset(seed=3)
    for _ in range(50):
        for _ in range(5):
            often.action_masks()
        assert once.action_masks().tolist() == often.action_masks().tolist()
        once.step(0)
        often.step(0)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("collect iron", {1, 2, 3, 4, 5}),
        ("make stone pickaxe", {1, 2, 3, 4, 12}),
        ("wake up", {6}),
        ("eat cow", {1, 2, 3, 4, 5}),
    ],
)
@pytest.mark.parametrize("reference", ["craftax-classic", "crafter"])
def test_23_the_reference_masks_have_the_examples_of_the_prompt(
    reference: str, goal: str, expected: set[int]
) -> None:
    """Test 23: mine iron, make stone pickaxe, sleep, attack cow."""
    captioner = CrafterFamilyCaptioner(reference)
    base = counting_env(action_space=gym.spaces.Discrete(17))
    env = with_goal(
        base, always(goal), goals=captioner.description.goals, captioner=_Named(captioner)
    )
    env = ActionMaskWrapper(env, masks=f"reference:{reference}")
    env.reset(seed=0)
    assert set(open_actions(env)) == expected


class _Named:
    """The names of Crafter for an environment that has nothing else of it."""

    def __init__(self, captioner: CrafterFamilyCaptioner) -> None:
        self.description = captioner.description

    def facts(self, observations: Any, infos: Any) -> Any:
        return [{} for _ in observations]

    def state_captions(self, facts: Any) -> Any:
        raise NotImplementedError

    def transition_captions(self, before: Any, actions: Any, after: Any) -> Any:
        raise NotImplementedError


# --- masks below ---


def test_two_masks_hold_together() -> None:
    inner = masked(masks={"left": [0, 1]})
    env = ActionMaskWrapper(inner, masks={"left": [1, 2]})
    env.reset(seed=0)
    assert open_actions(env) == [1]
    assert open_actions(inner) == [1], "each layer speaks for the whole stack"
    assert env.stats()["empty_intersections"] == 0


def test_two_masks_toss_coins_of_their_own() -> None:
    env = ActionMaskWrapper(
        masked(masks={"left": [0, 1]}, schedule=0.5), masks={"left": [1, 2]}, schedule=0.5
    )
    env.reset(seed=0)
    seen = set()
    for _ in range(60):
        env.step(1)
        seen.add(tuple(open_actions(env)))
    assert seen == {(0, 1, 2), (0, 1), (1, 2), (1,)}


def test_masks_of_the_environment_are_kept() -> None:
    base = EnvWithMasks()
    env = masked("right", env=base)
    env.reset(seed=0)
    for _ in range(30):
        below = base.action_masks()
        expected = below & [False, True, True]
        np.testing.assert_array_equal(env.action_masks(), expected)
        *_, terminated, truncated, _ = env.step(1)
        if terminated or truncated:
            env.reset()


def test_a_mask_of_the_environment_may_be_a_list() -> None:
    class Listed(ScriptedEnv):
        def action_masks(self) -> list[bool]:
            return [True, True, False]

    env = masked("right", env=Listed())
    env.reset(seed=0)
    assert open_actions(env) == [1]


def test_where_nothing_is_left_the_mask_below_holds_and_it_is_counted() -> None:
    env = ActionMaskWrapper(masked(masks={"left": [0]}), masks={"left": [1, 2]}, enforce="resample")
    env.reset(seed=0)
    assert open_actions(env) == [0]
    *_, info = env.step(2)
    assert info["executed_action"] == 0
    assert env.stats()["empty_intersections"] == 2
    assert env.stats()["empty_inner_masks"] == 0


def test_one_part_without_an_action_is_enough_to_fall_back() -> None:
    env = ActionMaskWrapper(
        masked(env=counting_env(action_space=MULTI_DISCRETE), masks={"left": [0, 1, 3]}),
        masks={"left": [1, 2, 4]},
    )
    env.reset(seed=0)
    assert open_actions(env) == [0, 1, 3]
    assert env.stats()["empty_intersections"] == 1


def test_an_empty_mask_below_opens_everything_and_is_counted() -> None:
    class Closed(ScriptedEnv):
        def action_masks(self) -> Any:
            return np.zeros(3, bool)

    env = masked("right", env=Closed())
    env.reset(seed=0)
    assert open_actions(env) == [1, 2]
    assert env.stats()["empty_inner_masks"] == 1
    unguided = masked("wait", env=Closed())
    unguided.reset(seed=0)
    assert open_actions(unguided) == [0, 1, 2]


def test_a_mask_below_of_another_length_is_refused() -> None:
    class Short(ScriptedEnv):
        def action_masks(self) -> Any:
            return np.ones(2, bool)

    with pytest.raises(
        IncompatibleEnvironmentError, match=r"mask of 3 flags.*got an array of shape .2,."
    ):
        masked(env=Short()).reset(seed=0)


# --- progress, state and stacks ---


def test_a_state_with_a_progress_outside_0_to_1_is_refused() -> None:
    env = masked()
    with pytest.raises(InvalidOptionError, match="progress must be a number in"):
        env.load_state_dict({**env.state_dict(), "progress": 2.0})
