"""Classic control in words: numbers, signs and rules are Gymnasium's."""

import math
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import Captioner
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner
from llm_wrappers.worlds.classic.systems import SYSTEMS


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


# Training runs share the machine, so the time of one example says nothing.
examples = settings(deadline=None, max_examples=80)


class TestEveryEnvironment:
    @pytest.fixture(params=sorted(SYSTEMS))
    def env(self, request):
        env = make(request.param)
        yield env
        env.close()

    def test_spaces_time_limit_and_names_are_gymnasiums(self, env):
        captioner = ClassicControlCaptioner(env.spec.id)
        assert isinstance(captioner, Captioner)
        assert captioner.applies_to(env.observation_space, env.action_space)
        assert not captioner.applies_to(env.action_space, env.action_space)
        description = captioner.description
        assert f"{env.spec.max_episode_steps} steps" in description.rules
        assert "{" not in description.rules
        assert description.goals == ()
        discrete = isinstance(env.action_space, gym.spaces.Discrete)
        assert len(description.action_names) == (env.action_space.n if discrete else 0)

    def test_refuses_observations_of_another_shape(self, env):
        captioner = ClassicControlCaptioner(env.spec.id)
        with pytest.raises(InvalidOptionError, match=r"batch of the shape \(n, \d\), got \(\d,\)"):
            captioner.facts(env.reset()[0], {})


class TestCartPole:
    def test_sentence(self):
        facts, caption = speak("CartPole-v1", 0.12, -0.3, math.radians(2.1), math.radians(12))
        assert facts["cart_position_m"] == 0.12
        assert facts["pole_angle_deg"] == pytest.approx(2.1)
        assert (facts["cart_side"], facts["pole_lean"]) == ("right", "right")
        assert caption == (
            "The cart is 0.12 m right of the centre, moving left at 0.30 m/s; "
            "the pole leans 2.1 degrees right and is falling right at 12 degrees/s."
        )

    def test_sentence_at_rest(self):
        facts, caption = speak("CartPole-v1", -0.001, 0.001, -0.0001, 0.001)
        assert (facts["cart_side"], facts["pole_lean"]) == ("centre", "upright")
        assert caption == (
            "The cart is at the centre, standing still; the pole stands upright and is not turning."
        )

    @pytest.mark.parametrize(
        ("angle", "turn", "words"),
        [
            (0.1, -0.2, "swinging back left"),
            (-0.1, 0.2, "swinging back right"),
            (-0.1, -0.2, "falling left"),
            (0.0, 0.2, "falling right"),
        ],
    )
    def test_falling_or_swinging_back(self, angle, turn, words):
        assert f"and is {words} at 11 degrees/s." in speak("CartPole-v1", 0, 0, angle, turn)[1]

    @examples
    @given(st.floats(-4.8, 4.8), st.floats(-9, 9), st.floats(-0.4, 0.4), st.floats(-9, 9))
    def test_quantities_read_back(self, position, velocity, angle, turn):
        _, caption = speak("CartPole-v1", position, velocity, angle, turn)
        read = [
            number(r"is ([\d.]+) m (left|right)", caption, "left"),
            number(r"moving left at ([\d.]+)", caption, "left")
            or number(r"moving right at ([\d.]+)", caption),
            number(r"leans ([\d.]+) degrees? (left|right)", caption, "left"),
            number(r"(?:back|falling) left at (\d+)", caption, "left")
            or number(r"(?:back|falling) right at (\d+)", caption),
        ]
        truth = [position, velocity, math.degrees(angle), math.degrees(turn)]
        for value, expected, half in zip(read, truth, (0.005, 0.005, 0.05, 0.5), strict=True):
            assert value == pytest.approx(expected, abs=half + 1e-9)

    def test_limits_are_gymnasiums(self):
        env = make("CartPole-v1")
        rules = ClassicControlCaptioner("CartPole-v1").description.rules
        assert f"{math.degrees(env.unwrapped.theta_threshold_radians):g} degrees" in rules
        assert f"{env.unwrapped.x_threshold} m" in rules
        assert f"{env.unwrapped.force_mag:g} N" in rules
        assert f"{env.unwrapped.tau} s" in rules
        env.close()

    @pytest.mark.parametrize(
        ("action", "cart", "pole"), [(0, "left", "right"), (1, "right", "left")]
    )
    def test_a_push_moves_the_cart_there_and_tips_the_pole_away(self, action, cart, pole):
        env = make("CartPole-v1")
        moved = step(env, [0, 0, 0, 0], action)
        captioner = ClassicControlCaptioner("CartPole-v1")
        before, after = captioner.facts(np.stack([np.zeros(4), moved]), {})
        assert f"moving {cart}" in captioner.state_captions([after])[0]
        assert f"falling {pole}" in captioner.state_captions([after])[0]
        assert captioner.transition_captions([before], [action], [after]) == [
            f"push {cart}: cart velocity went from 0.00 m/s to 0.20 m/s {cart}"
        ]
        env.close()


class TestMountainCar:
    @pytest.mark.parametrize(
        ("position", "velocity", "caption"),
        [
            (-0.75, 0.021, "on the left slope, 1.25 m left of the flag, moving right downhill at"),
            (-0.75, -0.021, "on the left slope, 1.25 m left of the flag, moving left uphill at"),
            (0.2, 0.021, "on the right slope, 0.30 m left of the flag, moving right uphill at"),
            (-math.pi / 6, 0.021, "on the valley floor, 1.02 m left of the flag, moving right at"),
            (0.55, 0.0, "on the right slope, 0.05 m past the flag, standing still."),
            (0.5, 0.0, "on the right slope, at the flag, standing still."),
        ],
    )
    def test_sentence(self, position, velocity, caption):
        tail = " 0.021 m per step." if velocity else ""
        spoken = speak("MountainCar-v0", position, velocity)[1]
        assert spoken == f"The car is at {position:.2f} m {caption}{tail}"

    @pytest.mark.parametrize("env_id", ["MountainCar-v0", "MountainCarContinuous-v0"])
    def test_flag_and_walls_are_gymnasiums(self, env_id):
        base = make(env_id).unwrapped
        facts, _ = speak(env_id, base.goal_position, 0)
        assert facts["distance_to_flag_m"] == 0
        rules = ClassicControlCaptioner(env_id).description.rules
        for fact in (base.goal_position, base.min_position, base.max_position, base.max_speed):
            assert f"{fact} m" in rules

    @examples
    @given(st.floats(-1.2, 0.6), st.floats(-0.07, 0.07))
    def test_quantities_read_back(self, position, velocity):
        caption = speak("MountainCar-v0", position, velocity)[1]
        past = number(r"([\d.]+) m past", caption)
        assert number(r"at (-?[\d.]+) m", caption) == pytest.approx(position, abs=0.005001)
        left = number(r"([\d.]+) m left of", caption) or -past
        assert left == pytest.approx(0.5 - position, abs=0.005001)
        speed = number(r"moving (?:left|right)[ a-z]* at ([\d.]+) m per", caption)
        assert speed * (-1 if "moving left" in caption else 1) == pytest.approx(
            velocity, abs=0.000501
        )

    @pytest.mark.parametrize(
        ("force", "words"),
        [
            (0.5, "accelerate right with 50% of full force"),
            (-7.0, "accelerate left with 100% of full force"),
            (0.001, "do not accelerate"),
        ],
    )
    def test_continuous_action(self, force, words):
        captioner = ClassicControlCaptioner("MountainCarContinuous-v0")
        facts = captioner.facts(np.array([[-0.5, 0.0]]), {})
        action = np.array([force], dtype=np.float32)
        assert captioner.transition_captions(facts, [action], facts) == [
            f"{words}: nothing changed"
        ]

    @pytest.mark.parametrize(("action", "side"), [(0, "left"), (2, "right")])
    def test_acceleration_goes_where_it_says(self, action, side):
        env = make("MountainCar-v0")
        moved = step(env, [-math.pi / 6, 0.0], action)
        assert f"moving {side}" in speak("MountainCar-v0", *moved)[1]
        env.close()


class TestErrors:
    def test_unknown_environment(self):
        with pytest.raises(
            UnknownNameError, match=r"must be one of CartPole-v0, .*got 'Acrobot-v0'"
        ):
            ClassicControlCaptioner("Acrobot-v0")

    @pytest.mark.parametrize("action", [-1, 2])
    def test_unknown_action(self, action):
        captioner = ClassicControlCaptioner("CartPole-v1")
        facts = captioner.facts(np.zeros((1, 4)), {})
        with pytest.raises(InvalidOptionError, match=rf"actions must be 0\.\.1, got {action}"):
            captioner.transition_captions(facts, [action], facts)

    def test_action_that_is_not_one_number(self):
        captioner = ClassicControlCaptioner("Pendulum-v1")
        facts = captioner.facts(np.zeros((1, 3)), {})
        with pytest.raises(InvalidOptionError, match="each action must be one number"):
            captioner.transition_captions(facts, [np.zeros(2)], facts)


# Training runs share the machine, so the time of one example says nothing.
swings_examples = settings(deadline=None, max_examples=80)

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

    @swings_examples
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

    @swings_examples
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
