"""Test 24: how xi falls over the training, for any stages."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wrapper_doubles import stable_id

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.schedules import (
    OUR_THREE_STAGES,
    Constant,
    Linear,
    ThreeStageCosine,
    coefficient,
    resolve_schedule,
    three_stage_cosine,
)

shares = st.floats(0.0, 1.0)
Stages = tuple[tuple[float, float, float], ...]


@st.composite
def stages(draw: st.DrawFn, *, joined: bool = False) -> Stages:
    """Three stages that never rise; joined ones have no jumps between them."""
    ends = sorted(draw(st.lists(st.integers(1, 1000), min_size=3, max_size=3, unique=True)))
    values = sorted(draw(st.lists(shares, min_size=6, max_size=6)), reverse=True)
    if joined:
        values = [values[i] for i in (0, 1, 1, 2, 2, 3)]
    return tuple((ends[i] / 1000, values[2 * i], values[2 * i + 1]) for i in range(3))


@given(stages(), st.lists(shares, min_size=2, max_size=20))
def test_24_it_never_rises_and_stays_within_its_values(given_stages: Stages, when: Any) -> None:
    schedule = ThreeStageCosine(given_stages)
    values = [schedule(progress) for progress in sorted(when)]
    assert all(later <= earlier for earlier, later in pairwise(values))
    assert all(given_stages[2][2] <= value <= given_stages[0][1] for value in values)


@given(stages())
@example(((0.001, 0.9999999999999999, 0.3333333333333333), (0.002, 0.0, 0.0), (0.003, 0.0, 0.0)))
def test_24_it_begins_and_ends_each_stage_at_exactly_the_given_values(given_stages: Stages) -> None:
    schedule = ThreeStageCosine(given_stages)
    begin = 0.0
    for index, (end, first, last) in enumerate(given_stages):
        assert schedule(begin) == first
        just_before = schedule(math.nextafter(end, 0.0))
        assert just_before == pytest.approx(last, abs=1e-9)
        at_the_end = given_stages[index + 1][1] if index < 2 else last
        assert schedule(end) == at_the_end
        begin = end


@given(stages(), shares)
def test_24_it_is_constant_after_the_last_stage(given_stages: Stages, share: float) -> None:
    end, _, last = given_stages[2]
    assert ThreeStageCosine(given_stages)(end + share * (1.0 - end)) == last


@given(stages(joined=True), shares, st.floats(0.0, 0.01))
def test_24_joined_stages_have_no_jumps(given_stages: Stages, progress: float, step: float) -> None:
    """A half cosine wave is never steeper than pi / 2 times its mean slope."""
    schedule = ThreeStageCosine(given_stages)
    begins = [0.0, *(end for end, _, _ in given_stages)]
    steepest = max(
        (first - last) / (end - begin)
        for begin, (end, first, last) in zip(begins, given_stages, strict=False)
    )
    fall = schedule(progress) - schedule(min(progress + step, 1.0))
    assert fall <= math.pi / 2 * steepest * step + 1e-9


@given(stages(), st.sampled_from([0, 1, 2]), shares)
def test_24_inside_a_stage_it_is_the_cosine_of_the_definition(
    given_stages: Stages, stage: int, share: float
) -> None:
    begin = given_stages[stage - 1][0] if stage else 0.0
    end, first, last = given_stages[stage]
    progress = begin + share * (end - begin)
    if not begin <= progress < end:
        return
    wave = math.cos(math.pi * (progress - begin) / (end - begin))
    expected = last + 0.5 * (first - last) * (1 + wave)
    assert ThreeStageCosine(given_stages)(progress) == pytest.approx(expected, abs=1e-9)


def test_24_our_stages_are_joined_and_fall_from_1_to_0() -> None:
    schedule = three_stage_cosine()
    assert (schedule(0.0), schedule(1.0)) == (1.0, 0.0)
    assert all(one[2] == other[1] for one, other in pairwise(OUR_THREE_STAGES))
    assert resolve_schedule({"kind": "three_stage_cosine"})(0.3) == schedule(0.3)


@given(shares, shares, st.floats(0.01, 1.0), shares)
def test_a_line_ends_at_exactly_its_end(start: float, end: float, until: float, at: float) -> None:
    schedule = Linear(start, end, until)
    assert schedule(0.0) == start
    assert schedule(until) == schedule(1.0) == end
    rounding = 1e-12
    assert min(start, end) - rounding <= coefficient(schedule, at) <= max(start, end) + rounding


@given(shares, shares)
def test_a_number_is_a_constant(value: float, progress: float) -> None:
    assert resolve_schedule(value)(progress) == value == Constant(value)(progress)


@pytest.mark.parametrize(
    ("given_stages", "message"),
    [
        (((0.5, 1.0, 0.5), (1.0, 0.5, 0.0)), "expected three stages"),
        (((0.5, 1.0, 0.5, 0.1), (0.7, 0.5, 0.4), (1.0, 0.4, 0.0)), "expected three stages"),
        (((0.5, 1.0, 0.5), (0.5, 0.5, 0.4), (1.0, 0.4, 0.0)), "end later and later"),
        (((0.0, 1.0, 0.5), (0.5, 0.5, 0.4), (1.0, 0.4, 0.0)), "end later and later"),
        (((0.2, 0.5, 0.9), (0.5, 0.5, 0.4), (1.0, 0.4, 0.0)), "never rise"),
        (((0.2, 1.0, 0.5), (0.5, 0.6, 0.4), (1.0, 0.4, 0.0)), "never rise"),
        (((0.2, 1.0, 0.5), (0.5, 0.5, 0.4), (1.5, 0.4, 0.0)), "end of a stage must be a number"),
        (((0.2, 1.0, 0.5), (0.5, 0.5, float("nan")), (1.0, 0.4, 0.0)), "last of a stage"),
    ],
)
def test_stages_that_are_none_are_refused(given_stages: Any, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        ThreeStageCosine(given_stages)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"kind": "linear", "start": 1.0}, "schedule 'linear': "),
        ({"kind": "linear", "start": 1.0, "end": 0.0, "until": 0.0}, "until must be above 0"),
        ({"start": 1.0}, "expected a 'kind' among"),
        ({"kind": "constant", "value": True}, "value must be a number"),
        (True, "expected a number in"),
        (None, "expected a number in"),
        (lambda progress: "high", "a schedule's value"),
        (lambda progress: 3.0 if progress == 1.0 else 0.5, "here at progress 1.0"),
    ],
    ids=stable_id,
)
def test_a_schedule_that_is_none_is_refused(schedule: Any, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        resolve_schedule(schedule)
