"""Trust: what moves it, what does not, and that it is saved whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.schedules import Linear, resolve_schedule
from llm_wrappers.trust import AdaptiveTrust, evidence, resolve_trusted

finite = st.floats(-1e6, 1e6)
pairs = st.lists(st.tuples(st.integers(-3, 3).map(float), finite), max_size=60)


def play(trust, slope, episodes, *, noise=1.0, seed=0, rise=0.0):
    """Report episodes that earn `slope` per approval, with noise, and `rise` more each time."""
    rng = np.random.default_rng(seed)
    for number in range(episodes):
        approval = float(rng.uniform(-1.0, 1.0))
        paid = slope * approval + noise * rng.normal() + rise * number
        trust.observe(approval, float(paid))
    return trust


class TestWhatMovesTrust:
    def test_it_is_earned_where_liked_episodes_earn_more(self):
        assert play(AdaptiveTrust(), 5.0, 60).trust == 1.0

    def test_it_is_lost_where_liked_episodes_earn_less_and_won_back(self):
        trust = play(AdaptiveTrust(start=1.0), -5.0, 60)
        assert trust.trust == 0.0
        assert trust.stats()["trust_evidence"] < -1.64
        assert play(trust, 5.0, 120, seed=1).trust == 1.0

    def test_where_nothing_is_known_it_goes_back_to_the_start(self):
        """Guidance that pays no more, because all is learned, is not needed any more."""
        trust = play(AdaptiveTrust(start=0.25), 5.0, 60)
        assert trust.trust == 1.0
        for _ in range(100):
            trust.observe(0.5, 500.0)
        assert trust.trust == 0.25

    @pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
    def test_equal_approval_is_no_evidence(self, start):
        trust = AdaptiveTrust(start=start)
        rng = np.random.default_rng(0)
        for _ in range(60):
            trust.observe(1.0, float(rng.normal()))
        assert trust.trust == start
        assert trust.stats()["trust_evidence"] == 0.0

    def test_what_rises_together_over_the_training_is_no_evidence(self):
        trust = AdaptiveTrust()
        rng = np.random.default_rng(3)
        for number in range(200):
            trust.observe(0.01 * number + 0.1 * rng.normal(), number + 10.0 * rng.normal())
        assert trust.trust == 0.0

    def test_a_rise_over_the_training_does_not_hide_harm(self):
        harmed = AdaptiveTrust(start=1.0)
        rng = np.random.default_rng(4)
        for number in range(100):
            approval = 0.02 * number + rng.normal()
            harmed.observe(approval, number - 3.0 * (approval - 0.02 * number))
        assert harmed.trust == 0.0

    def test_episodes_without_a_judgement_or_a_return_are_left_out(self):
        trust = AdaptiveTrust()
        for _ in range(30):
            trust.observe(float("nan"), 1.0)
            trust.observe(1.0, float("nan"))
        assert trust.stats()["trust_episodes"] == 0

    def test_returns_that_never_come_or_are_infinite(self):
        full, none = AdaptiveTrust(start=1.0), AdaptiveTrust()
        for number in range(60):
            full.observe(number % 7, 0.0)
            none.observe(number % 2, np.inf if number % 2 else -np.inf)
        assert full.trust == none.trust == 1.0


class TestOptions:
    def test_window_says_after_how_many_episodes_it_moves(self):
        trust = AdaptiveTrust(window=7, memory=20)
        play(trust, 50.0, 6, noise=0.1)
        assert trust.stats()["trust_raised"] == 0
        play(trust, 50.0, 1, noise=0.1)
        assert trust.stats()["trust_raised"] == 1

    @pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
    def test_step_says_by_how_much(self, step):
        assert play(AdaptiveTrust(step=step), 50.0, 10, noise=0.1).trust == step

    def test_memory_says_how_soon_the_past_is_forgotten(self):
        long, short = (
            play(play(AdaptiveTrust(memory=memory), 5.0, 100), -5.0, 20, seed=1)
            for memory in (100, 10)
        )
        assert short.trust < long.trust == 1.0

    def test_confidence_says_how_much_evidence_it_takes(self):
        assert play(AdaptiveTrust(confidence=50.0), 5.0, 60).trust == 0.0
        assert play(AdaptiveTrust(confidence=0.0), 0.5, 60).trust > 0.0

    @pytest.mark.parametrize(("start", "share"), [(0.0, 0.2), (0.5, 0.5), (1.0, 0.8)])
    def test_probe_keeps_both_kinds_of_episodes(self, start, share):
        trust = AdaptiveTrust(start=start, probe=0.2)
        assert trust.share_of_guided_episodes == pytest.approx(share)

    def test_schedule_is_multiplied_with_trust(self):
        trust = AdaptiveTrust({"kind": "linear", "start": 1.0, "end": 0.0}, start=0.5)
        assert [trust(0.0), trust(0.5), trust(1.0)] == [0.5, 0.25, 0.0]
        assert trust.scheduled(0.5) == 0.5

    @pytest.mark.parametrize(
        "options",
        [
            {"start": -0.1}, {"start": True}, {"window": 0}, {"window": 2.5}, {"memory": 4},
            {"step": 0.0}, {"step": 1.5}, {"confidence": -1.0}, {"confidence": float("nan")},
            {"probe": 0.6}, {"schedule": 2.0}, {"schedule": "soon"},
        ],
    )  # fmt: skip
    def test_options_outside_what_is_documented_raise(self, options):
        with pytest.raises(InvalidOptionError, match=r"must be|expected"):
            AdaptiveTrust(**options)


class TestEvidence:
    @given(pairs)
    def test_it_turns_its_sign_with_the_approval(self, given_pairs):
        found = evidence(given_pairs)
        turned = evidence([(-approval, paid) for approval, paid in given_pairs])
        assert (found is None) == (turned is None)
        if found is not None:
            assert turned == pytest.approx(-found, abs=1e-6)

    @given(pairs, st.floats(0.001, 1000.0))
    def test_the_scale_of_rewards_does_not_matter(self, given_pairs, scale):
        whole = [(approval, float(round(paid))) for approval, paid in given_pairs]
        assert evidence(whole) == evidence([(a, scale * paid) for a, paid in whole])

    @pytest.mark.parametrize("kinds", [2, 1000])
    def test_where_there_is_nothing_it_is_rarely_beyond_two_standard_errors(self, kinds):
        """Also for the two values that masks have, and with returns that grow."""
        rng = np.random.default_rng(0)
        found = [
            evidence(np.c_[rng.integers(0, kinds, 50), rng.normal(np.arange(50), 10.0)].tolist())
            for _ in range(400)
        ]
        assert np.mean(np.array(found) > 1.64) == pytest.approx(0.05, abs=0.03)
        assert np.mean(np.array(found) < -1.64) == pytest.approx(0.05, abs=0.03)

    def test_a_few_episodes_are_none_and_perfect_agreement_is_finite(self):
        for n in (0, 1, 4):
            assert evidence([(float(i % 2), float(i % 2)) for i in range(n)]) is None
        found = evidence([(float(i % 3), float(i % 3)) for i in range(50)])
        assert 100.0 < found < float("inf")


class TestState:
    @given(st.lists(st.tuples(finite, finite), max_size=80), st.integers(0, 80))
    def test_a_trust_that_is_restored_goes_on_as_if_nothing_had_happened(self, episodes, cut):
        whole, first, second = (AdaptiveTrust(window=3, memory=9) for _ in range(3))
        for episode in episodes:
            whole.observe(*episode)
        for episode in episodes[:cut]:
            first.observe(*episode)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for episode in episodes[cut:]:
            second.observe(*episode)
        assert second.state_dict() == whole.state_dict()
        assert second.stats() == whole.stats()

    @given(
        st.lists(st.tuples(finite, finite), max_size=80), st.floats(0.0, 1.0), st.floats(0.01, 1)
    )
    def test_trust_stays_within_its_bounds(self, episodes, start, step):
        trust = AdaptiveTrust(0.7, start=start, step=step, window=2)
        for episode in episodes:
            trust.observe(*episode)
            assert 0.0 <= trust.trust <= 1.0
            assert 0.0 <= trust(0.3) <= 0.7

    def test_a_state_is_a_copy(self):
        trust = play(AdaptiveTrust(), 1.0, 20)
        state = trust.state_dict()
        before = json.dumps(state)
        play(trust, 1.0, 20)
        assert json.dumps(state) == before

    @pytest.mark.parametrize("state", [{}, {"trust": 0.5}, None])
    def test_the_state_of_something_else_raises(self, state):
        with pytest.raises(InvalidOptionError, match="state of an adaptive trust"):
            AdaptiveTrust().load_state_dict(state)


class TestNames:
    def test_a_dict_stands_for_one(self):
        trust = resolve_trusted({"kind": "adaptive", "schedule": 0.5, "start": 1.0})
        assert trust(0.0) == 0.5

    def test_an_object_is_copied_so_that_wrappers_do_not_share_it(self):
        mine = AdaptiveTrust()
        theirs = resolve_trusted(mine)
        play(theirs, 5.0, 60)
        assert (mine.trust, theirs.trust) == (0.0, 1.0)

    def test_other_schedules_stay_what_they_are(self):
        assert resolve_trusted(Linear(1.0, 0.0))(0.25) == 0.75
        assert resolve_trusted({"kind": "constant", "value": 0.5})(0.0) == 0.5

    @pytest.mark.parametrize(
        "options", [{"windows": 3}, {"window": 0}, {"schedule": {"kind": "adaptive"}}]
    )
    def test_a_wrong_dict_says_what_is_wrong(self, options):
        with pytest.raises(InvalidOptionError, match=r"windows|window|adaptive"):
            resolve_trusted({"kind": "adaptive", **options})

    @pytest.mark.parametrize(
        "schedule", [{"kind": "adaptive"}, AdaptiveTrust()], ids=["dict", "object"]
    )
    def test_where_nothing_reports_episodes_it_is_refused(self, schedule):
        with pytest.raises(InvalidOptionError, match="nothing reports them here"):
            resolve_schedule(schedule)
