"""What an option must be: what is taken, what is refused, and what the message says."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

WHOLE = [0, -3, 10**400, np.int64(7), np.uint8(7)]
NUMBERS = [0.5, -1e300, np.float32(0.5), np.float64(0.5), Fraction(1, 2)]
NO_NUMBERS = [
    True, False, np.bool_(True), None, "1", b"1", [1], (1,), {}, 1j, Decimal(1), np.array(1),
    np.array([1.0]),
]  # fmt: skip
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")]


class TestIsWhole:
    @pytest.mark.parametrize("value", WHOLE, ids=str)
    def test_whole_numbers_are(self, value):
        assert checks.is_whole(value)

    @pytest.mark.parametrize("value", [*NUMBERS, *NO_NUMBERS, *NOT_FINITE, 1.0], ids=repr)
    def test_nothing_else_is(self, value):
        assert not checks.is_whole(value)


class TestIsNumber:
    @pytest.mark.parametrize("value", [0, -3, np.int64(7), *NUMBERS], ids=str)
    def test_finite_numbers_are(self, value):
        assert checks.is_number(value)

    @pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE], ids=repr)
    def test_nothing_else_is(self, value):
        assert not checks.is_number(value)

    def test_what_fits_into_no_float_is_none(self):
        assert not checks.is_number(10**400)


class TestWhole:
    @given(st.integers(-5, 30))
    def test_what_is_inside_comes_back(self, value):
        if 2 <= value <= 9:
            assert checks.whole("every", value, least=2, most=9) == value
        else:
            with pytest.raises(InvalidOptionError, match=r"every must be a whole number in 2\.\.9"):
                checks.whole("every", value, least=2, most=9)

    @pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)], ids=repr)
    def test_it_comes_back_as_a_plain_int(self, value):
        assert type(checks.whole("every", value, least=1)) is int

    @pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE, 1.0, 0.5, 0, -1], ids=repr)
    def test_what_is_none_or_too_small_is_refused(self, value):
        with pytest.raises(
            InvalidOptionError, match=r"^every must be a whole number >= 1, got "
        ) as e:
            checks.whole("every", value, least=1)
        assert str(e.value).endswith(f"got {value!r}")

    def test_none_is_taken_where_it_means_something(self):
        assert checks.whole("most", None, least=1, or_none="to keep all") is None
        assert checks.whole("most", 4, least=1, or_none="to keep all") == 4
        with pytest.raises(InvalidOptionError, match="number >= 1, or None to keep all, got 0"):
            checks.whole("most", 0, least=1, or_none="to keep all")


class TestNumber:
    @given(st.floats() | st.integers(-3, 3))
    def test_what_is_inside_comes_back(self, value):
        if -1 <= value <= 1:
            assert checks.number("share", value, least=-1, most=1) == value
        else:
            with pytest.raises(
                InvalidOptionError, match=r"share must be a number in \[-1, 1\], got"
            ):
                checks.number("share", value, least=-1, most=1)

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_any_finite_number_is_taken_where_nothing_limits_it(self, value):
        assert checks.number("share", value) == value

    @pytest.mark.parametrize("value", [1, np.float32(1), np.int8(1), Fraction(1)], ids=repr)
    def test_it_comes_back_as_a_plain_float(self, value):
        assert type(checks.number("share", value)) is float

    @pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE, 10**400], ids=str)
    @pytest.mark.parametrize(
        ("limits", "said"),
        [
            ({}, "a finite number"),
            ({"least": 0}, "a finite number >= 0"),
            ({"least": 0, "most": 1}, r"a number in \[0, 1\]"),
            ({"above": 0}, "a finite number > 0"),
            ({"above": 0, "most": 1}, "a finite number > 0, at most 1"),
        ],
    )
    def test_what_is_none_is_refused(self, value, limits, said):
        with pytest.raises(InvalidOptionError, match=f"^share must be {said}, got "):
            checks.number("share", value, **limits)

    @pytest.mark.parametrize(
        ("limits", "value"),
        [({"least": 0}, -0.1), ({"above": 0}, 0), ({"above": 0, "most": 1}, 1.1)],
        ids=str,
    )
    def test_what_is_outside_is_refused(self, limits, value):
        with pytest.raises(InvalidOptionError, match=f"got {value}"):
            checks.number("share", value, **limits)

    def test_a_limit_itself_is_inside_unless_it_must_be_above(self):
        assert checks.number("share", 0, least=0, most=1) == 0.0
        assert checks.number("share", 1, above=0, most=1) == 1.0


class TestFlag:
    @pytest.mark.parametrize("value", [True, False])
    def test_a_switch_is_taken(self, value):
        assert checks.flag("training", value) is value

    @pytest.mark.parametrize("value", [0, 1, None, "yes", np.bool_(True), []], ids=repr)
    def test_nothing_else_is(self, value):
        with pytest.raises(InvalidOptionError, match="training must be True or False, got"):
            checks.flag("training", value)


class TestOneOf:
    def test_one_of_the_few_comes_back(self):
        assert checks.one_of("mode", "A", ("RA", "A", "R")) == "A"
        assert checks.one_of("mode", None, [None, "rgb_array"]) is None

    @pytest.mark.parametrize("value", ["a", "", None, 1, ["A"], {}, np.array(["A", "R"])], ids=repr)
    def test_nothing_else_does(self, value):
        with pytest.raises(InvalidOptionError, match=r"mode must be one of \('RA', 'A'\), got"):
            checks.one_of("mode", value, ["RA", "A"])

    def test_true_is_not_one(self):
        with pytest.raises(InvalidOptionError):
            checks.one_of("score", True, (-1, 0, 1))


class TestText:
    @given(st.text(min_size=1))
    def test_a_text_comes_back(self, value):
        assert checks.text("key", value) == value

    @pytest.mark.parametrize("value", ["", None, 1, b"goal", ["goal"]], ids=repr)
    def test_nothing_else_does(self, value):
        with pytest.raises(InvalidOptionError, match="key must be a non-empty string, got"):
            checks.text("key", value)


class TestTexts:
    @pytest.mark.parametrize("value", [["go left", "wait"], ("go left", "wait")], ids=repr)
    def test_they_come_back_as_a_tuple(self, value):
        assert checks.texts("goals", value) == ("go left", "wait")

    def test_there_may_be_none(self):
        assert checks.texts("goals", []) == ()

    @pytest.mark.parametrize(
        "value", ["go left", None, 3, ["go left", ""], ["go left", None], [1], {"go left"}, b"ab"],
        ids=repr,
    )  # fmt: skip
    def test_a_text_alone_and_what_holds_none_is_refused(self, value):
        with pytest.raises(InvalidOptionError, match="goals must be a list of non-empty strings"):
            checks.texts("goals", value)


class TestKey:
    def test_a_new_one_comes_back(self):
        assert checks.key("goal_key", "goal", {"obs": 0}) == "goal"

    def test_one_that_is_taken_is_refused_with_those_that_are(self):
        message = (
            r"already has the key 'obs' \(keys: \['caption', 'obs'\]\); .* with goal_key=\.\.\."
        )
        with pytest.raises(InvalidOptionError, match=message):
            checks.key("goal_key", "obs", {"obs": 0, "caption": 0})

    @pytest.mark.parametrize("value", ["", None, 3], ids=repr)
    def test_what_is_no_text_is_refused(self, value):
        with pytest.raises(InvalidOptionError, match="goal_key must be a non-empty string"):
            checks.key("goal_key", value, {})


class TestVocabulary:
    def test_it_keeps_the_order(self):
        assert checks.vocabulary(["b", "a"]) == ("b", "a")

    @pytest.mark.parametrize(
        ("goals", "message"),
        [
            ("eat cow", "must be a list of non-empty strings, got 'eat cow'"),
            (["eat cow", ""], "must be a list of non-empty strings"),
            (["eat cow", None], "must be a list of non-empty strings"),
            ([], "describes no goals: pass them"),
            (["eat cow", "wake up", "eat cow"], "goals must not repeat"),
        ],
    )
    def test_anything_else_is_refused(self, goals, message):
        with pytest.raises(InvalidOptionError, match=message):
            checks.vocabulary(goals)
