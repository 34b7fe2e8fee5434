"""What the tests of the classic control captions share."""

import re
import warnings

import gymnasium as gym
import numpy as np

from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner


def make(env_id):
    with warnings.catch_warnings():
        # Gymnasium says that CartPole-v0 is out of date.
        warnings.simplefilter("ignore")
        return gym.make(env_id)


def speak(env_id, *observation):
    captioner = ClassicControlCaptioner(env_id)
    facts = captioner.facts(np.array([observation], dtype=np.float64), {})
    return facts[0], captioner.state_captions(facts)[0]


def number(pattern, caption, negative=None):
    """Read a number back from a sentence; 0 if it is not in there."""
    match = re.search(pattern, caption)
    if match is None:
        return 0.0
    sign = -1 if negative is not None and negative in match.group(0).split() else 1
    return sign * float(match.group(1))


def step(env, state, action):
    """Return the observations before and after one step from a chosen state."""
    env.reset(seed=0)
    env.unwrapped.state = np.array(state, dtype=np.float64)
    return env.step(action)[0]
