"""The Crafter score, statistics over runs, and result tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.scores import (
    bootstrap_interval,
    crafter_score,
    format_table,
    interquartile_mean,
    official_score,
    success_rates,
)

# Training runs share the machine, so the time of one example says nothing.
examples = settings(deadline=None)

percents = st.lists(st.floats(0, 100), min_size=1, max_size=25)
finite = st.floats(-1e6, 1e6)

# Percent per achievement of a random policy over one million steps, measured by the authors of
# Crafter; the score of their five seeds is 1.55 +- 0.01.
RANDOM_POLICY = [93.6, 50.2, 44.6, 24.4, 9.3, 4.4, 0.4, 0.3, 0.3, 0.1] + [0.0] * 12


def episode(length, **counts):
    record = {"length": length, "reward": 0.1}
    return record | {f"achievement_{name}": count for name, count in counts.items()}


class TestCrafterScore:
    def test_random_policy_scores_as_measured_by_the_authors(self):
        assert crafter_score(RANDOM_POLICY) == pytest.approx(1.55, abs=0.02)
        assert crafter_score({"a": 10.0, "b": 20.0}) == crafter_score([10.0, 20.0])

    @examples
    @given(percents, st.data())
    def test_is_monotone_within_the_rates_and_without_an_order(self, rates, data):
        score = crafter_score(rates)
        assert min(rates) - 1e-9 <= score <= max(rates) + 1e-9
        assert crafter_score(rates[::-1]) == pytest.approx(score, abs=1e-9)
        index = data.draw(st.integers(0, len(rates) - 1))
        higher = data.draw(st.floats(rates[index], 100))
        assert crafter_score([*rates[:index], higher, *rates[index + 1 :]]) >= score - 1e-9

    @pytest.mark.parametrize("rates", [[], [-0.1], [100.1], [math.nan], [[1.0, 2.0]]])
    def test_refuses_what_is_not_percentages(self, rates):
        with pytest.raises(InvalidOptionError, match="success_rates must be"):
            crafter_score(rates)

    def test_success_is_counted_by_episodes_and_a_missing_key_is_none(self):
        assert success_rates([episode(1, a=5, b=0), episode(1, a=0, b=0)]) == {"a": 50.0, "b": 0.0}
        assert success_rates([episode(1, a=1), episode(1, b=1)]) == {"a": 50.0, "b": 50.0}
        for episodes in ([], [{"length": 3}]):
            with pytest.raises(InvalidOptionError, match="achievement_<name>"):
                success_rates(episodes)

    @pytest.mark.parametrize(
        ("budget", "expected"),
        [(60, 0.0), (119, 0.0), (120, 50.0), (1e6, 200 / 3), (None, 200 / 3)],
    )
    def test_counts_episodes_that_end_within_the_budget(self, budget, expected):
        episodes = (episode(60, a=0), episode(60, a=1), episode(60, a=1))
        assert official_score(episodes, budget) == pytest.approx(expected)

    def test_short_episode_after_the_budget_does_not_slip_in(self):
        episodes = [episode(50, a=0), episode(100, a=1), episode(1, a=1)]
        assert official_score(episodes, budget=100) == 0.0
        for budget, message in ((0, "positive"), (49, "no episode ends")):
            with pytest.raises(InvalidOptionError, match=message):
                official_score(episodes, budget)


class TestInterquartileMean:
    @examples
    @given(st.lists(finite, min_size=1, max_size=40))
    def test_equals_the_trimmed_mean_of_scipy(self, values):
        trim_mean = pytest.importorskip("scipy.stats").trim_mean
        assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25), abs=1e-6)

    @pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf], [[1.0]]])
    def test_refuses_what_has_no_mean(self, values):
        with pytest.raises(InvalidOptionError, match="values must"):
            interquartile_mean(values)


class TestBootstrapInterval:
    @examples
    @given(st.lists(finite, min_size=2, max_size=8))
    def test_stays_within_the_values(self, values):
        low, high = bootstrap_interval(values, resamples=50)
        assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6

    def test_grows_with_the_confidence_and_depends_on_the_seed(self):
        values = [3.0, 5.0, 6.0, 8.0, 9.0, 11.0]
        narrow, wide = (bootstrap_interval(values, confidence=c) for c in (0.5, 0.99))
        assert wide[0] < narrow[0] < interquartile_mean(values) < narrow[1] < wide[1]
        values = np.random.default_rng(3).normal(size=9)
        assert bootstrap_interval(values) == bootstrap_interval(values)
        assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)

    def test_covers_the_mean_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        intervals = [bootstrap_interval(rng.normal(size=30), np.mean, 0.9, 200) for _ in range(200)]
        assert 0.82 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.96

    def test_has_no_interval_for_fewer_than_two_runs(self):
        assert all(math.isnan(end) for end in (*bootstrap_interval([]), *bootstrap_interval([4.0])))

    @pytest.mark.parametrize("options", [{"confidence": 1.0}, {"confidence": 0}, {"resamples": 0}])
    def test_refuses_options_out_of_range(self, options):
        with pytest.raises(InvalidOptionError, match=next(iter(options))):
            bootstrap_interval([1.0, 2.0], **options)


class TestFormatTable:
    def test_blank_cells_and_chosen_columns(self):
        rows = [{"a": 1, "b": "x"}, {"a": None, "c": True}]
        assert format_table(rows, ["c", "a"]).splitlines() == [
            "| c    |   a |",
            "| ---- | --: |",
            "|      |   1 |",
            "| True |     |",
        ]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.012345, "0.0123"),
            (80.91, "80.9"),
            (1234.5, "1234"),
            (1e20, "1e+20"),
            (123456, "123456"),
            (math.nan, "nan"),
            (np.float32(0.5), "0.5"),
            ("a|b\nc", "a\\|b c"),
        ],
    )
    def test_cells(self, value, text):
        assert format_table([{"v": value}]).splitlines()[2].strip("| ") == text

    @examples
    @given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9)), max_size=5))
    def test_every_line_has_the_same_shape(self, rows):
        lines = format_table(rows).split("\n")
        assert len({len(line) for line in lines}) == 1
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1

    def test_no_columns_no_table_and_a_header_alone(self):
        assert format_table([]) == format_table([{}]) == ""
        assert format_table([], ["a"]) == "| a   |\n| --- |"
