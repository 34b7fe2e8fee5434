"""What a sentence says of a state, read back and compared with the state itself."""

import re

import gymnasium as gym
import numpy as np
import pytest
from classic_helpers import make
from classic_sentences import CLASSIC, OBSERVATIONS, check_classic
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import batch_infos
from llm_wrappers.worlds.craftax import CraftaxClassicEnv
from llm_wrappers.worlds.crafter import CrafterEnv


class TestClassicControl:
    @pytest.mark.parametrize("env_id", sorted(CLASSIC))
    @given(data=st.data())
    def test_every_observation_of_the_space(self, env_id, data):
        check_classic(env_id, np.array(data.draw(OBSERVATIONS[env_id]), np.float32))

    @pytest.mark.parametrize("env_id", sorted(CLASSIC))
    def test_real_play(self, env_id):
        env = make(env_id)
        env.action_space.seed(0)
        observation, _ = env.reset(seed=0)
        for _ in range(200):
            check_classic(env_id, observation)
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()

    @pytest.mark.parametrize(
        ("env_id", "observation"),
        [
            ("CartPole-v1", (0, 0, 0, 0)), ("MountainCar-v0", (0.5, 0)),
            ("Acrobot-v1", (1, 0, 1, 0, 0, 0)), ("Acrobot-v1", (-1, 0, -1, 0, 0, 0)),
            ("Acrobot-v1", (0, 1, 1, 0, 0, 0)), ("Pendulum-v1", (1, 0, 0)),
            ("Pendulum-v1", (-1, -0.0, 1)),
        ],
    )  # fmt: skip
    def test_states_in_which_a_number_has_a_word_of_its_own(self, env_id, observation):
        check_classic(env_id, np.array(observation, np.float32))


GROUND = ("darkness", "path", "grass", "sand")
VITALS = {"hurt": "health", "hungry": "food", "thirsty": "drink", "tired": "energy"}
CRAFTER = re.compile(
    r"You see (?:nothing of note|(?P<seen>.+?))\. You face (?P<facing>[a-z ]+)\. "
    r"You have (?:nothing|(?P<held>[^.]+))\.(?: You feel (?P<felt>[^.]+)\.)?"
    r"(?P<dark> It is dark\.)?(?P<asleep> You are asleep\.)?"
)


def nearest(view, thing):
    """Return the steps to the nearest tile of a kind, None if there is none."""
    rows, columns = np.nonzero(view == thing)
    steps = np.abs(rows - 3) + np.abs(columns - 4)
    return int(steps[steps > 0].min()) if (steps > 0).any() else None


def check_crafter(captioner, info):
    from llm_wrappers.worlds.crafter.captioner import INVENTORY, THINGS

    (sentence,) = captioner.state_captions(captioner.facts(None, batch_infos(info)))
    match = CRAFTER.fullmatch(sentence)
    assert match, sentence
    seen = dict(re.findall(r"([a-z ]+?) \((\d+) steps?\)(?:, )?", match["seen"] or ""))
    view = info["local_view"]
    assert {name.replace(" ", "_"): int(steps) for name, steps in seen.items()} == {
        name: nearest(view, index)
        for index, name in enumerate(THINGS)
        if name not in GROUND and nearest(view, index) is not None
    }
    row, column = {1: (3, 3), 2: (3, 5), 3: (2, 4), 4: (4, 4)}[int(info["facing"])]
    assert match["facing"].replace(" ", "_") == THINGS[view[row, column]]
    held = {
        name.replace(" ", "_"): int(count)
        for count, name in re.findall(r"(\d+) ([a-z ]+)", match["held"] or "")
    }
    inventory = {name: int(info["inventory"][name]) for name in INVENTORY}
    assert held == {name: count for name, count in list(inventory.items())[4:] if count}
    felt = (match["felt"] or "").split(" and ")
    assert [word in felt for word in VITALS] == [inventory[name] < 5 for name in VITALS.values()]
    assert bool(match["dark"]) == (float(info["daylight"]) < 0.5)
    assert bool(match["asleep"]) == bool(info["sleeping"])
    return {"held": bool(held), "felt": bool(match["felt"]), "asleep": bool(match["asleep"])}


def gathering(facts, action_names, random):
    """Take what lies in front, craft and place at times, walk and sleep otherwise."""
    useful = ("tree", "stone", "coal", "water", "cow", "grass", "sapling")
    if facts["facing"] in useful and random.random() < 0.5:
        return action_names.index("do")
    if facts["energy"] < 4 or facts["sleeping"]:
        return action_names.index("sleep")
    return int(random.integers(1, len(action_names)))


class TestCrafterFamily:
    @pytest.mark.parametrize("make_env", [CrafterEnv, CraftaxClassicEnv])
    def test_real_play(self, make_env):
        env, random = make_env(), np.random.default_rng(0)
        _, info = env.reset(seed=0)
        names, seen = env.captioner.description.action_names, []
        for _ in range(250):
            seen.append(check_crafter(env.captioner, info))
            (facts,) = env.captioner.facts(None, batch_infos(info))
            _, _, terminated, truncated, info = env.step(gathering(facts, names, random))
            if terminated or truncated:
                _, info = env.reset()
        for name in ("held", "felt", "asleep"):
            assert {row[name] for row in seen} == {False, True}, name


PONG = re.compile(
    r"(?:There is no ball in play|The ball is at x (?P<ball_x>-?\d+), y (?P<ball_y>-?\d+)"
    r"(?P<ball_motion>, not moving|, moving .+?)?)\. "
    r"Your paddle is (?:out of sight|at y (?P<paddle_y>-?\d+)(?P<paddle_motion>, moving .+?)?), "
    r"the opponent's (?:out of sight|at y (?P<opponent_y>-?\d+)(?P<opponent_motion>, moving .+?)?)"
    r"\.(?: The score is (?P<score>\d+) to (?P<opponent_score>\d+)\.)?"
)


def moved(text, negative, positive):
    """Return the pixels that a part of the sentence says in one direction or the other."""
    sizes = {word: int(size) for size, word in re.findall(r"(\d+) pixels? (\w+) per step", text)}
    return sizes.get(positive, 0) - sizes.get(negative, 0)


def check_pong(captioner, facts):
    (sentence,) = captioner.state_captions([facts])
    match = PONG.fullmatch(sentence)
    assert match, sentence
    for name in ("ball_x", "ball_y", "paddle_y", "opponent_y", "score", "opponent_score"):
        told = match[name]
        assert (None if told is None else int(told)) == facts.get(name), sentence
    motion = match["ball_motion"] or ""
    assert bool(motion) == (facts["ball_dx"] is not None)
    assert moved(motion, "left", "right") == (facts["ball_dx"] or 0)
    assert moved(motion, "up", "down") == (facts["ball_dy"] or 0)
    towards = True if "towards you" in motion else False if "away from you" in motion else None
    assert towards == facts["ball_towards_you"]
    for name in ("paddle", "opponent"):
        told = moved(match[f"{name}_motion"] or "", "up", "down")
        assert told == (facts[f"{name}_dy"] or 0)
    return towards


class TestPong:
    @pytest.mark.parametrize("kind", ["memory", "frames"])
    def test_real_play(self, kind):
        ale_py = pytest.importorskip("ale_py")
        from llm_wrappers.worlds.atari.captioner import AtariRam
        from llm_wrappers.worlds.atari.pong_frames import PongFrames

        gym.register_envs(ale_py)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        wrapper = AtariRam if kind == "memory" else PongFrames
        env, random, seen = wrapper(gym.make("ALE/Pong-v5")), np.random.default_rng(0), set()
        observation, info = env.reset(seed=0)
        for _ in range(500):
            (facts,) = env.captioner.facts(observation[None], batch_infos(info))
            seen.add(check_pong(env.captioner, facts))
            observation, *_, info = env.step(int(random.integers(6)))
        assert seen == {None, False, True}

    @given(
        ball=st.one_of(
            st.none(), st.tuples(*[st.integers(-49, 200)] * 2, *[st.integers(-20, 20)] * 2)
        ),
        paddles=st.tuples(*[st.one_of(st.none(), st.integers(20, 200))] * 2),
        motions=st.tuples(*[st.one_of(st.none(), st.integers(-24, 24))] * 2),
    )
    def test_every_combination_of_facts(self, ball, paddles, motions):
        from llm_wrappers.worlds.atari.pong_frames import PongFrameCaptioner

        x, y, dx, dy = ball or (None,) * 4
        facts = {
            "ball_in_play": ball is not None, "ball_x": x, "ball_y": y, "ball_dx": dx,
            "ball_dy": dy, "ball_towards_you": dx > 0 if dx else None,
        }  # fmt: skip
        for name, place, motion in zip(("paddle", "opponent"), paddles, motions, strict=True):
            facts |= {f"{name}_y": place, f"{name}_dy": None if place is None else motion}
        check_pong(PongFrameCaptioner(), facts)
