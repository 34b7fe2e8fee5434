"""Atari games one frame at a time, and what their pictures show."""

import ale_py
import gymnasium as gym
import numpy as np

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.worlds.atari.captioner import AtariRam

gym.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

WHITE, GREEN, RED, ORANGE = (236, 236, 236), (92, 186, 92), (228, 111, 111), (213, 130, 74)


def game(name, **options):
    """Return the game one frame at a time and without sticky actions, its memory in the info."""
    options = {"frameskip": 1, "repeat_action_probability": 0.0, **options}
    return AtariRam(gym.make(f"ALE/{name}-v5", **options))


def play(env, steps, actions, *, seed=0, hold=8):
    """Yield (observation, action, facts, terminated) of random play of some actions."""
    captioner, random = resolve_captioner(env), np.random.default_rng(seed)
    env.reset(seed=seed)
    action = actions[0]
    for step in range(steps):
        if step % hold == 0:
            action = int(random.choice(actions))
        observation, _, terminated, truncated, info = env.step(action)
        yield observation, action, captioner.facts(None, batch_infos(info))[0], terminated
        if terminated or truncated:
            env.reset()


def pixels(picture, colour, top=0, bottom=210):
    """Return rows and columns of a colour within some rows of the picture."""
    rows, columns = np.where((picture[top:bottom] == colour).all(-1))
    return rows + top, columns
