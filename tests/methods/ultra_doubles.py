"""Recorded episodes, and scripted models that read their answers out of what they are sent."""

from __future__ import annotations

import json
import re
from functools import cache

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.wrappers import TrajectoryRecorder

HEADING = re.compile(r"^## Episode (\d+): (\d+) steps", re.MULTILINE)
STEP = re.compile(r"^(>>> )?Step (\d+) \| (.*?) \| action: (.*?) \| reward: (.*)$", re.MULTILINE)
FALLING = re.compile(r"the pole .*(?:falling|swinging back) (left|right) at (\d+) degrees?/s")
TURNING = re.compile(r"(counter-)?clockwise at (\d+) degrees?/s")


@cache
def described(env_id):
    return resolve_captioner(gym.make(env_id)).description


@cache
def played(env_id, episodes=2, steps=30, captions=True):
    """Return episodes of a policy that acts at random."""
    env = TrajectoryRecorder(gym.make(env_id, max_episode_steps=steps), captions=captions)
    env.action_space.seed(1)
    for seed in range(episodes):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    return tuple(env.trajectories())


def prompt_of(body):
    """Return what a request asks, from the body of an HTTP request or from a `Request`."""
    messages = body["messages"] if isinstance(body, dict) else body.messages
    return messages[0]["content"]


def steps_of(prompt):
    """Return (episode, step, caption, action, reward, marked) of each line of a prompt."""
    found = []
    headings = list(HEADING.finditer(prompt))
    for place, heading in enumerate(headings):
        end = headings[place + 1].start() if place + 1 < len(headings) else len(prompt)
        for line in STEP.finditer(prompt[heading.end() : end]):
            mark, step, caption, action, reward = line.groups()
            row = int(heading[1]), int(step), caption, action, float(reward), bool(mark)
            found.append(row)
    return found


def identification(*states, analysis="It often pushes the wrong way."):
    """Return an answer as JSON; states are (episode, step) or (episode, step, importance)."""
    rows = [
        {"episode": episode, "step": step, "rationale": f"step {step} matters",
         "importance": rest[0] if rest else 0.5}
        for episode, step, *rest in states
    ]  # fmt: skip
    return json.dumps({"case_analysis": analysis, "states": rows})


def corrections(*rows):
    """Return an answer as JSON; rows are (episode, step, action, reward)."""
    return json.dumps(
        {
            "corrections": [
                {"episode": e, "step": s, "analysis": "So.", "action": action, "reward": reward}
                for e, s, action, reward in rows
            ]
        }
    )


def is_selection(prompt):
    return "Find the steps" in prompt


def cart_pole_model(body):
    """Answer about CartPole, from nothing but the text: push where the pole is falling."""
    prompt = prompt_of(body)
    if not is_selection(prompt):
        rows = [row for row in steps_of(prompt) if row[-1]]
        sides = [FALLING.search(row[2]) or ("", "left") for row in rows]
        return corrections(
            *((*row[:2], f"push {side[1]}", -0.5) for row, side in zip(rows, sides, strict=True))
        )
    wrong = [
        (episode, step, min(1.0, int(falling[2]) / 500))
        for episode, step, words, action, *_ in steps_of(prompt)
        if (falling := FALLING.search(words)) and action != f"push {falling[1]}"
    ]
    return "I looked at each step.\n\n```json\n" + identification(*wrong) + "\n```"


def pendulum_model(body):
    """Answer about Pendulum, from nothing but the text: brake harder than the motor can."""
    prompt = prompt_of(body)
    rows = steps_of(prompt)
    if not is_selection(prompt):
        braking = {None: 5.0, "counter-": -5.0}
        return corrections(
            *((e, s, [braking[TURNING.search(words)[1]]], 0.5) for e, s, words, *_, m in rows if m)
        )
    fast = [row[:2] for row in rows if (turn := TURNING.search(row[2])) and int(turn[2]) > 20]
    return identification(*fast)


def wrongly_pushed(trajectory):
    """Return the steps of a CartPole episode that push away from where the pole falls, by speed."""
    speed = trajectory.observations[:-1, 3]
    wrong = [step for step, push in enumerate(trajectory.actions) if push != (speed[step] > 0)]
    return sorted(wrong, key=lambda step: -abs(speed[step])), np.abs(np.rad2deg(speed))
