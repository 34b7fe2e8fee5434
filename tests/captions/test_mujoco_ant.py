"""Ant in words, against the simulator."""

import math
import re

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.worlds.mujoco.captioner import MujocoCaptioner

pytest.importorskip("mujoco")

from mujoco_helpers import joint_read_back, number, pose, rollout, speak

# In the order of the observation: where each leg is, and the signs of its hip and ankle.
LEGS = {"front left": (-1, 1), "back left": (-1, -1), "back right": (1, -1), "front right": (1, 1)}
NAMES = [f"{leg} {joint}" for leg in LEGS for joint in ("hip", "ankle")]
SIGNS = [sign for pair in LEGS.values() for sign in pair]


@pytest.fixture(scope="module")
def env():
    env = gym.make("Ant-v5")
    yield env
    env.close()


def rotation(roll, pitch, yaw):
    """Return the matrix of a yaw, then a pitch, then a roll around the axes of the body."""
    (cr, sr), (cp, sp), (cy, sy) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (roll, pitch, yaw)
    )
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def matrix(quaternion):
    """Return the matrix of a quaternion, by MuJoCo itself."""
    import mujoco

    quaternion, found = np.array(quaternion, dtype=np.float64), np.zeros(9)
    mujoco.mju_normalize4(quaternion)
    mujoco.mju_quat2Mat(found, quaternion)
    return found.reshape(3, 3)


def orientation_of(facts):
    return rotation(*(facts[f"{name}_deg"] for name in ("roll", "pitch", "yaw")))


def velocity_of(moves, negative, positive):
    match = re.search(rf"({negative}|{positive}) at ([\d.]+) m/s", moves)
    return 0.0 if match is None else float(match[2]) * (-1 if match[1] == negative else 1)


def assert_read_back(caption, facts, qpos, qvel):
    """Compare a sentence with positions and velocities, x and y first, of the simulator."""
    moves = caption.split("It moves ")[1].split(". On the ground")[0]
    turns = caption.split("It turns: ")[1].split(". It moves")[0]
    degrees = np.degrees(qvel[3:6])
    left = ("to the left", "nose up", "right")
    for read, truth, half in (
        (number(r"torso is (-?[\d.]+) m high", caption), qpos[2], 0.005),
        (number(r"tilted ([\d.]+) degree", caption), facts["tilt_deg"], 0.05),
        (number(r"roll ([\d.]+) degrees? (to the \w+)", caption, left), facts["roll_deg"], 0.05),
        (number(r"pitch ([\d.]+) degrees? (nose \w+)", caption, left), facts["pitch_deg"], 0.05),
        (velocity_of(moves, "backward", "forward"), qvel[0], 0.005),
        (velocity_of(moves, "to the right", "to the left"), qvel[1], 0.005),
        (velocity_of(moves, "down", "up"), qvel[2], 0.005),
        (number(r"roll (\d+) degrees?/s (to the \w+)", turns, left), degrees[0], 0.5),
        (number(r"pitch (\d+) degrees?/s (nose \w+)", turns, left), degrees[1], 0.5),
        (number(r"heading (\d+) degrees?/s (\w+)", turns, left), degrees[2], 0.5),
    ):
        assert read == pytest.approx(truth, abs=half + 1e-9), caption
    for index, (name, sign) in enumerate(zip(NAMES, SIGNS, strict=True)):
        angle, velocity, faster = joint_read_back(name, caption)
        assert angle == pytest.approx(sign * math.degrees(qpos[7 + index]), abs=0.05 + 1e-9)
        assert velocity == pytest.approx(sign * math.degrees(qvel[6 + index]), abs=0.5 + 1e-9)
        assert not faster


class TestReadBack:
    def test_sentences_of_real_episodes_give_the_state_of_the_simulator(self, env):
        captioner = MujocoCaptioner("Ant-v5")
        moments = rollout(env, 300, scale=1, seed=0)
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        captions = captioner.state_captions(facts)
        costs, ends = [], 0
        for moment, row, caption in zip(moments, facts, captions, strict=True):
            assert_read_back(caption, row, moment.qpos, moment.qvel)
            np.testing.assert_allclose(
                orientation_of(row), matrix(moment.qpos[3:7]), atol=1e-9, rtol=0
            )
            assert row["within_limits"] != moment.terminated
            ends += moment.terminated
            if moment.action is not None:
                costs.append(row["contact_cost"])
                assert row["contact_cost"] == pytest.approx(-moment.info["reward_contact"])
                spoken = number(r"\(cost ([\d.]+)\)", caption)
                assert spoken == pytest.approx(row["contact_cost"], abs=0.00005 + 1e-12)
        assert ends >= 1
        assert max(costs) > min(costs) == 0.0

    def test_batch_equals_single_rows(self, env):
        captioner = MujocoCaptioner("Ant-v5")
        moments = rollout(env, 10, scale=1, seed=3)
        batch = captioner.facts(np.stack([m.observation for m in moments]), {})
        assert batch == [captioner.facts(m.observation[None], {})[0] for m in moments]
        assert {type(v) for row in batch for v in row.values()} <= {float, bool, str, type(None)}

    @settings(deadline=None)
    @given(
        st.lists(st.floats(-3, 3), min_size=12, max_size=12),
        st.lists(st.floats(-1, 1), min_size=4, max_size=4),
        st.lists(st.floats(-20, 20), min_size=14, max_size=14),
    )
    def test_any_observation(self, positions, quaternion, velocities):
        height, *angles = positions[:9]
        facts, caption = speak("Ant-v5", [height, *quaternion, *angles, *velocities, *np.zeros(78)])
        qpos = np.array([0, 0, height, *quaternion, *angles])
        assert_read_back(caption, facts, qpos, np.array(velocities))
        if np.linalg.norm(quaternion) > 1e-6:
            # Near straight up and down the angles are badly conditioned, not wrong.
            found, truth = orientation_of(facts), matrix(quaternion)
            np.testing.assert_allclose(found, truth, atol=1e-6, rtol=0)


class TestDirections:
    """What the words say is what the simulator does."""

    def test_each_leg_is_where_its_name_says(self, env):
        observation = pose(env)
        base = env.unwrapped
        for index, leg in enumerate(LEGS):
            moved = observation.copy()
            moved[5 + 2 * index] = 0.3
            moved[6 + 2 * index] = 0.4
            caption = speak("Ant-v5", moved)[1]
            still = [name for name in NAMES if f"{name} straight, still" in caption]
            assert sorted(set(NAMES) - set(still)) == [f"{leg} ankle", f"{leg} hip"]
            # The foot is the third of the three bodies of a leg, behind world and torso.
            x, y, _ = base.data.xpos[2 + 3 * index + 2] - base.data.xpos[1]
            assert leg == f"{'front' if x > 0 else 'back'} {'left' if y > 0 else 'right'}"

    def test_hips_and_ankles(self, env):
        data = env.unwrapped.data
        for index, leg in enumerate(LEGS):
            shin = 2 + 3 * index + 2
            geoms = np.flatnonzero(env.unwrapped.model.geom_bodyid == shin)
            pose(env)
            x, _, z = data.geom_xpos[geoms[0]]
            for angle in (-0.4, 0.4):
                caption = speak("Ant-v5", pose(env, **{f"hip_{index + 1}": angle}))[1]
                forward = data.geom_xpos[geoms[0]][0] > x
                assert (
                    f"{leg} hip 22.9 degrees {'forward' if forward else 'back'}, still" in caption
                )
                caption = speak("Ant-v5", pose(env, **{f"ankle_{index + 1}": angle}))[1]
                higher = data.geom_xpos[geoms[0]][2] > z
                assert f"{leg} ankle 22.9 degrees {'up' if higher else 'down'}, still" in caption

    @pytest.mark.parametrize(
        ("quaternion", "words"),
        [
            ((1, 0, 0, 0), "the right way up, tilted 0.0 degrees, and faces straight forward."),
            ((1, 1, 0, 0), "tilted 90.0 degrees, roll 90.0 degrees to the right, and faces str"),
            ((0, 1, 0, 0), "upside down, tilted 180.0 degrees, roll 180.0 degrees to the right,"),
            ((0.98, 0, 0.199, 0), "tilted 23.0 degrees, pitch 23.0 degrees nose down, and faces"),
            ((1, 0, 0, 1), "tilted 0.0 degrees, and faces 90.0 degrees left of forward."),
            ((1, 0, 0, -1), "tilted 0.0 degrees, and faces 90.0 degrees right of forward."),
            ((0, 0, 0, 1), "tilted 0.0 degrees, and faces straight backward."),
            ((0, 0, 0, 0), "tilted 0.0 degrees, and faces straight forward."),
        ],
    )
    def test_orientation(self, env, quaternion, words):
        observation = pose(env, root=quaternion)
        assert words in speak("Ant-v5", observation)[1]
        axes = env.unwrapped.data.body("torso").xmat.reshape(3, 3)
        np.testing.assert_allclose(
            orientation_of(speak("Ant-v5", observation)[0]), axes, atol=1e-12
        )

    def test_to_the_right_is_where_the_right_side_is_lower(self, env):
        for roll in (-0.2, 0.2):
            caption = speak("Ant-v5", pose(env, root=(1, roll, 0, 0)))[1]
            left_leg, right_leg = env.unwrapped.data.xpos[[3, 12], 2]
            side = "right" if right_leg < left_leg else "left"
            assert f"roll 22.6 degrees to the {side}" in caption

    def test_turning_changes_the_angle_of_its_name(self, env):
        base = env.unwrapped
        for index, name in enumerate(("roll", "pitch", "yaw")):
            pose(env)
            velocity = np.zeros(14)
            velocity[3 + index] = 0.5
            base.set_state(base.data.qpos.copy(), velocity)
            facts, _ = speak("Ant-v5", base._get_obs())
            assert facts[f"{name}_velocity_deg_per_s"] == pytest.approx(math.degrees(0.5))
            base.do_simulation(np.zeros(8), 1)
            later, _ = speak("Ant-v5", base._get_obs())
            assert later[f"{name}_deg"] > facts[f"{name}_deg"] + 0.1

    def test_torques_turn_joints_where_the_words_say(self, env):
        base = env.unwrapped
        captioner = MujocoCaptioner("Ant-v5")
        order = ("front right", "front left", "back left", "back right")
        joints = [f"{leg} {joint}" for leg in order for joint in ("hip", "ankle")]
        for index, name in enumerate(joints):
            inside = {f"ankle_{leg}": 0.87 * LEGS[n][1] for leg, n in enumerate(LEGS, start=1)}
            pose(env, **inside)
            qpos = base.data.qpos.copy()
            qpos[2] = 3.0
            base.set_state(qpos, np.zeros(14))
            before = base._get_obs()
            action = np.zeros(8, np.float32)
            action[index] = 1.0
            base.do_simulation(action, 1)
            facts = captioner.facts(np.stack([before, base._get_obs()]), {})
            (caption,) = captioner.transition_captions(facts[:1], [action], facts[1:])
            fact = f"{name.replace(' ', '_')}_velocity_deg_per_s"
            words = ("back", "forward") if name.endswith("hip") else ("up", "down")
            assert abs(facts[1][fact]) > 50
            assert caption.startswith(f"{name} {words[facts[1][fact] > 0]} 1.00: ")


class TestGround:
    def test_legs_that_touch_are_those_of_the_simulator(self, env):
        base = env.unwrapped
        env.reset(seed=0)
        assert "On the ground: nothing. Joints:" in speak("Ant-v5", base._get_obs())[1]
        for _ in range(60):
            observation, *_ = env.step(np.zeros(8, np.float32))
        facts, caption = speak("Ant-v5", observation)
        bodies = {int(base.model.geom_bodyid[g]) for pair in base.data.contact.geom for g in pair}
        touching = [
            leg for index, leg in enumerate(LEGS) if bodies & {2 + 3 * index + k for k in range(3)}
        ]
        assert touching
        named = ", ".join(f"{leg} leg" for leg in touching)
        assert f"On the ground: {named} (cost {facts['contact_cost']:.4f})." in caption
        for leg in LEGS:
            assert facts[f"{leg.replace(' ', '_')}_leg_on_ground"] == (leg in touching)

    def test_what_lies_on_its_back_touches_with_the_torso(self, env):
        base = env.unwrapped
        pose(env, root=(0, 1, 0, 0))
        for _ in range(60):
            observation, *_ = env.step(np.zeros(8, np.float32))
        facts, caption = speak("Ant-v5", observation)
        torso = any(1 in base.model.geom_bodyid[pair] for pair in base.data.contact.geom)
        assert torso
        assert facts["torso_on_ground"]
        assert "torso (cost" in caption
        assert "It is upside down" in caption

    def test_setting_down_and_lifting_legs_is_told(self, env):
        captioner = MujocoCaptioner("Ant-v5")
        air, ground = np.zeros((2, 105))
        ground[27 + 6 * 3 + 5] = 0.5  # the vertical force on the third part of the first leg
        facts = captioner.facts(np.stack([air, ground]), {})
        nothing = np.zeros(8)
        down, up = captioner.transition_captions(facts, [nothing] * 2, facts[::-1])
        assert down == "no torque: set down the front left leg"
        assert up == "no torque: lifted the front left leg"


class TestBalance:
    @pytest.mark.parametrize(
        ("height", "rise", "words"),
        [
            (0.5, -0.2, "0.30 m above the lower limit. Its height is safe. "),
            (0.3, -1.0, "It is sinking too low: at this rate the limit is 0.10 s away."),
            (0.9, 1.0, "0.10 m below the upper limit. It is rising too high: at this rate"),
            (1.1, 0.0, "0.10 m above the upper limit. It is outside of its limits."),
            (0.2, -1.0, "It is sinking too low: at this rate the limit is 0.00 s away."),
            (0.2, 0.0, "0.00 m above the lower limit. Its height is safe."),
        ],
    )
    def test_height(self, height, rise, words):
        state = np.zeros(105)
        state[0], state[1], state[15] = height, 1, rise
        assert words in speak("Ant-v5", state)[1]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
    def test_numbers_of_a_simulation_that_blew_up(self, value):
        facts, caption = speak("Ant-v5", [value] * 105)
        assert not facts["within_limits"]
        assert "outside of its limits" in caption
