"""Which answers of a model have a score, and which score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.methods.lmgt import parse_number, parse_score

SPELLINGS = {"+1": 1, "1": 1, "0": 0, "-1": -1, "\u22121": -1}
# Letters and digits that make up no label.
prose = st.text(st.sampled_from(" abdfgi+-01.*\n"))


class TestScore:
    @pytest.mark.parametrize(
        ("answer", "score"),
        [
            ("SCORE: +1", 1),
            ("score: 1", 1),
            ("Reasoning: -1 would be bad... SCORE: 0", 0),
            ("SCORE: \u22121", -1),
            ("SCORE: +1\nNo, that was too quick.\nSCORE: -1", -1),
            ("**SCORE: +1**", 1),
            ("**Score:** -1.", -1),
            ("Score: `0`", 0),
            ("SCORE: 1\r\nI hope that helps!", 1),
            ("<think>SCORE: -1?</think>\nSCORE: 1", 1),
        ],
    )
    def test_the_last_score_counts(self, answer, score):
        assert parse_score(answer) == score

    @pytest.mark.parametrize(
        "answer",
        [
            "maybe", "", "SCORE: 7", None, "+1", "1", "SCORE:", "SCORE: one", "SCORE: +1 or -1",
            "SCORE: +1|0|-1", "SCORE: 1.0", "SCORE: 10", "SCORE: -0", "SCORE: \u0661",
            "The first is worth +1, the second -1.", "underscore: 1", "SCORE 1",
            "SCORE: 1\nNo.\nSCORE: perhaps -1", "<think>It could be SCORE: 1",
        ],
    )  # fmt: skip
    def test_all_else_is_no_score(self, answer):
        assert parse_score(answer) is None

    @given(prose, st.sampled_from(sorted(SPELLINGS)), prose)
    def test_numbers_around_the_score_do_not_matter(self, before, spelling, after):
        assert parse_score(f"{before}\nSCORE: {spelling}\n{after}") == SPELLINGS[spelling]

    @given(prose)
    def test_numbers_alone_are_no_score(self, answer):
        assert parse_score(answer) is None

    @given(st.text())
    def test_any_text_has_a_score_or_none(self, answer):
        assert parse_score(answer) in (-1, 0, 1, None)
        assert parse_number(answer) is None or -1 <= parse_number(answer) <= 1


class TestNumber:
    @given(st.integers(-100, 100))
    def test_numbers_in_the_range_are_read(self, hundredths):
        assert parse_number(f"Well.\nscore: {hundredths / 100}") == hundredths / 100

    @pytest.mark.parametrize(("answer", "number"), [("SCORE: \u2212.5", -0.5), ("SCORE: 1.", 1.0)])
    def test_spellings(self, answer, number):
        assert parse_number(answer) == number

    @pytest.mark.parametrize(
        "answer", ["0.5", "SCORE: 1.01", "SCORE: nan", "SCORE: 1e-1", "SCORE: 80%", "SCORE: 0_1"]
    )
    def test_all_else_is_no_number(self, answer):
        assert parse_number(answer) is None
