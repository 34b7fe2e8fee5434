"""The captions of Acrobot and Pendulum, against Gymnasium's own environments."""

import math

import numpy as np
import pytest
from classic_helpers import make, number, speak, step
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner

# Training runs share the machine, so the time of one example says nothing.
examples = settings(deadline=None, max_examples=80)

angles = st.floats(-math.pi, math.pi)


def acrobot(theta_1, theta_2, turn_1, turn_2):
    trigonometric = (f(theta) for theta in (theta_1, theta_2) for f in (math.cos, math.sin))
    return speak("Acrobot-v1", *trigonometric, turn_1, turn_2)


class TestAcrobot:
    def test_sentence(self):
        facts, caption = acrobot(math.radians(90), math.radians(-30), 1.0, -2.0)
        assert facts["tip_height_m"] == pytest.approx(-0.5)
        assert caption == (
            "The upper link points 90 degrees right of straight down, turning counter-clockwise at "
            "57 degrees/s; the lower link is bent 30 degrees clockwise from it, turning clockwise "
            "at 115 degrees/s; the tip is 0.50 m below the pivot, 1.50 m below the target height."
        )

    @pytest.mark.parametrize(
        ("angle", "caption"),
        [
            (0.0, "points straight down, not turning; the lower link continues it straight, not "),
            (
                math.pi,
                "points straight up, not turning; the lower link continues it straight, not ",
            ),
        ],
    )
    def test_sentence_at_rest(self, angle, caption):
        assert caption in acrobot(angle, 0.0, 0.0, 0.0)[1]

    @examples
    @given(angles, angles, st.floats(-12, 12), st.floats(-28, 28))
    def test_quantities_read_back(self, theta_1, theta_2, turn_1, turn_2):
        facts, caption = acrobot(theta_1, theta_2, turn_1, turn_2)
        read = number(r"points (\d+) degrees? (left|right)", caption, "left")
        read = 180.0 if "points straight up" in caption else read
        # -180 and 180 degrees are the same direction.
        assert math.cos(math.radians(read) - theta_1) >= math.cos(math.radians(0.5001))
        bent = number(r"bent (\d+) degrees? (clockwise|counter-clockwise)", caption, "clockwise")
        assert math.cos(math.radians(bent) - theta_2) >= math.cos(math.radians(0.5001))
        height = -math.cos(theta_1) - math.cos(theta_1 + theta_2)
        assert facts["tip_height_m"] == pytest.approx(height)
        tip = number(r"tip is ([\d.]+) m (above|below) the pivot", caption, "below")
        assert tip == pytest.approx(height, abs=0.005001)

    def test_target_is_gymnasiums(self):
        env = make("Acrobot-v1")
        for angle in np.linspace(0, math.pi, 40):
            env.unwrapped.state = np.array([angle, 0.0, 0.0, 0.0])
            reached = env.unwrapped._terminal()
            assert reached == (acrobot(angle, 0.0, 0.0, 0.0)[0]["tip_to_target_m"] < 0)
        env.close()

    @pytest.mark.parametrize(("action", "side"), [(0, "clockwise"), (2, "counter-clockwise")])
    def test_torque_turns_the_lower_link_where_it_says(self, action, side):
        env = make("Acrobot-v1")
        moved = step(env, [0.0, 0.0, 0.0, 0.0], action)
        assert f"bent 2 degrees {side} from it, turning {side}" in speak("Acrobot-v1", *moved)[1]
        env.close()


class TestPendulum:
    @pytest.mark.parametrize(
        ("degrees", "turn", "caption"),
        [
            (35, 1.0, "35 degrees left of straight up, falling counter-clockwise at 57 degrees/s."),
            (35, -1.0, "35 degrees left of straight up, rising clockwise at 57 degrees/s."),
            (
                -120,
                1.0,
                "120 degrees right of straight up, rising counter-clockwise at 57 degrees/s.",
            ),
            (180, 1.0, "straight down, rising counter-clockwise at 57 degrees/s."),
            (0, -1.0, "straight up, falling clockwise at 57 degrees/s."),
            (0, 0.0, "straight up, standing still."),
        ],
    )
    def test_sentence(self, degrees, turn, caption):
        angle = math.radians(degrees)
        facts, spoken = speak("Pendulum-v1", math.cos(angle), math.sin(angle), turn)
        assert spoken == f"The pendulum points {caption}"
        assert facts["tip_height_m"] == math.cos(angle)

    @examples
    @given(angles, st.floats(-8, 8))
    def test_quantities_read_back(self, angle, turn):
        _, caption = speak("Pendulum-v1", math.cos(angle), math.sin(angle), turn)
        read = number(r"points (\d+) degrees? (left|right)", caption, "right")
        read = 180.0 if "straight down" in caption else read
        assert math.cos(math.radians(read) - angle) >= math.cos(math.radians(0.5001))
        speed = number(r"(?:rising|falling) (?:counter-)?clockwise at (\d+)", caption)
        sign = -1 if " clockwise" in caption else 1
        assert sign * speed == pytest.approx(math.degrees(turn), abs=0.5001)

    @pytest.mark.parametrize(
        ("torque", "words", "side"),
        [
            (1.2, "apply 1.20 N m counter-clockwise", "left"),
            (-9, "apply 2.00 N m clockwise", "right"),
        ],
    )
    def test_torque_turns_where_it_says(self, torque, words, side):
        env = make("Pendulum-v1")
        action = np.array([torque], dtype=np.float32)
        moved = step(env, [0.0, 0.0], action)
        captioner = ClassicControlCaptioner("Pendulum-v1")
        before, after = captioner.facts(np.stack([[1.0, 0.0, 0.0], moved]), {})
        [caption] = captioner.transition_captions([before], [action], [after])
        assert caption.startswith(f"{words}: angle went from 0 degrees to 1 degree {side}, ")
        env.close()
