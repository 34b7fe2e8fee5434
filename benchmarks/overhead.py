"""What the wrappers cost, as ratios within one run: `make bench`.

Arms take turns, several times, and the median of each is reported, because a laptop's speed drifts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import gymnasium as gym
import jax
import numpy as np
from craftax.craftax_env import make_craftax_env_from_name
from stable_baselines3.common.vec_env import DummyVecEnv

import llm_wrappers as lw
from llm_wrappers.scores import format_table
from llm_wrappers.wrappers import vector

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
CRAFTER = "llm_wrappers/Crafter-v1"
REFERENCE = "reference:craftax-classic"
N = 64
Step = Callable[[], None]


def bare_jitted_step(*, auto_reset: bool) -> Step:
    """Craftax's own environment under jit and vmap, driven as a user of JAX would from Python."""
    env = make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=auto_reset)
    params = env.default_params
    reset = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    key = jax.random.PRNGKey(0)
    _, state = reset(jax.random.split(key, N), params)
    generator = np.random.default_rng(0)

    def advance() -> None:
        nonlocal state, key
        key, sub = jax.random.split(key)
        observation, state, reward, done, _ = step(
            jax.random.split(sub, N), state, generator.integers(0, 17, N), params
        )
        np.asarray(observation), np.asarray(reward), np.asarray(done)

    return advance


def guided_bridge_step() -> Step:
    """Native vector env, goal and mask wrappers, SB3 bridge; masks asked for at each step."""
    envs = gym.make_vec(CRAFTAX, num_envs=N)
    envs = vector.GoalObservationWrapper(
        envs, planner=REFERENCE, selection="argmax", reselect="every_step"
    )
    return masked_step(lw.sb3.as_vec_env(vector.ActionMaskWrapper(envs, masks=REFERENCE)))


def guided_dummy_step() -> Step:
    """The same wrappers around single environments in SB3's DummyVecEnv."""

    def make() -> gym.Env:
        return lw.methods.sgrl.wrap(gym.make(CRAFTAX))

    return masked_step(DummyVecEnv([make] * N))


def masked_step(vec_env) -> Step:
    vec_env.seed(0)
    vec_env.reset()
    generator = np.random.default_rng(0)

    def advance() -> None:
        masks = np.stack(vec_env.env_method("action_masks"))
        scores = generator.random(masks.shape) * masks
        vec_env.step(scores.argmax(axis=1))

    return advance


def bare_vector_step() -> Step:
    """The native vector env alone, without wrappers and bridge."""
    envs = gym.make_vec(CRAFTAX, num_envs=N)
    envs.reset(seed=0)
    generator = np.random.default_rng(0)
    return lambda: envs.step(generator.integers(0, 17, N)) and None


def single_step(env: gym.Env) -> Step:
    env.reset(seed=0)
    generator = np.random.default_rng(0)

    def advance() -> None:
        *_, terminated, truncated, _ = env.step(int(generator.integers(17)))
        if terminated or truncated:
            raise RuntimeError("an episode ended: resets would be timed as steps")

    return advance


def endless(env_id: str) -> gym.Env:
    """An environment whose agent does not die, so that no reset is timed."""
    env = gym.make(env_id).unwrapped

    class Endless(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset()
            return observation, reward, False, False, info

    return Endless(env)


def compare(arms: Mapping[str, Step], *, steps: int, rounds: int) -> dict[str, float]:
    """Return the median seconds per step of each arm; the arms take turns."""
    for step in arms.values():
        for _ in range(20):
            step()
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, step in arms.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            times[name].append((time.perf_counter() - started) / steps)
    return {name: statistics.median(values) for name, values in times.items()}


def vectorised(rounds: int) -> None:
    arms = {
        "bare jit + vmap, no reset": bare_jitted_step(auto_reset=False),
        "bare jit + vmap, auto-reset": bare_jitted_step(auto_reset=True),
        "ours: vector env": bare_vector_step(),
        "ours: vector env + goal + mask + bridge": guided_bridge_step(),
    }
    seconds = compare(arms, steps=200, rounds=rounds)
    slow = compare({"DummyVecEnv of single envs": guided_dummy_step()}, steps=8, rounds=rounds)
    seconds.update({f"{name} + goal + mask": value for name, value in slow.items()})
    ours = seconds["ours: vector env + goal + mask + bridge"]
    rows = [
        {"arm": name, "steps/s": round(N / s), "ours is ... times as fast": f"{s / ours:.2f}"}
        for name, s in seconds.items()
    ]
    print(f"Craftax-Classic, {N} sub-environments, random actions\n\n{format_table(rows)}\n")


def single(env_id: str, reference: str, rounds: int, steps: int) -> None:
    def with_goal(env: gym.Env) -> gym.Env:
        return lw.GoalObservationWrapper(
            env, planner=reference, selection="argmax", reselect="every_step"
        )

    arms = {
        "bare": single_step(endless(env_id)),
        "goal": single_step(with_goal(endless(env_id))),
        "goal + mask": single_step(
            lw.ActionMaskWrapper(with_goal(endless(env_id)), masks=reference)
        ),
    }
    seconds = compare(arms, steps=steps, rounds=rounds)
    rows = [
        {
            "arm": name,
            "steps/s": round(1 / s),
            "time, times bare": f"{s / seconds['bare']:.3f}",
            "added, microseconds": round(1e6 * (s - seconds["bare"])),
        }
        for name, s in seconds.items()
    ]
    print(f"{env_id}, one environment, random actions\n\n{format_table(rows)}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often the arms take turns")
    options = parser.parse_args()
    vectorised(options.rounds)
    single(CRAFTER, "reference:crafter", options.rounds, steps=150)
    single(CRAFTAX, REFERENCE, options.rounds, steps=150)


if __name__ == "__main__":
    main()
