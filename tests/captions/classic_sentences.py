"""Reads the sentences of classic control back, knowing nothing of the captioner that wrote them."""

import math
import re
from dataclasses import dataclass

from hypothesis import strategies as st

from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner


@dataclass(frozen=True)
class Number:
    """A number of a sentence: the group that holds it, the word that makes it negative."""

    group: str
    decimals: int
    negative: str = ""
    turns: bool = False

    def read(self, match):
        size = float(match[self.group] or 0)
        side = f"{self.group}_side"
        return -size if self.negative and match[side] == self.negative else size

    def off(self, told, truth):
        """Return how far apart they are; for angles around the circle."""
        return abs((told - truth + 180) % 360 - 180) if self.turns else abs(told - truth)


def amount(group, unit, sides):
    """Return a pattern of a number with its unit and its side."""
    return rf"(?P<{group}>[\d.]+) {unit} (?P<{group}_side>{sides})"


def speed(group, unit, sides, verb="moving", otherwise="standing still"):
    number = rf"{verb} (?P<{group}_side>{sides}) at (?P<{group}>[\d.]+) {unit}"
    return rf"(?:{otherwise}|{number})"


DEGREES, PER_SECOND, TURNS = "degrees?", "degrees?/s", "clockwise|counter-clockwise"

CART_POLE = re.compile(
    rf"The cart is (?:at|{amount('x', 'm', 'left|right')} of) the centre, "
    rf"{speed('v', 'm/s', 'left|right')}; the pole "
    rf"(?:stands upright|leans {amount('angle', DEGREES, 'left|right')}) and is "
    rf"{speed('turn', PER_SECOND, 'left|right', '(?:falling|swinging back)', 'not turning')}\."
)
MOUNTAIN_CAR = re.compile(
    r"The car is at (?P<x>-?[\d.]+) m on the (?:left slope|right slope|valley floor), "
    rf"(?:at|{amount('flag', 'm', 'left of|past')}) the flag, "
    r"(?:standing still|moving (?P<v_side>left|right)(?: uphill| downhill)? "
    r"at (?P<v>[\d.]+) m per step)\."
)
ACROBOT = re.compile(
    rf"The upper link points (?:straight down|(?P<up>straight up)|"
    rf"{amount('upper', DEGREES, 'left|right')} of straight down), "
    rf"{speed('upper_turn', PER_SECOND, TURNS, 'turning', 'not turning')}; the lower link "
    rf"(?:continues it straight|is bent {amount('lower', DEGREES, TURNS)} from it), "
    rf"{speed('lower_turn', PER_SECOND, TURNS, 'turning', 'not turning')}; the tip is "
    rf"(?:level with|{amount('tip', 'm', 'below|above')}) the pivot, "
    rf"(?:at the target|{amount('target', 'm', 'below|above')} the target height)\."
)
PENDULUM = re.compile(
    rf"The pendulum points (?:straight up|(?P<down>straight down)|"
    rf"{amount('angle', DEGREES, 'left|right')} of straight up), "
    rf"{speed('turn', PER_SECOND, TURNS, '(?:rising|falling)')}\."
)


def cart_pole(observation):
    x, v, angle, turn = map(float, observation)
    return {"x": x, "v": v, "angle": math.degrees(angle), "turn": math.degrees(turn)}


def mountain_car(observation, flag=0.5):
    x, v = map(float, observation)
    return {"x": x, "v": v, "flag": x - flag}


def mountain_car_continuous(observation):
    return mountain_car(observation, flag=0.45)


def acrobot(observation):
    cos_1, sin_1, cos_2, sin_2, turn_1, turn_2 = map(float, observation)
    upper, lower = math.atan2(sin_1, cos_1), math.atan2(sin_2, cos_2)
    tip = -math.cos(upper) - math.cos(upper + lower)
    return {
        "upper": math.degrees(upper), "lower": math.degrees(lower), "tip": tip, "target": tip - 1.0,
        "upper_turn": math.degrees(turn_1), "lower_turn": math.degrees(turn_2),
    }  # fmt: skip


def pendulum(observation):
    cosine, sine, turn = map(float, observation)
    return {"angle": math.degrees(math.atan2(sine, cosine)), "turn": math.degrees(turn)}


CAR = {
    "x": Number("x", 2), "v": Number("v", 3, "left"), "flag": Number("flag", 2, "left of"),
}  # fmt: skip
# Environment id -> the sentence, the state by its observation, and the numbers that it tells.
CLASSIC = {
    "CartPole-v1": (
        CART_POLE, cart_pole,
        {
            "x": Number("x", 2, "left"), "v": Number("v", 2, "left"),
            "angle": Number("angle", 1, "left"), "turn": Number("turn", 0, "left"),
        },
    ),
    "MountainCar-v0": (MOUNTAIN_CAR, mountain_car, CAR),
    "MountainCarContinuous-v0": (MOUNTAIN_CAR, mountain_car_continuous, CAR),
    "Acrobot-v1": (
        ACROBOT, acrobot,
        {
            "upper": Number("upper", 0, "left", turns=True),
            "lower": Number("lower", 0, "clockwise", turns=True),
            "upper_turn": Number("upper_turn", 0, "clockwise"),
            "lower_turn": Number("lower_turn", 0, "clockwise"),
            "tip": Number("tip", 2, "below"), "target": Number("target", 2, "below"),
        },
    ),
    "Pendulum-v1": (
        PENDULUM, pendulum,
        {
            "angle": Number("angle", 0, "right", turns=True),
            "turn": Number("turn", 0, "clockwise"),
        },
    ),
}  # fmt: skip
CLASSIC["CartPole-v0"] = CLASSIC["CartPole-v1"]


def check_classic(env_id, observation):
    """Check that all numbers of the state are in the sentence, to its last decimal."""
    pattern, state_of, numbers = CLASSIC[env_id]
    captioner = ClassicControlCaptioner(env_id)
    (sentence,) = captioner.state_captions(captioner.facts(observation[None], {}))
    match = pattern.fullmatch(sentence)
    assert match, sentence
    truth = state_of(observation)
    assert set(truth) == set(numbers)
    for name, number in numbers.items():
        told = number.read(match)
        if match.groupdict().get({"upper": "up", "angle": "down"}.get(name, ""), None):
            told = 180.0
        assert number.off(told, truth[name]) <= 0.5001 * 10**-number.decimals, (name, sentence)


def angles():
    return st.floats(-math.pi, math.pi)


def within(low, high):
    return st.floats(low, high)


OBSERVATIONS = {
    "CartPole-v1": st.tuples(
        within(-4.8, 4.8), within(-20, 20), within(-0.418, 0.418), within(-20, 20)
    ),
    "MountainCar-v0": st.tuples(within(-1.2, 0.6), within(-0.07, 0.07)),
    "Acrobot-v1": st.tuples(
        angles(), angles(), within(-4 * math.pi, 4 * math.pi), within(-9 * math.pi, 9 * math.pi)
    ).map(lambda s: (math.cos(s[0]), math.sin(s[0]), math.cos(s[1]), math.sin(s[1]), *s[2:])),
    "Pendulum-v1": st.tuples(angles(), within(-8, 8)).map(
        lambda s: (math.cos(s[0]), math.sin(s[0]), s[1])
    ),
}
OBSERVATIONS["CartPole-v0"] = OBSERVATIONS["CartPole-v1"]
OBSERVATIONS["MountainCarContinuous-v0"] = OBSERVATIONS["MountainCar-v0"]
