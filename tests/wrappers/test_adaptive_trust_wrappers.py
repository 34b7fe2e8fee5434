"""Adaptive trust in the wrappers: harmful guidance loses it, helpful guidance earns it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from wrapper_doubles import TellingCaptioner, always, with_goal

from llm_wrappers import wrappers
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.trust import AdaptiveTrust
from llm_wrappers.wrappers import vector

QUICK = {"kind": "adaptive", "window": 5, "memory": 30, "step": 0.5}
SURE = {**QUICK, "start": 1.0}
EPISODES = 90
HALF = {**QUICK, "start": 0.5, "schedule": 0.7}


def _paying_step(env: ScriptedEnv, action: Any) -> Any:
    return env.draw(action), float(np.ravel(action)[0]), env.steps >= 4, False, {}


def paying(action_space: gym.Space[Any] | None = None) -> ScriptedEnv:
    """Return an environment that pays the action, for four steps."""
    space = gym.spaces.Discrete(2) if action_space is None else action_space
    return ScriptedEnv(action_space=space, step_func=_paying_step)


def likes(wanted: int) -> Any:
    """Return a judge that approves of one action only."""
    return lambda states, actions: [1 if int(action) == wanted else -1 for action in actions]


def play(env: gym.Env[Any, Any], episodes: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Play with random open actions; return what came of each step."""
    rng, seen = np.random.default_rng(seed), []
    for number in range(episodes):
        env.reset(seed=seed if number == 0 else None)
        over = False
        while not over:
            action: Any = rng.uniform(0.0, 1.0, (1,)).astype(np.float32)
            if isinstance(env.action_space, gym.spaces.Discrete):
                mask = np.ones(env.action_space.n, dtype=bool)
                if env.has_wrapper_attr("action_masks"):
                    mask = env.get_wrapper_attr("action_masks")()
                action = int(rng.choice(np.flatnonzero(mask)))
            _, reward, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            seen.append({**info, "reward": reward, "over": over})
    return seen


def shifted(judge: Any, env: gym.Env[Any, Any] | None = None, **options: Any) -> Any:
    options.setdefault("schedule", QUICK)
    return wrappers.RewardShiftWrapper(paying() if env is None else env, judge=judge, **options)


def similar(suggestion: str, **options: Any) -> Any:
    env = paying()
    captioner = TellingCaptioner(env.observation_space, env.action_space)
    options = {"combine": "add", "schedule": QUICK, "novelty": False, **options}
    return wrappers.SimilarityRewardWrapper(
        env, suggester=[suggestion], captioner=captioner, **options
    )


def masked(open_action: int, **options: Any) -> Any:
    env = with_goal(paying(), planner=always("left"), goals=["left"])
    options = {"schedule": QUICK, **options}
    return wrappers.ActionMaskWrapper(env, masks={"left": [open_action]}, **options)


def bounded(low: float, high: float, **options: Any) -> Any:
    box = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    env = with_goal(paying(box), planner=always("left"), goals=["left"])
    options = {"schedule": QUICK, **options}
    return wrappers.ActionBoundsWrapper(env, bounds={"left": (low, high)}, **options)


HELPFUL = {
    "judge": partial(shifted, likes(1)),
    "suggestion": partial(similar, "go right"),
    "mask": partial(masked, 1),
    "resampled": partial(masked, 1, enforce="resample"),
    "bounds": partial(bounded, 0.9, 1.0),
}
HARMFUL = {
    "judge": partial(shifted, likes(0)),
    "suggestion": partial(similar, "go left"),
    "mask": partial(masked, 0),
    "resampled": partial(masked, 0, enforce="resample"),
    "bounds": partial(bounded, 0.0, 0.1),
}


def trust_of(env: Any) -> float:
    trust: float = env.stats()["trust"]
    return trust


class TestTrust:
    @pytest.mark.parametrize("make", HELPFUL.values(), ids=HELPFUL)
    def test_helpful_guidance_earns_it(self, make):
        env = make()
        play(env, EPISODES)
        assert trust_of(env) == 1.0
        assert env.stats()["trust_episodes"] == EPISODES

    @pytest.mark.parametrize("make", HARMFUL.values(), ids=HARMFUL)
    def test_harmful_guidance_loses_it_and_never_earns_it(self, make):
        sure, wary = make(schedule=SURE), make()
        play(sure, EPISODES)
        play(wary, EPISODES)
        assert (trust_of(sure), trust_of(wary)) == (0.0, 0.0)
        assert wary.stats()["trust_raised"] == 0

    @pytest.mark.parametrize("options", [{}, {"center": True}, {"only": "positive"}], ids=str)
    def test_approval_of_everything_earns_nothing(self, options):
        env = shifted("constant:1", **options)
        play(env, 60)
        assert env.stats()["trust_evidence"] == 0.0
        assert trust_of(env) == 0.0

    def test_judgements_of_a_dropped_sign_are_no_evidence(self):
        env = shifted(lambda states, actions: [-int(a == 0) for a in actions], only="positive")
        play(env, 60)
        assert env.stats()["trust_evidence"] == 0.0

    def test_what_counts_is_what_the_environment_pays_not_the_layers_below(self):
        """The layer below pays ten times as much for the wrong action."""
        below = shifted(likes(0), schedule=1.0, scale=10.0)
        env = shifted(likes(0), below, schedule=SURE)
        play(env, 60)
        assert trust_of(env) == 0.0


class TestWhatTrustDoes:
    def test_rewards_are_shifted_by_scale_times_schedule_times_trust(self):
        env = shifted(likes(1), scale=2.0, schedule={**QUICK, "schedule": 0.5})
        seen = play(env, EPISODES)
        for step in seen:
            assert step["reward"] == step["extrinsic_reward"] + step["reward_shift"]
        sizes = [abs(step["reward_shift"]) for step in seen]
        assert sizes[:20] == [0.0] * 20
        assert set(sizes) == {0.0, 0.5, 1.0}
        assert sizes[-1] == 1.0 == env.stats()["weight"]

    def test_the_last_step_of_an_episode_is_shifted_by_the_trust_it_was_taken_with(self):
        """Also where trust is lost with that step."""
        env = shifted(likes(0), schedule={**SURE, "step": 1.0})
        seen = play(env, 10)
        weights = [abs(step["reward_shift"]) for step in seen]
        changes = [at for at in range(1, len(weights)) if weights[at] != weights[at - 1]]
        assert weights[0] == 1.0
        assert len(changes) == 1
        assert seen[changes[0] - 1]["over"]
        assert [s["reward"] - s["extrinsic_reward"] for s in seen] == [
            s["reward_shift"] for s in seen
        ]

    def test_similarity_is_multiplied_with_trust(self):
        env = similar("go right")
        seen = play(env, EPISODES)
        assert seen[0]["reward"] == seen[0]["extrinsic_reward"]
        last = [step for step in seen[-20:] if step["similarity_reward"]]
        assert last
        assert all(step["reward"] == step["extrinsic_reward"] + 1.0 for step in last)

    @pytest.mark.parametrize(("open_action", "probe"), [(0, 0.2), (1, 0.2), (0, 0.0)])
    def test_trust_is_the_share_of_guided_episodes_but_for_the_probes(self, open_action, probe):
        env = masked(open_action, schedule={**SURE, "probe": probe, "window": 10})
        seen = play(env, 300)
        guided = [step["mask_applied"] for step in seen if step["over"]][100:]
        wanted = 1.0 - probe if open_action == 1 or probe == 0.0 else probe
        assert np.mean(guided) == pytest.approx(wanted, abs=0.08)

    def test_an_episode_is_guided_as_a_whole_or_not_at_all(self):
        seen = play(masked(1, schedule={**QUICK, "start": 0.5, "confidence": 1000.0}), 60)
        episodes = np.array([step["mask_applied"] for step in seen]).reshape(-1, 4)
        shares = episodes.mean(axis=1)
        assert set(shares.tolist()) == {0.0, 1.0}
        assert 0.2 < shares.mean() < 0.8

    def test_in_a_guided_episode_the_schedule_holds(self):
        schedule = {"kind": "adaptive", "schedule": 0.5, "start": 1.0, "probe": 0.0, "window": 999}
        env = masked(1, schedule=schedule)
        applied = [step["mask_applied"] for step in play(env, 200)]
        assert np.mean(applied) == pytest.approx(0.5, abs=0.06)
        env.set_progress(0.5)
        assert env.stats()["xi"] == 0.5

    def test_an_episode_that_was_broken_off_is_not_counted(self):
        env = shifted(likes(1))
        env.reset(seed=0)
        env.step(1)
        play(env, 1)
        state = env.state_dict()["parts"]["trust"]["adaptive_trust"]
        assert state["episodes"] == 1
        assert state["pairs"][0][1] <= 4.0

    def test_only_judged_steps_are_in_the_mean(self):
        """With a judge that is asked in every other step, approval of those two is whole."""
        env = shifted("constant:1", consult_every=2)
        play(env, 1)
        assert env.state_dict()["parts"]["trust"]["adaptive_trust"]["pairs"][0][0] == 1.0


VECTORS = {
    "judge": (
        partial(wrappers.RewardShiftWrapper, judge=likes(1), schedule=QUICK),
        partial(vector.RewardShiftWrapper, judge=likes(1), schedule=QUICK),
    ),
    "suggestion": (
        lambda env: wrappers.SimilarityRewardWrapper(env, **_similar(env, "")),
        lambda env: vector.SimilarityRewardWrapper(env, **_similar(env, "single_")),
    ),
    "mask": (
        lambda env: wrappers.ActionMaskWrapper(_goal(env), **_MASK),
        lambda env: vector.ActionMaskWrapper(_goals(env), **_MASK),
    ),
    "bounds": (
        lambda env: wrappers.ActionBoundsWrapper(_goal(env), **_BOUNDS),
        lambda env: vector.ActionBoundsWrapper(_goals(env), **_BOUNDS),
    ),
}
_MASK = {"masks": {"left": [1]}, "schedule": HALF, "enforce": "resample"}
_BOUNDS = {"bounds": {"left": (0.8, 1.0)}, "schedule": HALF}


def _similar(env: Any, prefix: str) -> dict[str, Any]:
    spaces = [getattr(env, f"{prefix}{name}_space") for name in ("observation", "action")]
    return {
        "suggester": ["go right"],
        "captioner": TellingCaptioner(*spaces),
        "combine": "add",
        "novelty": False,
        "schedule": QUICK,
    }


def _goal(env: Any) -> Any:
    return wrappers.GoalObservationWrapper(env, planner=always("left"), goals=["left"])


def _goals(envs: Any) -> Any:
    return vector.GoalObservationWrapper(envs, planner=always("left"), goals=["left"])


def _space(kind: str) -> gym.Space[Any] | None:
    return gym.spaces.Box(0.0, 1.0, (1,), np.float32) if kind == "bounds" else None


def _actions(kind: str, number: int, n: int) -> Any:
    rng = np.random.default_rng(number)
    if kind == "bounds":
        return rng.uniform(0.0, 1.0, (n, 1)).astype(np.float32)
    return rng.integers(0, 2, n)


def _step_all(envs: Any, kind: str, steps: int, mode: AutoresetMode) -> list[float]:
    """Step with numbered actions, which a step that only shows a new episode does not use up."""
    envs.reset(seed=5)
    rewards: list[float] = []
    ended, number = False, 0
    while number < steps:
        _, reward, terminated, truncated, _ = envs.step(_actions(kind, number, envs.num_envs))
        if not (ended and mode == AutoresetMode.NEXT_STEP):
            rewards.append(float(reward[0]))
            number += 1
            ended = bool((terminated | truncated)[0])
        else:
            ended = False
        if ended and mode == AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": terminated | truncated})
    return rewards


class TestVectors:
    @pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
    @pytest.mark.parametrize("kind", VECTORS)
    def test_one_sub_environment_learns_what_a_single_environment_learns(self, kind, mode):
        single, vectorised = VECTORS[kind]
        env = single(paying(_space(kind)))
        env.reset(seed=5)
        rewards = []
        for number in range(120):
            _, reward, terminated, *_ = env.step(_actions(kind, number, 1)[0])
            rewards.append(float(reward))
            if terminated:
                env.reset()
        envs = vectorised(
            gym.vector.SyncVectorEnv([partial(paying, _space(kind))], autoreset_mode=mode)
        )
        assert _step_all(envs, kind, 120, mode) == rewards
        assert env.stats()["trust_raised"] > 0
        for name in ("trust", "trust_evidence", "trust_episodes", "trust_raised"):
            assert envs.stats()[name] == env.stats()[name]

    @pytest.mark.parametrize("kind", VECTORS)
    def test_sub_environments_share_their_evidence(self, kind):
        mode = AutoresetMode.SAME_STEP
        envs = VECTORS[kind][1](
            gym.vector.SyncVectorEnv([partial(paying, _space(kind))] * 4, autoreset_mode=mode)
        )
        _step_all(envs, kind, 100, mode)
        assert envs.stats()["trust"] == 1.0
        assert envs.stats()["trust_episodes"] == 100

    def test_episodes_of_a_row_are_guided_one_by_one(self):
        schedule = {**QUICK, "start": 0.5, "confidence": 1000.0}
        envs = vector.ActionMaskWrapper(
            _goals(gym.vector.SyncVectorEnv([paying] * 4)), masks={"left": [1]}, schedule=schedule
        )
        _, infos = envs.reset(seed=0)
        drawn = [infos["mask_applied"]]
        for number in range(60):
            *_, infos = envs.step(_actions("mask", number, 4))
            drawn.append(infos["mask_applied"])
        applied = np.array(drawn)
        assert any(len(set(row.tolist())) == 2 for row in applied)
        # Five states of an episode: the reset and four steps.
        episodes = applied[:60].reshape(-1, 5, 4)
        assert (episodes == episodes[:, :1]).all()


class TestState:
    @pytest.mark.parametrize("make", HELPFUL.values(), ids=HELPFUL)
    def test_trust_is_saved_and_restored(self, make):
        env, other = make(), make()
        play(env, 60)
        other.load_state_dict(json.loads(json.dumps(env.state_dict())))
        assert other.stats() == env.stats()
        assert other.state_dict() == env.state_dict()
        one, two = play(env, 40, seed=9), play(other, 40, seed=9)
        assert [step["reward"] for step in one] == [step["reward"] for step in two]

    @pytest.mark.parametrize("make", HELPFUL.values(), ids=HELPFUL)
    def test_the_state_of_another_kind_of_schedule_is_refused_and_changes_nothing(self, make):
        adaptive, plain = make(), make(schedule=1.0)
        play(adaptive, 20)
        before = plain.state_dict()
        with pytest.raises(InvalidOptionError, match="with an adaptive trust"):
            plain.load_state_dict(adaptive.state_dict())
        with pytest.raises(InvalidOptionError, match="without an adaptive trust"):
            adaptive.load_state_dict(before)
        assert plain.state_dict() == before

    def test_wrappers_do_not_share_an_object(self):
        schedule = AdaptiveTrust(**{key: value for key, value in QUICK.items() if key != "kind"})
        one, other = shifted(likes(1), schedule=schedule), shifted(likes(1), schedule=schedule)
        play(one, 60)
        assert (trust_of(one), trust_of(other), schedule.trust) == (1.0, 0.0, 0.0)

    @pytest.mark.parametrize("name", ["judge", "suggestion", "mask", "bounds"])
    def test_a_plain_schedule_reports_no_trust(self, name):
        env = HELPFUL[name](schedule=0.5)
        play(env, 2)
        assert "trust" not in env.stats()
        assert "adaptive_trust" not in env.state_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            partial(shifted, lambda states: [0.0] * len(states), mode="potential", gamma=0.9),
            "leaves the best policy as it is",
        ),
        (partial(similar, "go right", combine="replace"), 'use combine="add"'),
        (partial(masked, 1, enforce="penalty"), 'use "mask" or "resample"'),
        (
            partial(shifted, likes(1), schedule=1.0, consult_probability=QUICK),
            "nothing reports them here",
        ),
    ],
    ids=["potential", "replaced rewards", "penalty", "consultation"],
)
def test_where_nothing_can_be_learned_trust_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        make()
