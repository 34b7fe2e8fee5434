"""Counting what a client uses."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.answer import Completion
from llm_wrappers.llm.usage import PURPOSES, Counts, Usage, UsageMeter


def an_answer(dollars=0.1, prompt_tokens=10, completion_tokens=2):
    return Completion(
        text="yes",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        dollars=dollars,
    )


def test_each_number_counts_what_it_says():
    meter = UsageMeter()
    meter.record("judge", [an_answer()], requests=3, seconds=1.5)
    meter.record("judge", [], requests=2, seconds=0.5, failed=True)
    meter.record_hit("judge")
    meter.record_hit("judge")
    assert meter.snapshot()["judge"] == Counts(
        calls=5,
        cache_hits=2,
        failures=1,
        prompt_tokens=10,
        completion_tokens=2,
        dollars=0.1,
        seconds=2.0,
    )


@pytest.mark.parametrize("price", [None, float("nan"), float("inf")])
def test_an_unknown_price_is_never_silently_nothing(price):
    meter = UsageMeter()
    meter.record("plan", [an_answer(price), an_answer(0.0)], requests=2, seconds=1)
    counts = meter.snapshot()["plan"]
    assert (counts.dollars, counts.unpriced_calls) == (0.0, 1)


def test_a_purpose_that_never_occurred_has_used_nothing():
    usage = UsageMeter().snapshot()
    assert all(usage[purpose] == Counts() for purpose in (*PURPOSES, "another"))
    assert "plan" not in usage
    assert usage.total == Counts()
    assert usage == Usage()


@pytest.mark.parametrize("purpose", ["", " ", None, 5], ids=repr)
def test_a_purpose_is_a_text(purpose):
    meter = UsageMeter()
    for use in (
        lambda: meter.record(purpose, [], requests=1, seconds=0),
        lambda: meter.record_hit(purpose),
        lambda: meter.snapshot()[purpose],
    ):
        with pytest.raises(InvalidOptionError, match="purpose as a non-empty text"):
            use()
    assert meter.snapshot() == Usage()


def test_it_reads_as_a_table():
    meter = UsageMeter()
    meter.record("plan", [an_answer(0.25)], requests=2, seconds=0.5)
    meter.record("judge", [an_answer(None)], requests=10, seconds=12.25)
    meter.record_hit("judge")
    lines = str(meter.snapshot()).splitlines()
    assert [line.split()[1] for line in lines if "--" not in line] == [
        "purpose",
        "plan",
        "judge",
        "total",
    ]
    assert lines[0].split() == [
        "|", "purpose", "|", "calls", "|", "cache_hits", "|", "failures", "|", "prompt_tokens", "|",
        "completion_tokens", "|", "dollars", "|", "unpriced_calls", "|", "seconds", "|",
    ]  # fmt: skip
    assert lines[-1].split()[3::2] == ["12", "1", "0", "20", "4", "0.25", "1", "12.8"]
    assert len({len(line) for line in lines}) == 1


prices = st.none() | st.integers(0, 10_000).map(lambda number: number / 1000)
records = st.tuples(
    st.sampled_from(["plan", "judge", "b", "a"]), st.lists(prices, max_size=3), st.integers(0, 5)
)


@given(st.lists(records, max_size=20), st.integers(0, 20), st.integers())
@settings(deadline=None)
def test_the_order_does_not_matter_and_parts_add_up(events, cut, seed):
    def usage_of(some):
        meter = UsageMeter()
        for purpose, dollars, requests in some:
            meter.record(purpose, [an_answer(price) for price in dollars], requests=requests,
                         seconds=0.125, failed=not dollars)  # fmt: skip
        return meter.snapshot()

    shuffled = random.Random(seed).sample(events, len(events))
    whole = usage_of(events)
    assert usage_of(shuffled) == whole
    assert whole - usage_of(events[:cut]) == usage_of(events[cut:])
    assert usage_of(events[:cut]).total + usage_of(events[cut:]).total == whole.total
