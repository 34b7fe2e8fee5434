"""Hopper and Walker2d in words, against the simulator."""

import math

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.worlds.mujoco.captioner import MujocoCaptioner

pytest.importorskip("mujoco")

from mujoco_helpers import joint_read_back, number, pose, rollout, speak

LEGS = {"Hopper-v5": [""], "Walker2d-v5": ["right ", "left "]}
JOINTS = {
    env_id: [f"{leg}{joint}" for leg in legs for joint in ("hip", "knee", "ankle")]
    for env_id, legs in LEGS.items()
}
BACK = ("backward", "down")


@pytest.fixture(params=sorted(LEGS))
def env(request):
    env = gym.make(request.param)
    yield env
    env.close()


def assert_read_back(env_id, caption, qpos, qvel):
    """Compare a sentence with positions and velocities, x first, as the simulator has them."""
    seen = np.clip(qvel, -10, 10)
    leans = number(r"leans ([\d.]+) degrees? (\w+)", caption, BACK)
    turns = number(r", turning (?:for|back)ward at ([\d.]+)", caption)
    turns *= -1 if ", turning backward" in caption else 1
    side = -1 if "It moves backward" in caption else 1
    forward = side * number(r"It moves \w+ at ([\d.]+) m/s", caption)
    up = -1 if "and down at" in caption else 1
    rise = up * number(r"and (?:up|down) at ([\d.]+) m/s", caption)
    for read, truth, half in (
        (number(r"torso is (-?[\d.]+) m high", caption), qpos[1], 0.005),
        (leans, math.degrees(qpos[2]), 0.05),
        (forward, seen[0], 0.005),
        (rise, seen[1], 0.005),
        (turns, math.degrees(seen[2]), 0.5),
    ):
        assert read == pytest.approx(truth, abs=half + 1e-9), caption
    for index, name in enumerate(JOINTS[env_id], start=3):
        angle, velocity, faster = joint_read_back(name, caption)
        assert angle == pytest.approx(math.degrees(qpos[index]), abs=0.05 + 1e-9)
        assert velocity == pytest.approx(math.degrees(seen[index]), abs=0.5 + 1e-9)
        assert faster == (abs(qvel[index]) >= 10)


class TestReadBack:
    def test_sentences_of_real_episodes_give_the_state_of_the_simulator(self, env):
        env_id = env.spec.id
        captioner = MujocoCaptioner(env_id)
        moments = [m for seed in (0, 1) for m in rollout(env, 150, scale=1 - 0.7 * seed, seed=seed)]
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        captions = captioner.state_captions(facts)
        ends = 0
        for moment, row, caption in zip(moments, facts, captions, strict=True):
            assert_read_back(env_id, caption, moment.qpos, moment.qvel)
            assert row["within_limits"] != moment.terminated
            assert ("It is outside of its limits." in caption) == moment.terminated
            ends += moment.terminated
        assert ends >= 3

    @pytest.mark.parametrize("env_id", sorted(LEGS))
    @settings(deadline=None)
    @given(data=st.data())
    def test_any_observation(self, env_id, data):
        joints = len(JOINTS[env_id])
        positions = data.draw(st.lists(st.floats(-3, 3), min_size=joints + 2, max_size=joints + 2))
        velocities = data.draw(
            st.lists(st.floats(-10, 10), min_size=joints + 3, max_size=joints + 3)
        )
        _, caption = speak(env_id, positions + velocities)
        assert_read_back(env_id, caption, [0.0, *positions], np.array(velocities))

    def test_batch_equals_single_rows(self, env):
        captioner = MujocoCaptioner(env.spec.id)
        moments = rollout(env, 10, scale=1, seed=3)
        batch = captioner.facts(np.stack([m.observation for m in moments]), {})
        assert batch == [captioner.facts(m.observation[None], {})[0] for m in moments]
        assert {type(v) for row in batch for v in row.values()} <= {float, bool, str, type(None)}


class TestDirections:
    """What the words say is what the simulator does."""

    @pytest.mark.parametrize("angle", [-0.15, 0.15])
    def test_the_torso_leans_to_where_its_top_is(self, env, angle):
        caption = speak(env.spec.id, pose(env, rooty=angle))[1]
        top = env.unwrapped.data.body("torso").xmat.reshape(3, 3)[:, 2]
        assert f"leans 8.6 degrees {'forward' if top[0] > 0 else 'backward'}" in caption

    def test_legs(self, env):
        data = env.unwrapped.data
        for leg, suffix in zip(LEGS[env.spec.id], ("", "_left"), strict=False):
            torso = data.body("torso")
            for angle in (-0.3, 0.3):
                caption = speak(env.spec.id, pose(env, **{f"thigh{suffix}_joint": angle}))[1]
                front = data.geom(f"thigh{suffix}_geom").xpos[0] > torso.xpos[0]
                assert f"{leg}hip 17.2 degrees {'forward' if front else 'back'}," in caption
                caption = speak(env.spec.id, pose(env, **{f"leg{suffix}_joint": angle}))[1]
                front = data.geom(f"leg{suffix}_geom").xpos[0] > torso.xpos[0]
                assert f"{leg}knee 17.2 degrees {'overstretched' if front else 'bent'}," in caption
                pose(env)
                level = data.body(f"foot{suffix}").xpos[2]
                caption = speak(env.spec.id, pose(env, **{f"foot{suffix}_joint": angle}))[1]
                higher = data.body(f"foot{suffix}").xpos[2] > level
                assert f"{leg}ankle 17.2 degrees {'up' if higher else 'down'}," in caption

    def test_torques_turn_joints_where_the_words_say(self, env):
        env_id, base = env.spec.id, env.unwrapped
        captioner = MujocoCaptioner(env_id)
        moves = {"hip": "swinging forward", "knee": "stretching", "ankle": "turning up"}
        words = {"hip": "forward", "knee": "stretch", "ankle": "up"}
        for index, name in enumerate(JOINTS[env_id]):
            # High in the air and bent, away from the ground and the ends of all joints.
            bent = {env.unwrapped.model.joint(j).name: -0.5 for j in range(3, base.model.njnt)}
            before = pose(env, rootz=3.0, **bent)
            action = np.zeros(env.action_space.shape, np.float32)
            action[index] = 1.0
            base.do_simulation(action, base.frame_skip)
            facts = captioner.facts(np.stack([before, base._get_obs()]), {})
            kind = name.split()[-1]
            assert f"{name} 2" in captioner.state_captions(facts)[0]
            assert f", {moves[kind]} at" in captioner.state_captions(facts)[1].split(name)[1]
            (caption,) = captioner.transition_captions(facts[:1], [action], facts[1:])
            assert caption.startswith(f"{name} {words[kind]} 1.00: ")


class TestBalance:
    def test_the_limit_is_reached_when_the_sentence_says(self):
        state = [1.0, 0.15, 0, 0, 0, 0, 0, 0.5, 0, 0, 0]
        facts, caption = speak("Hopper-v5", state)
        assert facts["seconds_to_limit"] == pytest.approx(0.1)
        assert facts["torso_angle_margin_deg"] == pytest.approx(math.degrees(0.05))
        assert "It is falling forward: at this rate the limit is 0.10 s away." in caption

    @pytest.mark.parametrize(
        ("height", "angle", "rise", "turn", "threat"),
        [
            (1.25, -0.7, 0, -1.6, "falling backward"),
            (0.85, 0, -1.0, 0, "sinking too low"),
            (1.9, 0, 1.0, 0, "rising too high"),
            (0.81, 0.95, -1.0, 0.5, "sinking too low"),
            (1.25, 0, -1.0, 0.5, "none"),
            (1.25, 0, 0, 0, "none"),
        ],
    )
    def test_threats(self, height, angle, rise, turn, threat):
        facts, caption = speak("Walker2d-v5", [height, angle, *[0] * 7, rise, turn, *[0] * 6])
        assert facts["threat"] == threat
        assert (f"It is {threat}:" in caption) == (threat != "none")
        assert ("It is upright." in caption) == (threat == "none")

    @pytest.mark.parametrize(
        ("height", "words"),
        [
            (0.85, "0.85 m high, 0.05 m above the lower limit"),
            (1.90, "1.90 m high, 0.10 m below the upper limit"),
            (0.75, "0.75 m high, 0.05 m below the lower limit"),
            (2.10, "2.10 m high, 0.10 m above the upper limit"),
        ],
    )
    def test_the_nearer_limit_of_the_height_is_named(self, height, words):
        facts, caption = speak("Walker2d-v5", [height, *[0] * 16])
        assert words in caption
        assert facts["torso_height_margin_m"] == pytest.approx(
            (1 if facts["within_limits"] else -1) * number(r"high, ([\d.]+)", caption)
        )

    def test_past_the_limit_of_the_angle(self):
        _, caption = speak("Hopper-v5", [1.2, -0.3, *[0] * 9])
        assert "leans 17.2 degrees backward (5.7 degrees past the limit), not turning." in caption
        assert "It is outside of its limits. It moves neither forward nor backward and" in caption

    def test_limits_are_those_that_the_environment_was_made_with(self):
        state = [0.6, 0.3, *[0] * 9]
        wide = {"healthy_z_range": (0.5, 0.9), "healthy_angle_range": (-np.inf, np.inf)}
        facts, caption = speak("Hopper-v5", state, settings=wide)
        assert facts["within_limits"]
        assert facts["torso_angle_margin_deg"] is None
        assert "0.10 m above the lower limit, and leans 17.2 degrees forward, not" in caption
        assert not speak("Hopper-v5", state)[0]["within_limits"]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
    def test_numbers_of_a_simulation_that_blew_up(self, value):
        facts, caption = speak("Hopper-v5", [value] * 11)
        assert not facts["within_limits"]
        assert "outside of its limits" in caption


class TestTransitions:
    def test_what_a_step_changed(self):
        captioner = MujocoCaptioner("Hopper-v5")
        states = [[1.2, 0.05, *[0.0] * 9], [1.21, 0.1, 0, 0, 0, 0.3, *[0.0] * 5]]
        facts = captioner.facts(np.array(states), {})
        there, back = captioner.transition_captions(
            facts, [np.zeros(3), np.array([-0.25, 0.001, -1])], facts[::-1]
        )
        assert there == (
            "no torque: gained speed (velocity from 0.00 m/s to 0.30 m/s forward); tipped (torso "
            "angle from 2.9 degrees forward to 5.7 degrees forward); rose (height from 1.20 m to "
            "1.21 m)"
        )
        assert back.startswith("hip back 0.25, ankle down 1.00: lost speed (")
        assert "straightened up" in back
        assert "sank" in back
        assert captioner.transition_captions(facts[:1], [np.zeros(3)], facts[:1]) == [
            "no torque: nothing changed"
        ]

    def test_a_real_fall_is_told(self, env):
        captioner = MujocoCaptioner(env.spec.id)
        moments = rollout(env, 120, scale=1, seed=7)
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        falls = 0
        for before, moment, after in zip(facts, moments[1:], facts[1:], strict=False):
            if moment.action is not None:
                (told,) = captioner.transition_captions([before], [moment.action], [after])
                assert ("left its limits" in told) == moment.terminated
                falls += moment.terminated
        assert falls >= 1
