"""The Crafter score and the statistics over runs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.scores import (
    bootstrap_interval,
    crafter_score,
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

    def test_accepts_the_mapping_of_success_rates(self):
        assert crafter_score({"a": 10.0, "b": 20.0}) == crafter_score([10.0, 20.0])

    @examples
    @given(percents)
    def test_lies_between_lowest_and_highest_rate(self, rates):
        assert min(rates) - 1e-9 <= crafter_score(rates) <= max(rates) + 1e-9

    @examples
    @given(percents, st.data())
    def test_is_monotone_in_each_rate(self, rates, data):
        index = data.draw(st.integers(0, len(rates) - 1))
        higher = data.draw(st.floats(rates[index], 100))
        raised = [*rates[:index], higher, *rates[index + 1 :]]
        assert crafter_score(raised) >= crafter_score(rates) - 1e-9

    @examples
    @given(percents, st.randoms(use_true_random=False))
    def test_ignores_the_order(self, rates, random):
        shuffled = random.sample(rates, len(rates))
        assert crafter_score(shuffled) == pytest.approx(crafter_score(rates), abs=1e-9)

    @pytest.mark.parametrize("rates", [[], [-0.1], [100.1], [math.nan], [[1.0, 2.0]]])
    def test_refuses_what_is_not_percentages(self, rates):
        with pytest.raises(InvalidOptionError, match="success_rates must be"):
            crafter_score(rates)


class TestSuccessRates:
    def test_counts_episodes_not_repetitions(self):
        assert success_rates([episode(1, a=5, b=0), episode(1, a=0, b=0)]) == {"a": 50.0, "b": 0.0}

    def test_missing_key_counts_as_zero(self):
        assert success_rates([episode(1, a=1), episode(1, b=1)]) == {"a": 50.0, "b": 50.0}

    @pytest.mark.parametrize("episodes", [[], [{"length": 3}]])
    def test_refuses_episodes_without_achievements(self, episodes):
        with pytest.raises(InvalidOptionError, match="achievement_<name>"):
            success_rates(episodes)


class TestOfficialScore:
    episodes = (episode(60, a=0), episode(60, a=1), episode(60, a=1))

    @pytest.mark.parametrize(
        ("budget", "expected"),
        [(60, 0.0), (119, 0.0), (120, 50.0), (1e6, 200 / 3), (None, 200 / 3)],
    )
    def test_counts_episodes_that_end_within_the_budget(self, budget, expected):
        assert official_score(self.episodes, budget) == pytest.approx(expected)

    def test_short_episode_after_the_budget_does_not_slip_in(self):
        episodes = [episode(50, a=0), episode(100, a=1), episode(1, a=1)]
        assert official_score(episodes, budget=100) == 0.0

    @pytest.mark.parametrize(("budget", "message"), [(0, "positive"), (59, "no episode ends")])
    def test_refuses_a_budget_without_an_episode(self, budget, message):
        with pytest.raises(InvalidOptionError, match=message):
            official_score(self.episodes, budget)


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
    def test_is_deterministic_and_depends_on_the_seed(self):
        values = np.random.default_rng(3).normal(size=9)
        assert bootstrap_interval(values) == bootstrap_interval(values)
        assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)

    @examples
    @given(st.lists(finite, min_size=2, max_size=8))
    def test_stays_within_the_values(self, values):
        low, high = bootstrap_interval(values, resamples=50)
        assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6

    def test_grows_with_the_confidence(self):
        values = [3.0, 5.0, 6.0, 8.0, 9.0, 11.0]
        narrow, wide = (bootstrap_interval(values, confidence=c) for c in (0.5, 0.99))
        assert wide[0] < narrow[0] < interquartile_mean(values) < narrow[1] < wide[1]

    def test_covers_the_mean_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        intervals = [bootstrap_interval(rng.normal(size=30), np.mean, 0.9, 200) for _ in range(200)]
        assert 0.82 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.96

    @pytest.mark.parametrize("values", [[], [4.0]])
    def test_has_no_interval_for_fewer_than_two_runs(self, values):
        assert all(math.isnan(end) for end in bootstrap_interval(values))

    @pytest.mark.parametrize("options", [{"confidence": 1.0}, {"confidence": 0}, {"resamples": 0}])
    def test_refuses_options_out_of_range(self, options):
        with pytest.raises(InvalidOptionError, match=next(iter(options))):
            bootstrap_interval([1.0, 2.0], **options)
