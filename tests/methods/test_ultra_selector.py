"""ULTRA's selector: what a model is shown of episodes, and what becomes of what it names."""

from __future__ import annotations

import warnings
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultra_doubles import (
    cart_pole_model,
    described,
    identification,
    played,
    prompt_of,
    steps_of,
    wrongly_pushed,
)

from llm_wrappers.captions import EnvDescription
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    AuthenticationError,
    GuidanceWarning,
    InvalidOptionError,
    InvalidRequestError,
    ProviderError,
)
from llm_wrappers.guidance.critical.finding import CriticalMoment, Selector
from llm_wrappers.llm import Budget
from llm_wrappers.methods.ultra import LLMSelector
from llm_wrappers.methods.ultra._identification import DROPPED
from llm_wrappers.methods.ultra._tokens import about_tokens
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.files import TrajectoryFiles, append_trajectory
from llm_wrappers.trajectories.trajectory import Trajectory

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
TOY = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("stay", "go"))


def selector(script=cart_pole_model, *, description=None, llm_options=None, **options):
    # One at a time, so that they come in order.
    llm = ScriptedLLM(script, **{"concurrency": 1, **(llm_options or {})})
    return LLMSelector(llm, description or described(CART), **options)


def asked(chosen, trajectories, per_episode=3):
    """Return the prompts that a selector sends."""
    chosen.select(trajectories, per_episode=per_episode)
    return [prompt_of(request) for request in chosen.llm.requests]


def toy(steps=20, rewards=None):
    """Return an episode in which every state has a name of its own."""
    return Trajectory(
        np.zeros((steps + 1, 1)),
        np.zeros(steps, int),
        [0.0] * steps if rewards is None else rewards,
        True,
        False,
        captions=[f"at place {step}" for step in range(steps + 1)],
    )


def dropped(chosen):
    return {kind: chosen.stats()[kind] for kind in DROPPED if chosen.stats()[kind]}


class TestPrompt:
    def test_has_the_blocks_in_the_order_of_the_paper(self):
        (text, _) = asked(selector(instructions="Never let it lean.\n"), played(CART))
        blocks = [
            "# The environment: CartPole-v1",
            "The episode ends when the pole leans more than 12 degrees",
            "push left, push right",
            "What matters here: Never let it lean.\n\n",
            "# How to proceed",
            "at most 3 of each episode",
            "## Episode 0: ",
            "# Output format",
        ]
        places = [text.index(block) for block in blocks]
        assert places == sorted(places)
        assert "$" not in text

    @pytest.mark.parametrize("env_id", [CART, PENDULUM])
    def test_shows_each_step_with_state_action_and_reward(self, env_id):
        trajectories = played(env_id)
        chosen = selector([identification()] * 2, description=described(env_id))
        texts = asked(chosen, trajectories)
        for number, (trajectory, text) in enumerate(zip(trajectories, texts, strict=True)):
            rows = steps_of(text)
            assert [row[:2] for row in rows] == [(number, step) for step in range(len(trajectory))]
            assert [row[2] for row in rows] == list(trajectory.captions[:-1])
            assert f"\nEnd | {trajectory.captions[-1]}\n" in text
            np.testing.assert_allclose([row[4] for row in rows], trajectory.rewards, rtol=1e-3)
            if env_id == CART:
                said = ["push left" if push == 0 else "push right" for push in trajectory.actions]
                assert [row[3] for row in rows] == said
            else:
                torques = [float(row[3]) for row in rows]
                np.testing.assert_allclose(torques, trajectory.actions[:, 0], atol=6e-3)

    def test_tells_how_an_episode_ended(self):
        cut = Trajectory(
            np.zeros((2, 1)), np.zeros(1, int), [1.5], False, True, captions=["a", "b"]
        )
        ended, cut_off = asked(selector([identification()] * 2, description=TOY), [toy(2), cut])
        assert "## Episode 0: 2 steps, total reward 0; the last step ended the task" in ended
        assert "## Episode 1: 1 steps, total reward 1.5; the last step was cut off" in cut_off

    def test_names_discrete_actions_that_do_not_begin_with_zero(self):
        shifted = Trajectory(
            np.zeros((3, 1)), np.array([5, 6]), [0, 0], True, False, captions=["a", "b", "c"]
        )
        space = gym.spaces.Discrete(2, start=5)
        (text,) = asked(
            selector([identification()], description=TOY, action_space=space), [shifted]
        )
        assert [row[3] for row in steps_of(text)] == ["stay", "go"]

    def test_actions_in_a_dict_are_put_into_words(self):
        actions = {"turn": np.array([0.5, 1.0]), "fire": np.array([0, 1])}
        tree = Trajectory(np.zeros((3, 1)), actions, [0, 0], True, False, captions=["a", "b", "c"])
        (text,) = asked(selector([identification()], description=TOY), [tree])
        assert ["fire" in row[3] and "turn" in row[3] for row in steps_of(text)] == [True, True]

    def test_a_captioner_speaks_for_episodes_without_captions(self):
        trajectories = played(CART, captions=False)
        assert trajectories[0].captions is None
        captioner = resolve_captioner(gym.make(CART))
        with_captioner = asked(selector(captioner=captioner), trajectories)
        assert with_captioner == asked(selector(), played(CART))

    def test_a_captioner_reads_the_facts_where_there_are_some(self):
        facts = [{"x": value} for value in (1, 2, 3)]
        told = Trajectory(np.zeros((3, 1)), np.zeros(2, int), [0, 0], True, False, facts=facts)
        captioner = GenericCaptioner(gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2))
        (text,) = asked(selector([identification()], description=TOY, captioner=captioner), [told])
        assert [row[2] for row in steps_of(text)] == ["x is 1.", "x is 2."]

    def test_a_captioner_may_have_captions_for_models(self):
        class Spoken(GenericCaptioner):
            def prompt_captions(self, facts):
                return [f"x = {row['obs_0']}!" for row in facts]

        silent = Trajectory(np.zeros((3, 1)), np.zeros(2, int), [0, 0], True, False)
        captioner = Spoken(gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2))
        (text,) = asked(
            selector([identification()], description=TOY, captioner=captioner), [silent]
        )
        assert [row[2] for row in steps_of(text)] == ["x = 0.0!", "x = 0.0!"]

    def test_without_captions_and_captioner_it_says_what_to_do(self):
        with pytest.raises(InvalidOptionError, match=r"episode 0 has no captions.*captions=True"):
            selector().select(played(CART, captions=False), per_episode=1)

    def test_captions_take_one_line_each(self):
        lines = Trajectory(
            np.zeros((2, 1)), np.zeros(1, int), [0], True, False, captions=["a\n\n  b", "c"]
        )
        (text,) = asked(selector([identification()], description=TOY), [lines])
        assert "Step 0 | a b | action: stay" in text


class TestWindows:
    def test_a_long_episode_is_cut_into_parts_that_overlap(self):
        chosen = selector(lambda _: identification(), description=TOY, prompt_tokens=800, overlap=3)
        texts = asked(chosen, [toy(100)])
        parts = [[row[1] for row in steps_of(text)] for text in texts]
        assert len(parts) > 2
        assert sorted({step for part in parts for step in part}) == list(range(100))
        for before, after in pairwise(parts):
            assert before[-3:] == after[:3]
        assert all(about_tokens(text) <= 800 for text in texts)
        assert [("\nEnd |" in text) for text in texts] == [False] * (len(texts) - 1) + [True]

    @settings(deadline=None)
    @given(
        lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
        tokens=st.integers(600, 900),
        overlap=st.integers(0, 50),
        show_every=st.integers(1, 9),
        together=st.integers(1, 3),
    )
    def test_each_shown_step_is_asked_about_and_no_prompt_is_too_long(
        self, lengths, tokens, overlap, show_every, together
    ):
        chosen = selector(
            lambda _: identification(),
            description=TOY,
            prompt_tokens=tokens,
            overlap=overlap,
            show_every=show_every,
            episodes_per_question=together,
        )
        episodes = [toy(length) for length in lengths]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            texts = asked(chosen, episodes)
        assert all(about_tokens(text) <= tokens for text in texts)
        rows = [row[:2] for text in texts for row in steps_of(text)]
        assert set(rows) == {
            (number, step)
            for number, length in enumerate(lengths)
            for step in range(length)
            if step % show_every == 0 or step >= length - 10
        }
        in_each = [{row[0] for row in steps_of(text)} for text in texts]
        assert max(map(len, in_each)) <= together
        assert all(len(steps_of(text)) == len(set(steps_of(text))) for text in texts)

    def test_short_episodes_share_a_question(self):
        chosen = selector(lambda _: identification(), description=TOY, episodes_per_question=2)
        texts = asked(chosen, [toy(3), toy(4), toy(5)])
        assert [sorted({row[0] for row in steps_of(text)}) for text in texts] == [[0, 1], [2]]

    def test_what_is_left_out_is_said(self):
        rewards = [0.0] * 40
        rewards[17] = 1.0
        chosen = selector(lambda _: identification(), description=TOY, show_every=10)
        (text,) = asked(chosen, [toy(40, rewards)])
        shown = [0, 10, 16, 17, 18, 20, *range(30, 40)]
        assert [row[1] for row in steps_of(text)] == shown
        assert "(Steps 1 to 9 are left out; the reward stays the same.)\nStep 10 " in text
        assert "(Step 19 is left out; the reward stays the same.)\nStep 20 " in text

    @pytest.mark.parametrize(("tokens", "message"), [(50, "leaves no room"), (480, "a step of")])
    def test_too_few_tokens_are_refused_before_anybody_is_asked(self, tokens, message):
        long = Trajectory(
            np.zeros((2, 1)), np.zeros(1, int), [0], True, False, captions=["word " * 500, ""]
        )
        chosen = selector([], description=TOY, prompt_tokens=tokens)
        with pytest.raises(InvalidOptionError, match=message):
            chosen.select([long], per_episode=1)
        assert chosen.llm.requests == []

    def test_tokens_can_be_counted_otherwise(self):
        texts = [
            asked(
                selector(lambda _: identification(), description=TOY, **options),
                [toy(100)],
            )
            for options in ({"prompt_tokens": 3000}, {"prompt_tokens": 3000, "count_tokens": len})
        ]
        assert len(texts[0]) == 1
        assert len(texts[1]) > 1
        assert all(len(text) <= 3000 for text in texts[1])


class TestAnswers:
    def test_a_good_model_finds_what_the_numbers_say(self):
        # It has nothing but the text: whatever it gets right stands in the prompt.
        trajectories = played(CART, episodes=3)
        chosen = selector()
        moments = chosen.select(trajectories, per_episode=4)
        assert isinstance(chosen, Selector)
        assert [(m.episode, m.step) for m in moments] == sorted(
            (m.episode, m.step) for m in moments
        )
        for number, trajectory in enumerate(trajectories):
            wrong, speed = wrongly_pushed(trajectory)
            steps = [moment.step for moment in moments if moment.episode == number]
            assert len(steps) == min(4, len(wrong))
            assert set(steps) <= set(wrong)
            # The text has whole degrees per second.
            assert min(speed[steps]) >= speed[wrong[len(steps) - 1]] - 1
        assert chosen.analyses == ("It often pushes the wrong way.",) * 3

    def test_parts_of_an_episode_are_put_together_by_importance(self):
        def model(request):
            rows = steps_of(prompt_of(request))
            return identification(*((0, step, (step * 7 % 100) / 100) for _, step, *_ in rows))

        chosen = selector(model, description=TOY, prompt_tokens=900, overlap=4)
        moments = chosen.select([toy(100)], per_episode=2)
        assert [(m.step, m.importance) for m in moments] == [(57, 0.99), (14, 0.98)][::-1]
        assert chosen.stats()["outranked"] > 0
        assert chosen.analyses[0].count("It often") == chosen.stats()["questions"] > 1

    def test_equally_important_steps_are_taken_in_order(self):
        chosen = selector([identification((0, 7), (0, 3), (0, 5))], description=TOY)
        assert [m.step for m in chosen.select([toy()], per_episode=2)] == [3, 5]

    @pytest.mark.parametrize(
        ("states", "kind"),
        [
            ([(0, 20)], "out_of_range"),
            ([(0, -1)], "out_of_range"),
            ([(0, 10**30)], "out_of_range"),
            ([(1, 3)], "wrong_episode"),
            ([(-1, 3)], "wrong_episode"),
            ([(7, 3)], "wrong_episode"),
            ([(0, 3), (0, 3, 0.2)], "duplicate"),
            ([(0, 1), (0, 2), (0, 4), (0, 5)], "too_many"),
            ([(0, 3, 10**400)], "not_finite"),
        ],
        ids=str,
    )
    def test_what_cannot_be_used_is_dropped_and_counted(self, states, kind):
        chosen = selector([identification((0, 9, 0.9), *states)], description=TOY)
        moments = chosen.select([toy()], per_episode=4)
        assert CriticalMoment(0, 9, 0.9, "step 9 matters") in moments
        assert dropped(chosen) == {kind: 1}

    def test_steps_that_the_question_did_not_show_are_dropped(self):
        chosen = selector([identification((0, 3), (0, 10))], description=TOY, show_every=10)
        assert [m.step for m in chosen.select([toy(40)], per_episode=5)] == [10]
        assert dropped(chosen) == {"not_shown": 1}

    def test_importance_is_clipped(self):
        chosen = selector([identification((0, 3, 1e300), (0, 4, -5))], description=TOY)
        moments = chosen.select([toy()], per_episode=5)
        assert [m.importance for m in moments] == [1.0, 0.0]
        assert chosen.stats()["clipped_importance"] == 2

    @settings(deadline=None)
    @given(
        states=st.lists(
            st.tuples(
                st.integers(-2, 3),
                st.integers(-5, 30) | st.integers(),
                st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 1),
            ),
            max_size=30,
        ),
        per_episode=st.integers(1, 5),
    )
    def test_whatever_is_named_the_result_keeps_the_protocol(self, states, per_episode):
        chosen = selector(lambda _: identification(*states), description=TOY, prompt_tokens=700)
        lengths = [12, 25]
        moments = chosen.select([toy(length) for length in lengths], per_episode=per_episode)
        places = [(moment.episode, moment.step) for moment in moments]
        assert places == sorted(set(places))
        assert all(step < lengths[episode] for episode, step in places)
        for episode in range(2):
            assert sum(place[0] == episode for place in places) <= per_episode
        stats = chosen.stats()
        assert stats["named"] == stats["selected"] + sum(dropped(chosen).values())

    @pytest.mark.parametrize(
        "broken",
        [
            identification((0, 3))[:-2],
            identification((0, 3, float("nan"))),
            '{"case_analysis": "Steps 3 and 4.", "states": [3, 4]}',
            '{"case_analysis": "", "states": [{"episode": "first", "step": 3, "rationale": ""}]}',
            "",
        ],
        ids=["cut off", "no number", "no objects", "words for numbers", "empty"],
    )
    def test_a_malformed_answer_is_repaired(self, broken):
        chosen = selector([broken, identification((0, 4))], description=TOY)
        assert [m.step for m in chosen.select([toy()], per_episode=1)] == [4]
        assert len(chosen.llm.requests) == 2
        assert chosen.stats()["unreadable"] == 0

    def test_a_part_without_a_readable_answer_is_skipped_with_one_warning(self):
        def model(request):
            first = "Episode 0:" in prompt_of(request)
            return identification((0, 2)) if first else "I cannot say."

        chosen = selector(model, description=TOY, llm_options={"repairs": 1})
        episodes = [toy(), toy(8), toy(9)]
        with pytest.warns(GuidanceWarning, match=r"2 of 3 questions \(identify\).*2 unreadable"):
            moments = chosen.select(episodes, per_episode=1)
        assert [m.episode for m in moments] == [0]
        # One question, and two with a repair each.
        assert len(chosen.llm.requests) == 5
        # They stay unreadable, and are not asked again.
        with pytest.warns(GuidanceWarning, match="2 unreadable"):
            assert chosen.select(episodes, per_episode=1) == moments
        assert len(chosen.llm.requests) == 5
        assert chosen.stats()["unreadable"] == 4

    def test_a_single_question_may_be_the_unreadable_one(self):
        chosen = selector(["Hm."] * 3, description=TOY)
        with pytest.warns(GuidanceWarning, match="1 of 1 questions"):
            assert chosen.select([toy()], per_episode=1) == []

    @pytest.mark.parametrize("error", [ProviderError("down"), InvalidRequestError("no")], ids=repr)
    def test_a_provider_that_fails_is_counted(self, error):
        chosen = selector([error, identification((1, 2))], description=TOY)
        with pytest.warns(GuidanceWarning, match="1 failed"):
            moments = chosen.select([toy(), toy()], per_episode=1)
        assert [m.episode for m in moments] == [1]
        assert chosen.stats()["failed"] == 1

    def test_what_the_caller_got_wrong_is_raised(self):
        with pytest.raises(AuthenticationError):
            selector([AuthenticationError("no key")]).select(played(CART), per_episode=1)

    def test_no_episodes_need_no_model(self):
        assert selector([]).select([], per_episode=1) == []


class TestCostsNothingTwice:
    def test_a_second_run_asks_nobody(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        first = selector(llm_options={"cache": cache})
        moments = first.select(played(CART), per_episode=3)
        second = selector([], llm_options={"cache": cache})
        assert second.select(played(CART), per_episode=3) == moments
        assert (len(first.llm.requests), len(second.llm.requests)) == (2, 0)

    def test_a_spent_budget_keeps_what_there_is_and_goes_on_later(self, tmp_path):
        cache, episodes = tmp_path / "answers.sqlite", played(CART, episodes=5)
        poor = selector(llm_options={"cache": cache, "budget": Budget(calls=2)})
        with pytest.warns(GuidanceWarning, match="3 over budget"):
            some = poor.select(episodes, per_episode=2)
        assert {moment.episode for moment in some} == {0, 1}
        assert poor.stats()["over_budget"] == 3
        assert poor.analyses[1:3] == ("It often pushes the wrong way.", "")
        rich = selector(llm_options={"cache": cache})
        everything = rich.select(episodes, per_episode=2)
        assert len(rich.llm.requests) == 3
        assert everything == selector().select(episodes, per_episode=2)

    def test_ctrl_c_loses_nothing(self, tmp_path):
        cache, episodes = tmp_path / "answers.sqlite", played(CART, episodes=4)

        def interrupted(request):
            if "Episode 2:" in prompt_of(request):
                raise KeyboardInterrupt
            return cart_pole_model(request)

        with pytest.raises(KeyboardInterrupt):
            selector(interrupted, llm_options={"cache": cache}).select(episodes, per_episode=2)
        again = selector(llm_options={"cache": cache})
        assert len({m.episode for m in again.select(episodes, per_episode=2)}) == 4
        # The answer that was under way may have come as well.
        assert len(again.llm.requests) in (1, 2)

    def test_episodes_in_files_are_read_once(self, tmp_path):
        for trajectory in played(CART):
            append_trajectory(trajectory, tmp_path)
        paths = sorted(tmp_path.iterdir())
        moments = selector().select(TrajectoryFiles(paths), per_episode=3)
        assert moments == selector().select(played(CART), per_episode=3)


class TestOptions:
    @pytest.mark.parametrize("shown", [True, False])
    def test_progress_is_shown_where_it_is_wanted(self, shown, capsys):
        selector(progress_bar=shown).select(played(CART), per_episode=1)
        assert ("2/2" in capsys.readouterr().err) == shown

    @pytest.mark.parametrize(
        "options",
        [
            {"prompt_tokens": 0},
            {"prompt_tokens": "many"},
            {"overlap": -1},
            {"show_every": 0},
            {"episodes_per_question": True},
            {"instructions": None},
        ],
        ids=str,
    )
    def test_what_cannot_work_is_refused(self, options):
        (name,) = options
        with pytest.raises(InvalidOptionError, match=name):
            selector(**options)

    def test_at_least_one_moment_has_to_be_asked_for(self):
        with pytest.raises(InvalidOptionError, match="per_episode"):
            selector().select(played(CART), per_episode=0)
