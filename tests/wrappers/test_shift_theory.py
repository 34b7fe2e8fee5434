"""What shifts do to the best policy, solved exactly with the shifts the wrapper gives."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers import RewardShiftWrapper
from llm_wrappers.captions.generic import GenericCaptioner

GAMMA = 0.9
STATES, ACTIONS = 8, 3


class Tabular(gym.Env):
    """A process with probabilities (s, a, s'), rewards (s, a, s') and terminal states."""

    def __init__(self, probabilities, rewards, terminal=(), *, start=0, length=None):
        states, actions = probabilities.shape[:2]
        self.observation_space = gym.spaces.Discrete(states)
        self.action_space = gym.spaces.Discrete(actions)
        self.probabilities, self.rewards = probabilities, rewards
        self.terminal, self.start, self.length = frozenset(terminal), start, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.steps = self.start, 0
        return self.state, {}

    def step(self, action):
        old = self.state
        chances = self.probabilities[old, action]
        self.state = int(self.np_random.choice(len(chances), p=chances))
        self.steps += 1
        reward = float(self.rewards[old, action, self.state])
        return self.state, reward, self.state in self.terminal, self.steps == self.length, {}

    @property
    def captioner(self) -> Any:
        return GenericCaptioner(self.observation_space, self.action_space, env_id="Tabular")


def random_process(rng, *, states=8, actions=3):
    """Return probabilities and rewards; the last state is terminal."""
    probabilities = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    return probabilities, rng.normal(size=(states, actions, states))


def action_values(probabilities, rewards, terminal, gamma, *, sweeps=3000):
    """Return Q*, shape (states, actions), by value iteration."""
    going_on = np.array([state not in terminal for state in range(len(probabilities))])
    q = np.zeros(probabilities.shape[:2])
    for _ in range(sweeps):
        value = q.max(axis=1) * going_on
        updated = (probabilities * (rewards + gamma * value)).sum(axis=2)
        if np.abs(updated - q).max() < 1e-12:
            break
        q = updated
    return q


def best_actions(q, terminal):
    """Return the best action of each state that is not terminal."""
    return [int(row.argmax()) for state, row in enumerate(q) if state not in terminal]


class Forced(gym.Env):
    """It goes where it is told, so that the shift of any transition can be asked for."""

    observation_space = gym.spaces.Discrete(10_000)

    def __init__(self, actions):
        self.action_space = gym.spaces.Discrete(actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return options["state"], {}

    def step(self, action):
        state, terminated, truncated = self.then
        return state, 0.0, terminated, truncated, {}


def shifts(judge, *, states, actions, terminal=(), **options):
    """Return the wrapper's shift of each transition, shape (states, actions, states)."""
    forced = Forced(actions)
    env = RewardShiftWrapper(forced, judge=judge, **options)
    found = np.zeros((states, actions, states))
    for old in set(range(states)) - set(terminal):
        for action in range(actions):
            for new in range(states):
                env.reset(options={"state": old})
                forced.then = (new, new in terminal, False)
                found[old, action, new] = env.step(action)[1]
    return found


def by_state(values):
    return lambda states: [values[facts["obs"]] for facts in states.facts]


def by_pair(table):
    def judge(states, actions):
        rows = zip(states.facts, actions, strict=True)
        return [int(table[facts["obs"], action]) for facts, action in rows]

    return judge


class TestPotentialMode:
    def test_keeps_the_best_policy_of_random_processes(self):
        kept = 0
        for seed in range(80):
            rng = np.random.default_rng(seed)
            terminal = {STATES - 1}
            probabilities, rewards = random_process(rng, states=STATES, actions=ACTIONS)
            phi = rng.normal(scale=3.0, size=STATES)
            # The shift does not depend on the action, so that one is enough.
            shaped = rewards + shifts(
                by_state(phi), states=STATES, actions=1, terminal=terminal,
                mode="potential", gamma=GAMMA,
            )  # fmt: skip
            before = action_values(probabilities, rewards, terminal, GAMMA)
            after = action_values(probabilities, shaped, terminal, GAMMA)
            kept += best_actions(before, terminal) == best_actions(after, terminal)
            inner = [state for state in range(STATES) if state not in terminal]
            np.testing.assert_allclose(after[inner] + phi[inner, None], before[inner], atol=1e-9)
        assert kept == 80

    def test_a_raw_shift_does_not(self):
        kept = 0
        for seed in range(60):
            rng = np.random.default_rng(seed)
            terminal = {STATES - 1}
            probabilities, rewards = random_process(rng, states=STATES, actions=ACTIONS)
            table = rng.integers(-1, 2, size=(STATES, ACTIONS))
            shaped = rewards + shifts(
                by_pair(table), states=STATES, actions=ACTIONS, terminal=terminal
            )
            before = action_values(probabilities, rewards, terminal, GAMMA)
            after = action_values(probabilities, shaped, terminal, GAMMA)
            kept += best_actions(before, terminal) == best_actions(after, terminal)
        assert kept < 20

    def test_a_terminal_state_has_no_potential_and_a_cut_off_one_has(self):
        forced = Forced(1)
        env = RewardShiftWrapper(forced, judge=by_state([2.0, 5.0]), mode="potential", gamma=GAMMA)
        found = {}
        for terminated, truncated in ((True, False), (False, True), (True, True)):
            env.reset(options={"state": 0})
            forced.then = (1, terminated, truncated)
            found[terminated, truncated] = env.step(0)[1]
        assert found == pytest.approx(
            {(True, False): -2.0, (False, True): GAMMA * 5 - 2, (True, True): -2.0}
        )

    def test_a_weight_that_changes_still_telescopes(self):
        forced = Forced(1)
        phi = [1.0, 4.0, 2.0, 8.0]
        env = RewardShiftWrapper(
            forced, judge=by_state(phi), mode="potential", gamma=GAMMA,
            schedule={"kind": "linear", "start": 1.0, "end": 0.0},
        )  # fmt: skip
        env.reset(options={"state": 0})
        total, discount = 0.0, 1.0
        for step, state in enumerate((1, 2, 3)):
            env.set_progress(step / 4)
            forced.then = (state, state == 3, False)
            total += discount * env.step(0)[4]["reward_shift"]
            discount *= GAMMA
        assert total == pytest.approx(-phi[0])

    def test_shaping_is_another_beginning_of_the_values(self):
        """Wiewiora, 2003: Q-learning with shaping from Q0 = 0 is Q-learning from Q0 = Phi."""
        rng = np.random.default_rng(1)
        probabilities, rewards = random_process(rng, states=STATES, actions=ACTIONS)
        phi = rng.normal(size=STATES)
        bare = Tabular(probabilities, rewards, terminal={STATES - 1}, length=30)
        shaped = RewardShiftWrapper(
            Tabular(probabilities, rewards, terminal={STATES - 1}, length=30),
            judge=by_state(phi), mode="potential", gamma=GAMMA,
        )  # fmt: skip
        q_shaped = np.zeros((STATES, ACTIONS))
        q_begun = np.repeat(phi[:, None], ACTIONS, axis=1)
        learn(bare, q_begun, updates=5000)
        learn(shaped, q_shaped, updates=5000)
        inner = slice(0, STATES - 1)
        np.testing.assert_allclose(q_shaped[inner] + phi[inner, None], q_begun[inner], atol=1e-9)


class TestRawMode:
    def test_a_constant_shift_moves_all_values_alike(self):
        """Sun and others, 2022: a constant c moves each Q of a continuing task by c / (1 - g)."""
        probabilities, rewards = random_process(np.random.default_rng(0))
        shaped = rewards + shifts("constant:1", states=STATES, actions=ACTIONS, scale=0.7)
        before = action_values(probabilities, rewards, (), GAMMA)
        after = action_values(probabilities, shaped, (), GAMMA)
        np.testing.assert_allclose(after - before, 0.7 / (1 - GAMMA), atol=1e-9)

    @pytest.mark.parametrize(
        ("scale", "gamma", "only", "reaches"),
        [
            (0.01, 0.99, None, True), (0.05, 0.99, None, False), (0.1, 0.9, None, True),
            (0.5, 0.9, None, False), (0.05, 0.99, "negative", True), (1.0, 0.99, "negative", True),
        ],
    )  # fmt: skip
    def test_approval_can_be_worth_more_than_the_goal(self, scale, gamma, only, reaches):
        """On a 5x5 grid with a goal of 1, a judge that likes to go right and down."""
        probabilities, rewards, terminal = grid(5)
        judge = by_pair(np.tile([1, 1, -1, -1], (25, 1)))
        shaped = rewards + shifts(
            judge, states=25, actions=4, terminal=terminal, scale=scale, only=only
        )
        policy = action_values(probabilities, shaped, terminal, gamma).argmax(axis=1)
        assert (walk(probabilities, policy, terminal) == 8) is reaches


def learn(env, q, *, updates):
    """Q-learning in place, with actions that do not depend on the values."""
    actions = np.random.default_rng(7)
    state, _ = env.reset(seed=3)
    for _ in range(updates):
        action = int(actions.integers(q.shape[1]))
        new, reward, terminated, truncated, _ = env.step(action)
        target = reward + (0.0 if terminated else GAMMA * q[new].max())
        q[state, action] += 0.1 * (target - q[state, action])
        state = env.reset()[0] if terminated or truncated else new


def grid(size):
    """Return a deterministic grid: right, down, left, up; the goal is at the bottom right."""
    states = size * size
    probabilities, rewards = np.zeros((states, 4, states)), np.zeros((states, 4, states))
    for row in range(size):
        for column in range(size):
            for action, (down, right) in enumerate(((0, 1), (1, 0), (0, -1), (-1, 0))):
                there = min(max(row + down, 0), size - 1) * size + min(
                    max(column + right, 0), size - 1
                )
                probabilities[row * size + column, action, there] = 1.0
    rewards[:, :, states - 1] = 1.0
    return probabilities, rewards, {states - 1}


def walk(probabilities, policy, terminal, *, most=200):
    """Return how many steps the policy needs to the goal; None if it does not get there."""
    state = 0
    for steps in range(1, most):
        state = int(probabilities[state, policy[state]].argmax())
        if state in terminal:
            return steps
    return None
