"""Values that planner code returned, and facts that it is given."""

import contextlib
import math
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import GuidanceError, InvalidOptionError
from llm_wrappers.sandbox import PlannerFailure, checked_answer
from llm_wrappers.sandbox.answers import one_line, plain_facts

texts = st.text(max_size=200)
weights = st.integers(0, 10**300) | st.floats(0, allow_infinity=False, allow_nan=False)
answers = st.lists(st.tuples(texts, weights) | st.tuples(texts, weights).map(list), max_size=64)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def untouchable(*bases):
    """Return a class with these bases whose every method says that it was called."""

    def touched(*arguments):
        raise SystemExit("touched")

    called = "repr str eq hash len iter bool lt le gt ge float index getitem getattribute"
    methods = {f"__{name}__": touched for name in called.split(" ")}
    return type("Untouchable", bases, methods)


def of_untouchable_type():
    """Return an object whose type raises whatever is asked of it."""

    class Meta(type):
        def __getattribute__(cls, name):
            raise SystemExit("touched")

    return Meta("Untouchable", (), {})()


UNTOUCHABLE = {
    "object": lambda: untouchable()(),
    "type": of_untouchable_type,
    "entry": lambda: [untouchable()()],
    "goal": lambda: [(untouchable()(), 1.0)],
    "weight": lambda: [("a", untouchable()())],
    "text": lambda: [(untouchable(str)("a"), 1.0)],
    "number": lambda: [("a", untouchable(float)(1))],
    "list": lambda: untouchable(list)([("a", 1.0)]),
    "pair": lambda: [untouchable(list)(["a", 1.0])],
}


class TestAnswers:
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(answers)
    def test_a_valid_answer_is_kept_as_fresh_pairs(self, answer):
        checked = checked_answer(answer)
        assert checked == [tuple(pair) for pair in answer]
        assert all(type(pair) is tuple for pair in checked)
        assert checked is not answer

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(anything)
    def test_anything_else_is_a_guidance_error(self, answer):
        with contextlib.suppress(GuidanceError):
            checked = checked_answer(answer)
            assert all(type(goal) is str and weight >= 0 for goal, weight in checked)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (None, "expected a list of (goal, weight) pairs, got a NoneType"),
            ("eat cow", "expected a list of (goal, weight) pairs, got a str"),
            ({"eat cow": 1.0}, "expected a list of (goal, weight) pairs, got a dict"),
            (7, "expected a list of (goal, weight) pairs, got an int"),
            ([("a", 1)] * 65, "expected at most 64 goals, got 65"),
            (["eat cow"], "expected (goal, weight) pairs, got a str among them"),
            ([("a", 1, 2)], "expected (goal, weight) pairs, got a tuple of 3 among them"),
            ([["a"]], "expected (goal, weight) pairs, got a list of 1 among them"),
            ([(1, 1)], "expected a goal that is a str, got an int"),
            ([("x" * 201, 1)], "expected a goal of at most 200 characters, got 201"),
            ([("a", "1")], "expected a weight that is an int or a float, got a str"),
            ([("a", True)], "expected a weight that is an int or a float, got a bool"),
            ([("a", None)], "expected a weight that is an int or a float, got a NoneType"),
            ([("a", math.nan)], "expected weights that are finite and >= 0"),
            ([("a", math.inf)], "expected weights that are finite and >= 0"),
            ([("a", -1)], "expected weights that are finite and >= 0"),
            ([("a", 10**400)], "expected weights that are finite and >= 0"),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_what_is_wrong_is_said(self, answer, message):
        with pytest.raises(GuidanceError) as caught:
            checked_answer(answer)
        assert str(caught.value) == message

    @pytest.mark.parametrize("name", UNTOUCHABLE)
    def test_nothing_of_the_answer_is_called(self, name):
        with pytest.raises(GuidanceError, match="Untouchable"):
            checked_answer(UNTOUCHABLE[name]())

    def test_shared_and_circular_values_cost_nothing(self):
        shared = ("a", 1.0)
        for _ in range(100):
            shared = (shared, shared)
        circular = []
        circular.append(circular)
        for answer in (shared, [shared], [("a", shared)], circular, [circular]):
            with pytest.raises(GuidanceError):
                checked_answer(answer)

    def test_the_limits_are_within(self):
        assert len(checked_answer([("x" * 200, 0.0)] * 64)) == 64
        assert checked_answer([]) == []
        assert checked_answer((("a", 10**308),)) == [("a", 10**308)]


class TestFailures:
    def test_it_survives_pickling(self):
        failure = pickle.loads(pickle.dumps(PlannerFailure("timeout", "took long", line=3)))
        assert (failure.kind, failure.message, failure.line) == ("timeout", "took long", 3)
        assert str(failure) == "took long (line 3 of the planner)"

    @given(st.text(), st.integers(10, 100))
    def test_a_message_is_one_short_line_of_visible_characters(self, text, most):
        shown = one_line(text, most=most)
        assert len(shown) <= most
        assert all(" " <= letter <= "~" for letter in shown)

    def test_a_huge_message_takes_no_time(self):
        assert len(PlannerFailure("raised", "x" * 50_000_000).message) == 300


class TestFacts:
    def test_numpy_scalars_become_python_values(self):
        facts = {"a": np.int8(3), "b": np.float32(0.5), "c": np.bool_(True), "d": np.str_("x")}
        plain = plain_facts(facts)
        assert plain == {"a": 3, "b": 0.5, "c": True, "d": "x"}
        assert [type(value) for value in plain.values()] == [int, float, bool, str]

    def test_what_is_nested_is_copied(self):
        facts = {"seen": ["tree"], "at": {"x": (1, 2)}}
        plain = plain_facts(facts)
        plain["seen"].append("cow")
        plain["at"].clear()
        assert facts == {"seen": ["tree"], "at": {"x": (1, 2)}}

    @pytest.mark.parametrize(
        "value",
        [np.zeros(3), object(), {1, 2}, b"x", 1j],
        ids=["array", "object", "set", "bytes", "complex"],
    )
    def test_anything_else_is_refused_by_name(self, value):
        with pytest.raises(InvalidOptionError, match=r"the fact 'view' is a "):
            plain_facts({"view": value})
