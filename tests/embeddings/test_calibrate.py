"""Which cosine means "the same": the figures, the thresholds, and what is printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.embeddings import calibrate
from llm_wrappers.errors import InvalidOptionError


class Angles:
    """Texts are angles in degrees, so that every cosine is known."""

    name = "angles"

    def encode(self, texts: Any) -> Any:
        angles = np.deg2rad([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cosine(degrees: float) -> Any:
    return pytest.approx(np.cos(np.deg2rad(degrees)), abs=1e-6)


def test_the_figures_are_those_of_the_pairs() -> None:
    result = calibrate(Angles(), ["0", "90"], ["0", "60", "60", "100"])
    assert (result.goals, result.captions, result.identical_pairs) == (2, 3, 1)
    assert result.lowest_identical == pytest.approx(1.0)
    assert result.quantiles[0.0] == cosine(100)
    assert result.quantiles[1.0] == cosine(10)
    assert result.closest_goals == ("0", "90", cosine(90))
    assert [row[:2] for row in result.best] == [("0", "0"), ("60", "90"), ("100", "90")]
    assert result.best[2][2] == cosine(10)
    assert sum(result.histogram) == 2 * 3 - 1
    assert result.encoder == "angles"


def test_without_matches_the_threshold_is_just_below_identical_text() -> None:
    assert calibrate(Angles(), ["0", "30"], ["0"]).threshold == pytest.approx(0.99, abs=1e-6)
    assert calibrate(Angles(), ["0"], ["60"]).threshold == pytest.approx(0.99)


def test_matches_put_the_threshold_into_the_gap() -> None:
    result = calibrate(Angles(), ["0", "90"], ["20", "50"], matches=[("0", "20"), ("90", "50")])
    # Matches at 20 and 40 degrees, others at 50 and 70.
    assert result.threshold == pytest.approx(np.cos(np.deg2rad([40, 50])).mean(), abs=1e-6)
    found = result.separation
    assert found is not None
    assert (found.pairs, found.matches, found.false_pay, found.missed) == (4, 2, 0, 0)
    assert found.accuracy == 1.0


def test_matches_that_cannot_be_separated_are_counted() -> None:
    matches = [("0", "10"), ("0", "80")]
    result = calibrate(Angles(), ["0"], ["10", "30", "40", "80"], matches=matches)
    found = result.separation
    assert found is not None
    assert (found.false_pay, found.missed, found.accuracy) == (0, 1, 0.75)
    assert "75.0% of 4 pairs right, 0 paid that are no match, 1 of 2 matches missed" in str(result)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.data())
def test_no_other_threshold_makes_fewer_mistakes(data: Any) -> None:
    angle = st.integers(0, 180).map(str)
    goals = data.draw(st.lists(angle, min_size=1, max_size=4, unique=True))
    captions = data.draw(st.lists(angle, min_size=1, max_size=5, unique=True))
    pairs = [(goal, caption) for goal in goals for caption in captions]
    matches = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    result = calibrate(Angles(), goals, captions, matches=matches)
    same = np.array([pair in matches or pair[0] == pair[1] for pair in pairs])
    vectors = Angles().encode([*goals, *captions]).astype(float)
    cosines = np.clip(vectors[: len(goals)] @ vectors[len(goals) :].T, -1, 1).ravel()

    def mistakes(threshold: float) -> int:
        return int(((cosines > threshold) != same).sum())

    found = result.separation
    assert found is not None
    assert found.false_pay + found.missed == mistakes(result.threshold)
    assert all(mistakes(result.threshold) <= mistakes(value) for value in [-1.0, *cosines])


def test_it_prints_what_a_person_wants_to_know() -> None:
    captions = ["collect wood", "move left", *(f"see {n} trees" for n in range(40))]
    text = str(calibrate("hashing:64", ["collect wood", "collect stone"], captions))
    for part in (
        "encoder: hashing:64",
        "2 goals, 42 captions, 1 identical pairs (lowest cosine 1.000)",
        "closest goals: 'collect wood' and 'collect stone'",
        "50% ",
        "1.000  collect wood  ~  collect wood",
        "  and 17 more",
        "threshold 0.990: below identical text (1.000) and above the closest goals",
    ):
        assert part in text
    bars = [line for line in text.splitlines() if "#" in line]
    assert sum(int(line.split()[-1]) for line in bars) == 2 * 42 - 1
    assert max(line.count("#") for line in bars) == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goals": []}, "goals must hold at least one text, got none"),
        ({"captions": []}, "captions must hold at least one text, got none"),
        ({"goals": "wood"}, "expected a list of texts, got the one text 'wood'"),
        ({"matches": [("wood", "tree")]}, "a goal and a caption given, got \\('wood', 'tree'\\)"),
        ({"matches": ["wood"]}, "must be pairs \\(goal, caption\\), got 'wood'"),
        ({"matches": [("wood",)]}, "must be pairs"),
    ],
)
def test_a_wrong_argument_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        calibrate(**{"encoder": "hashing", "goals": ["wood"], "captions": ["cow"], **options})
