"""Reading goals, and Yes or No, in a model's answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.llm import Completion
from llm_wrappers.methods.ellm.wording import parse_goals, yes_probability

WORDS = st.text("abcdefghijklmnop", min_size=1, max_size=8)
GOALS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@pytest.mark.parametrize("strict", [True, False])
class TestBothRules:
    @given(goals=st.lists(GOALS, min_size=1, max_size=12))
    def test_dashed_goals_come_back_once_and_in_order(self, strict, goals):
        text = "\n".join(f"- {goal}" for goal in goals)
        assert parse_goals(text, strict=strict) == tuple(dict.fromkeys(goals))

    @given(
        goals=st.lists(GOALS, min_size=1, max_size=5),
        before=st.sampled_from(["", " ", "\n", "\n\n  "]),
        after=st.sampled_from(["", ".", " .", ".\n\n", " \t\n", "\n```", '"""', '\n"""']),
    )
    def test_blanks_full_stops_and_a_fence_at_the_end_do_not_matter(
        self, strict, goals, before, after
    ):
        text = before + "\n".join(f"-{goal.title()} " for goal in goals) + after
        assert parse_goals(text, strict=strict) == tuple(dict.fromkeys(goals))

    @given(text=st.text())
    def test_any_text_gives_clean_goals_or_none(self, strict, text):
        goals = parse_goals(text, strict=strict)
        if goals is not None:
            assert goals
            assert len(set(goals)) == len(goals)
            for goal in goals:
                assert goal == " ".join(goal.lower().split()).strip(" .\n")
                assert goal

    @given(goals=st.lists(GOALS, min_size=1, max_size=5))
    def test_what_was_read_is_read_again(self, strict, goals):
        once = parse_goals("\n".join(f"- {goal}" for goal in goals), strict=strict)
        assert parse_goals("\n".join(f"- {goal}" for goal in once), strict=strict) == once

    def test_a_dash_within_a_goal_belongs_to_it(self, strict):
        assert parse_goals("- make wood-pickaxe", strict=strict) == ("make wood-pickaxe",)

    @pytest.mark.parametrize(
        "text",
        ["", "  \n", "-", "- \n-.", "```", "I cannot help with that.", "---\n- - -"],
        ids=["empty", "blank", "dash", "dashes", "fence", "prose", "rule"],
    )
    def test_an_answer_without_goals_is_unreadable(self, strict, text):
        assert parse_goals(text, strict=strict) is None


CHATTY = {
    "preamble": "Here is what I would do:\n- eat cow\n- sleep",
    "afterword": "- eat cow\n- sleep\n\nGood luck!",
    "stars": "* eat cow\n* sleep",
    "bullets": "• eat cow\n• sleep",
    "numbers": "1. eat cow\n2. sleep",
    "brackets": "1) eat cow\n2) sleep",
    "bold": "- **Eat cow**\n- **sleep**.",
    "bold and colon": "1. **Eat cow:** you are hungry\n2. **Sleep**: it is dark",
    "bold without a blank": "-**eat cow**\n-**sleep**",
    "quotes": "- \"eat cow\"\n- 'sleep'",
    "backticks": "- `eat cow`\n- `sleep`",
    "fence": "```text\n- eat cow\n- sleep\n```",
    "fence and words": "Sure!\n```\n- eat cow\n- sleep\n```\nEnjoy.",
    "thoughts": "<think>\n- drink lava?\nNo.\n</think>\n\n- eat cow\n- sleep",
}


@pytest.mark.parametrize("text", CHATTY.values(), ids=CHATTY.keys())
class TestChatModels:
    def test_are_understood(self, text):
        assert parse_goals(text) == ("eat cow", "sleep")

    def test_strictly_only_dashed_lines_count(self, text):
        read = parse_goals(text, strict=True)
        assert read is None or read != ("eat cow", "sleep")


def test_a_number_a_rule_or_a_heading_is_no_goal():
    assert parse_goals("3.5 apples are left\n---\n***\n**Goals**\n- eat cow") == ("eat cow",)


def test_one_line_without_a_dash_makes_all_unreadable_if_strict():
    assert parse_goals("- eat cow\nsleep", strict=True) is None
    assert parse_goals("- eat cow\nsleep") == ("eat cow",)


def first_token(**logprobs):
    """Return an answer with the log probabilities of its first token."""
    top = [{"token": word, "logprob": value} for word, value in logprobs.items()]
    word = max(logprobs, key=logprobs.get)
    first = {"token": word, "logprob": logprobs[word], "top_logprobs": top}
    return Completion(text=word, logprobs=[first])


class TestYesProbability:
    @given(
        yes=st.floats(-30, 0), no=st.floats(-30, 0), other=st.floats(-30, 0), shift=st.floats(0, 9)
    )
    def test_only_the_odds_of_yes_against_no_count(self, yes, no, other, shift):
        probability = yes_probability(first_token(Yes=yes, No=no, Hm=other))
        assert probability == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)))
        shifted = yes_probability(first_token(Yes=yes - shift, No=no - shift))
        assert shifted == pytest.approx(probability)

    def test_spellings_are_added_up_and_blank_tokens_skipped(self):
        tokens = {"Yes": math.log(0.3), " yes": math.log(0.3), "No": math.log(0.4)}
        answer = first_token(**tokens)
        blank = {"token": "\n", "logprob": 0.0, "top_logprobs": []}
        answer = answer.model_copy(update={"logprobs": [blank, *answer.logprobs]})
        assert yes_probability(answer) == pytest.approx(0.6)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Yes", 1.0), ("**No.**", 0.0), ("yes, there is no danger", 1.0), ("Answer: No", 0.0),
            ("<think>No? Or yes?</think>Yes", 1.0), ("Knowing that", None),
            ("It is yes and no", None), ("", None),
        ],
    )  # fmt: skip
    def test_the_text_decides_where_neither_is_among_the_tokens(self, text, expected):
        tokens = [{"token": "Answer", "logprob": -0.1, "top_logprobs": []}]
        assert yes_probability(Completion(text=text)) == expected
        assert yes_probability(Completion(text=text, logprobs=tokens)) == expected
