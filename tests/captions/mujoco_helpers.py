"""What the tests of the MuJoCo captions share: rollouts, chosen states, and sentences read back."""

import re
from typing import Any, NamedTuple

import numpy as np

from llm_wrappers.worlds.mujoco.captioner import MujocoCaptioner

ROBOTS = ("Hopper-v5", "Walker2d-v5", "Ant-v5")


class Moment(NamedTuple):
    """One real state, as the environment tells it and as the simulator has it."""

    observation: Any
    qpos: Any
    qvel: Any
    action: Any
    terminated: bool
    info: Any


def rollout(env, steps, *, scale, seed):
    """Play random actions; the first moment of each episode has no action."""
    generator = np.random.default_rng(seed)
    data, space = env.unwrapped.data, env.action_space
    moments, over = [], True
    while len(moments) < steps:
        if over:
            observation, info = env.reset(seed=seed + len(moments))
            action, terminated, truncated = None, False, False
        else:
            action = (scale * generator.uniform(space.low, space.high)).astype(np.float32)
            observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        moments.append(
            Moment(observation, data.qpos.copy(), data.qvel.copy(), action, terminated, info)
        )
    return moments


def pose(env, **values):
    """Set positions by joint name, all else at its start and at rest, and return the observation.

    A value of three numbers or four sets the last coordinates of a joint that has more than one.
    """
    base = env.unwrapped
    env.reset(seed=0)
    qpos, qvel = base.init_qpos.copy(), np.zeros_like(base.init_qvel)
    for name, value in values.items():
        joint = base.model.joint(name)
        last = joint.qposadr[0] + {0: 7, 1: 1, 2: 1, 3: 1}[int(joint.type[0])]
        qpos[last - np.size(value) : last] = value
    base.set_state(qpos, qvel)
    return base._get_obs()


def speak(env_id, observation, **options):
    """Return facts and state caption of one observation."""
    captioner = MujocoCaptioner(env_id, **options)
    (facts,) = captioner.facts(np.asarray(observation, dtype=np.float64)[None], {})
    return facts, captioner.state_captions([facts])[0]


def joint_read_back(name, caption):
    """Return angle and velocity of a joint from a sentence, and whether it may be faster."""
    match = re.search(
        rf"(?:: |; ){name} (?:straight|([\d.]+) degrees? ([a-z]+)), "
        r"(?:still|([a-z ]+) at (\d+) degrees?/s( or more)?)[;.]",
        caption,
    )
    assert match is not None, (name, caption)
    angle, side, motion, speed, more = match.groups()
    return (
        float(angle or 0) * _sign(side, name),
        float(speed or 0) * _sign(motion, name),
        more is not None,
    )


def number(pattern, caption, negative=()):
    """Read a number, and its side if there is one, from a sentence; 0 if it is not in there."""
    match = re.search(pattern, caption)
    if match is None:
        return 0.0
    number, *side = match.groups()
    return float(number) * (-1 if side and side[0] in negative else 1)


def _sign(word, name):
    # The foot of Ant hangs from a leg that is level: there down is positive.
    ant = name.startswith(("front", "back"))
    negative = {"back", "bent", "swinging back", "bending", "turning down", "lifting"}
    return -1 if word in negative | ({"up"} if ant else {"down"}) else 1
