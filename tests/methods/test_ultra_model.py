"""ULTRA's selector and corrector: what becomes of what a model says; its wording is in `golden`."""

from __future__ import annotations

import warnings
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from ultra_doubles import (
    cart_pole_model,
    corrections,
    described,
    identification,
    pendulum_model,
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
    IncompatibleEnvironmentError,
    InvalidOptionError,
    InvalidRequestError,
    ProviderError,
)
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import CriticalMoment, Selector
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import Budget
from llm_wrappers.methods.ultra import LLMCorrector, LLMSelector
from llm_wrappers.methods.ultra.actions import REJECTED, RejectedAction, action_form
from llm_wrappers.methods.ultra.answers import DROPPED
from llm_wrappers.methods.ultra.episodes import about_tokens
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.files import TrajectoryFiles, append_trajectory
from llm_wrappers.trajectories.trajectory import Trajectory

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
TOY = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("stay", "go_right"))
BARE = EnvDescription(env_id="Toy-v1", rules="Go right.")
NOTHING = identification()


def selector(script=cart_pole_model, description=None, llm_options=None, **options):
    # One question at a time, so that they come in order.
    llm = ScriptedLLM(script, **{"concurrency": 1, **(llm_options or {})})
    return LLMSelector(llm, description or described(CART), **options)


def toy_selector(script=lambda _: NOTHING, **options):
    return selector(script, TOY, **options)


def asked(chosen, trajectories, per_episode=3):
    """Return the prompts that a selector sends."""
    chosen.select(trajectories, per_episode=per_episode)
    return [prompt_of(request) for request in chosen.llm.requests]


def toy(steps=20, observations=None, **told):
    """Return an episode in which every state has a name of its own."""
    if observations is None:
        observations = np.arange(steps + 1.0)[:, None]
    told = told or {"captions": [f"at place {step}" for step in range(steps + 1)]}
    return Trajectory(observations, np.zeros(steps, int), [0.0] * steps, True, False, **told)


def steps_in(moments):
    return [moment.step for moment in moments]


def dropped(chosen):
    return {kind: chosen.stats()[kind] for kind in DROPPED if chosen.stats()[kind]}


class TestEpisodesInWords:
    def test_one_that_was_cut_off(self):
        cut = Trajectory(np.zeros((2, 1)), np.zeros(1, int), [1.5], False, True, captions=["", ""])
        (text,) = asked(toy_selector(), [cut])
        assert "## Episode 0: 1 steps, total reward 1.5; the last step was cut off" in text

    def test_actions_in_a_dict(self):
        actions = {"turn": np.array([0.5, 1.0]), "fire": np.array([0, 1])}
        tree = Trajectory(np.zeros((3, 1)), actions, [0, 0], True, False, captions=["a", "b", "c"])
        (text,) = asked(toy_selector(), [tree])
        assert ["fire" in row[3] and "turn" in row[3] for row in steps_of(text)] == [True, True]

    def test_a_captioner_speaks_for_episodes_without_captions(self):
        silent = played(CART, captions=False)
        captioner = resolve_captioner(gym.make(CART))
        assert asked(selector(captioner=captioner), silent) == asked(selector(), played(CART))
        with pytest.raises(InvalidOptionError, match=r"episode 0 has no captions.*captions=True"):
            selector().select(silent, per_episode=1)

    def test_a_captioner_reads_facts_and_may_have_captions_for_models(self):
        class Spoken(GenericCaptioner):
            def prompt_captions(self, facts):
                return [f"x = {row['x']}!" for row in facts]

        told = toy(2, facts=[{"x": value} for value in (1, 2, 3)])
        for kind, words in ((GenericCaptioner, "x is 1."), (Spoken, "x = 1!")):
            captioner = kind(spaces.Box(-1, 1, (1,)), spaces.Discrete(2))
            (text,) = asked(toy_selector(captioner=captioner), [told])
            assert steps_of(text)[0][2] == words


class TestWindows:
    def test_a_long_episode_is_cut_into_parts_that_overlap(self):
        texts = asked(toy_selector(prompt_tokens=800, overlap=3), [toy(100)])
        parts = [[row[1] for row in steps_of(text)] for text in texts]
        assert len(parts) > 2
        assert all(before[-3:] == after[:3] for before, after in pairwise(parts))
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
        chosen = toy_selector(
            prompt_tokens=tokens,
            overlap=overlap,
            show_every=show_every,
            episodes_per_question=together,
        )
        texts = asked(chosen, [toy(length) for length in lengths])
        assert all(about_tokens(text) <= tokens for text in texts)
        assert {row[:2] for text in texts for row in steps_of(text)} == {
            (number, step)
            for number, length in enumerate(lengths)
            for step in range(length)
            if step % show_every == 0 or step >= length - 10
        }
        assert max(len({row[0] for row in steps_of(text)}) for text in texts) <= together
        assert all(len(steps_of(text)) == len(set(steps_of(text))) for text in texts)

    @pytest.mark.parametrize(("tokens", "message"), [(50, "leaves no room"), (480, "a step of")])
    def test_too_few_tokens_are_refused_before_anybody_is_asked(self, tokens, message):
        chosen = toy_selector([], prompt_tokens=tokens)
        with pytest.raises(InvalidOptionError, match=message):
            chosen.select([toy(1, captions=["word " * 500, ""])], per_episode=1)

    def test_tokens_can_be_counted_otherwise(self):
        texts = asked(toy_selector(prompt_tokens=3000, count_tokens=len), [toy(100)])
        assert len(texts) > 1
        assert all(len(text) <= 3000 for text in texts)


class TestSelection:
    def test_a_good_model_finds_what_the_numbers_say(self):
        # It has nothing but the text: whatever it gets right stands in the prompt.
        trajectories = played(CART, episodes=3)
        chosen = selector()
        moments = chosen.select(trajectories, per_episode=4)
        assert isinstance(chosen, Selector)
        for number, trajectory in enumerate(trajectories):
            wrong, speed = wrongly_pushed(trajectory)
            steps = steps_in(moment for moment in moments if moment.episode == number)
            assert len(steps) == min(4, len(wrong))
            assert set(steps) <= set(wrong)
            # The text has whole degrees per second.
            assert min(speed[steps]) >= speed[wrong[len(steps) - 1]] - 1
        assert chosen.analyses == ("It often pushes the wrong way.",) * 3

    def test_parts_of_an_episode_are_put_together_by_importance(self):
        def model(request):
            rows = steps_of(prompt_of(request))
            return identification(*((0, step, (step * 7 % 100) / 100) for _, step, *_ in rows))

        chosen = toy_selector(model, prompt_tokens=900, overlap=4)
        moments = chosen.select([toy(100)], per_episode=2)
        assert [(m.step, m.importance) for m in moments] == [(14, 0.98), (57, 0.99)]
        assert chosen.stats()["outranked"] > 0
        assert chosen.analyses[0].count("It often") == chosen.stats()["questions"] > 1

    @pytest.mark.parametrize(
        ("states", "kind"),
        [
            ([(0, 20)], "out_of_range"), ([(0, -1)], "out_of_range"),
            ([(0, 10**30)], "out_of_range"), ([(1, 3)], "wrong_episode"),
            ([(-1, 3)], "wrong_episode"), ([(0, 5)], "not_shown"),
            ([(0, 10), (0, 10, 0.2)], "duplicate"), ([(0, 11), (0, 12), (0, 14)], "too_many"),
            ([(0, 13, 10**400)], "not_finite"),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_cannot_be_used_is_dropped_and_counted(self, states, kind):
        chosen = toy_selector([identification((0, 19, 0.9), *states)], show_every=9)
        moments = chosen.select([toy()], per_episode=3)
        assert CriticalMoment(0, 19, 0.9, "step 19 matters") in moments
        assert dropped(chosen) == {kind: 1}

    def test_importance_is_clipped(self):
        chosen = toy_selector([identification((0, 3, 1e300), (0, 4, -5))])
        moments = chosen.select([toy()], per_episode=5)
        assert [moment.importance for moment in moments] == [1.0, 0.0]
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
        most=st.integers(1, 5),
    )
    def test_whatever_is_named_the_result_keeps_the_protocol(self, states, most):
        chosen = toy_selector(lambda _: identification(*states), prompt_tokens=700)
        lengths = [12, 25]
        moments = chosen.select([toy(length) for length in lengths], per_episode=most)
        places = [(moment.episode, moment.step) for moment in moments]
        assert places == sorted(set(places))
        assert all(step < lengths[episode] for episode, step in places)
        assert all(sum(place[0] == episode for place in places) <= most for episode in range(2))
        assert all(0 <= moment.importance <= 1 for moment in moments)
        stats = chosen.stats()
        assert stats["named"] == stats["selected"] + sum(dropped(chosen).values())

    @pytest.mark.parametrize(
        "broken",
        [
            identification((0, 3))[:-2],
            identification((0, 3, float("nan"))),
            '{"case_analysis": "Steps 3 and 4.", "states": [3, 4]}',
            "",
        ],
        ids=["cut off", "no number", "no objects", "empty"],
    )
    def test_a_malformed_answer_is_repaired(self, broken):
        chosen = toy_selector([broken, identification((0, 4))])
        assert steps_in(chosen.select([toy()], per_episode=1)) == [4]
        assert (len(chosen.llm.requests), chosen.stats()["unreadable"]) == (2, 0)

    def test_a_question_without_a_readable_answer_is_skipped_with_one_warning(self):
        def model(request):
            first = "Episode 0:" in prompt_of(request)
            return identification((0, 2)) if first else "I cannot say."

        chosen = toy_selector(model, llm_options={"repairs": 1})
        episodes = [toy(), toy(8), toy(9)]
        # They stay unreadable, and are not asked again: one question, and two with a repair each.
        for _ in range(2):
            with pytest.warns(
                GuidanceWarning, match=r"2 of 3 .*\(identify\).*2 unreadable"
            ) as said:
                assert steps_in(chosen.select(episodes, per_episode=1)) == [2]
            assert len(said) == 1
            assert "the others are used" in str(said[0].message)
            assert len(chosen.llm.requests) == 5
        assert chosen.stats()["unreadable"] == 4
        alone = toy_selector(["Hm."] * 3)
        with pytest.warns(GuidanceWarning, match="1 of 1 questions") as said:
            assert alone.select([toy()], per_episode=1) == []
        assert "the others" not in str(said[0].message)

    @pytest.mark.parametrize("error", [ProviderError("down"), InvalidRequestError("no")], ids=repr)
    def test_a_provider_that_fails_is_counted(self, error):
        chosen = toy_selector([error, identification((1, 2))])
        with pytest.warns(GuidanceWarning, match="1 failed"):
            assert [m.episode for m in chosen.select([toy(), toy()], per_episode=1)] == [1]
        only = toy_selector([error])
        with pytest.warns(GuidanceWarning, match="1 failed"):
            assert only.select([toy()], per_episode=1) == []

    def test_what_the_caller_got_wrong_is_raised(self):
        with pytest.raises(AuthenticationError):
            selector([AuthenticationError("no key")]).select(played(CART), per_episode=1)

    def test_a_spent_budget_keeps_what_there_is_and_goes_on_later(self, tmp_path):
        cache, episodes = tmp_path / "answers.sqlite", played(CART, episodes=5)
        poor = selector(llm_options={"cache": cache, "budget": Budget(calls=2)})
        with pytest.warns(GuidanceWarning, match="3 over budget"):
            some = poor.select(episodes, per_episode=2)
        assert {moment.episode for moment in some} == {0, 1}
        assert poor.analyses[1:3] == ("It often pushes the wrong way.", "")
        rich = selector(llm_options={"cache": cache})
        everything = rich.select(episodes, per_episode=2)
        assert len(rich.llm.requests) == 3
        assert everything == selector().select(episodes, per_episode=2)

    def test_episodes_in_files_are_read_once(self, tmp_path):
        for trajectory in played(CART):
            append_trajectory(trajectory, tmp_path)
        moments = selector().select(TrajectoryFiles(sorted(tmp_path.iterdir())), per_episode=3)
        assert moments == selector().select(played(CART), per_episode=3)


def corrector(script=cart_pole_model, env_id=CART, llm_options=None, **options):
    llm = ScriptedLLM(script, **{"concurrency": 1, **(llm_options or {})})
    return LLMCorrector(llm, described(env_id), gym.make(env_id).action_space, **options)


def toy_corrector(script=lambda _: corrections(), space=None, **options):
    llm = ScriptedLLM(script, concurrency=1, repairs=0)
    return LLMCorrector(llm, BARE if space else TOY, space or spaces.Discrete(2), **options)


def moments_of(*places):
    return [CriticalMoment(*place, rationale=f"because {place[1]}") for place in places]


def advised(answer, space=None, reward=0.0):
    """Return what becomes of one action that a model names, and the counters."""
    chosen = toy_corrector([corrections((0, 3, answer, reward))], space)
    (state,) = chosen.correct([toy()], moments_of((0, 3)))
    return state, chosen.stats()


class TestCorrection:
    def test_a_good_model_advises_what_the_numbers_say(self):
        trajectories = played(CART)
        moments = [
            CriticalMoment(number, step)
            for number, trajectory in enumerate(trajectories)
            for step in range(len(trajectory))
            if abs(trajectory.observations[step, 3]) > 0.05
        ]
        chosen = corrector(batch=4)
        assert isinstance(chosen, Corrector)
        states = chosen.correct(trajectories, moments)
        for moment, state in zip(moments, states, strict=True):
            observation = trajectories[moment.episode].observations[moment.step]
            np.testing.assert_array_equal(state.state, observation)
            assert state.state.dtype == observation.dtype
            assert int(state.action) == (observation[3] > 0)
            assert (state.episode, state.step, state.reward) == (moment.episode, moment.step, -0.5)
        env = gym.make(CART)
        assert len(CriticalStates(states).bind(env.observation_space, env.action_space)) > 5
        # The states are copies.
        states[0].state[:] = 7
        assert not (trajectories[0].observations == 7).any()

    def test_torques_beyond_the_motor_are_clipped_and_counted(self):
        trajectories, moments = played(PENDULUM), moments_of((0, 4), (1, 9))
        chosen = corrector(pendulum_model, PENDULUM)
        for moment, state in zip(moments, chosen.correct(trajectories, moments), strict=True):
            velocity = trajectories[moment.episode].observations[moment.step, 2]
            assert state.action.dtype == np.float32
            assert state.action.tolist() == [-2.0 if velocity > 0 else 2.0]
        assert chosen.stats()["clipped_actions"] == 2

    def test_what_came_of_it_is_always_shown(self):
        chosen = toy_corrector(context_steps=0)
        chosen.correct([toy(4)], moments_of((0, 1), (0, 3)))
        texts = [prompt_of(request) for request in chosen.llm.requests]
        assert [[row[1] for row in steps_of(text)] for text in texts] == [[1, 2], [3]]
        assert "\nEnd | at place 4\n" in texts[1]

    @pytest.mark.parametrize(("batch", "questions"), [(1, 5), (2, 3), (9, 2)])
    def test_moments_of_one_episode_share_a_question(self, batch, questions):
        moments = moments_of((0, 9), (0, 3), (1, 2), (0, 6), (1, 1))
        chosen = corrector(batch=batch)
        states = chosen.correct(played(CART), moments)
        assert len(chosen.llm.requests) == chosen.stats()["questions"] == questions
        assert [(s.episode, s.step) for s in states] == [(m.episode, m.step) for m in moments]

    def test_names_are_read_without_regard_to_form_and_told_apart_by_it(self):
        for name in ("go_right", "Go Right", " go-right "):
            assert int(advised(name)[0].action) == 1
        form = action_form(spaces.Discrete(2), ("go_up", "go up"))
        assert [int(form.read(name)[0]) for name in ("go_up", "go up")] == [0, 1]
        numbered = action_form(spaces.Discrete(2, start=3), ())
        assert (numbered.names, int(numbered.read("action 4")[0])) == (("action 3", "action 4"), 4)

    @pytest.mark.parametrize(
        ("answer", "space", "kind"),
        [
            ("fly", None, "unknown_action"),
            ([1.0], spaces.Box(-1, 1, (2,)), "wrong_shape"),
            ([10**400, 0], spaces.Box(-1, 1, (2,)), "not_finite"),
            ([1e300], spaces.Box(-np.inf, np.inf, (1,)), "not_finite"),
            ([1, 2], spaces.MultiDiscrete([2, 2]), "unknown_action"),
            ([1, -1], spaces.MultiDiscrete([2, 2]), "unknown_action"),
            ([1], spaces.MultiDiscrete([2, 2]), "wrong_shape"),
            ([0, 10**30], spaces.MultiBinary(2), "unknown_action"),
        ],
        ids=str,
    )
    def test_what_is_no_action_is_rejected_and_counted(self, answer, space, kind):
        state, stats = advised(answer, space)
        assert state is None
        assert {name: stats[name] for name in REJECTED if stats[name]} == {kind: 1}
        assert (stats["moments"], stats["corrected"], stats["without_advice"]) == (1, 0, 1)

    @pytest.mark.parametrize(
        ("answer", "space", "expected", "clipped"),
        [
            ([3, -0.5], spaces.Box(-1, 1, (2,)), [1, -0.5], 1),
            ([1, 2, 3, 4], spaces.Box(0, 9, (2, 2)), [[1, 2], [3, 4]], 0),
            ([1.6], spaces.Box(0, 9, (1,), np.int64), [2], 1),
            ([0, 2], spaces.MultiDiscrete([2, 3]), [0, 2], 0),
            ([5, 7], spaces.MultiDiscrete([2, 3], start=[5, 5]), [5, 7], 0),
            ([0, 1, 1], spaces.MultiBinary(3), [0, 1, 1], 0),
        ],
        ids=str,
    )
    def test_lists_of_numbers(self, answer, space, expected, clipped):
        state, stats = advised(answer, space)
        assert state.action.tolist() == expected
        assert space.contains(state.action)
        assert stats["clipped_actions"] == clipped

    @settings(deadline=None)
    @given(
        action=st.text(max_size=12)
        | st.lists(st.integers(), max_size=4)
        | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
        space=st.sampled_from(
            [spaces.Discrete(2), spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, np.inf, (2,)),
             spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)]
        ),
    )  # fmt: skip
    def test_whatever_is_read_is_of_the_space(self, action, space):
        form = action_form(space, ())
        is_name = isinstance(action, str)
        if is_name != isinstance(space, spaces.Discrete) or (
            form.answer_type == list[int] and not all(isinstance(value, int) for value in action)
        ):
            return
        try:
            read, _ = form.read(action)
        except RejectedAction as error:
            read = str(error)
        assert read in REJECTED if isinstance(read, str) else space.contains(read[()])

    @pytest.mark.parametrize(
        ("reward", "kept", "clipped"),
        [(0.25, 0.25, 0), (-7, -1.0, 1), (1e300, 1.0, 1), (10**400, None, 0)],
    )
    def test_rewards_are_clipped_and_finite(self, reward, kept, clipped):
        state, stats = advised("stay", reward=reward)
        assert (state and state.reward, stats["clipped_rewards"]) == (kept, clipped)
        assert stats["not_finite"] == (kept is None)

    def test_what_nobody_asked_for_is_dropped_and_what_is_forgotten_has_no_advice(self):
        rows = [(0, 3, "stay", -0.5), (0, 3, "go_right", 1), (0, 4, "stay", 1), (9, 3, "stay", 1)]
        chosen = toy_corrector([corrections(*rows)], batch=2)
        state, forgotten = chosen.correct([toy()], moments_of((0, 3), (0, 5)))
        assert (int(state.action), state.reward, forgotten) == (0, -0.5, None)
        assert (chosen.stats()["duplicate"], chosen.stats()["not_asked"]) == (1, 2)

    def test_an_unreadable_answer_costs_its_moments_and_nothing_else(self):
        def model(request):
            return NOTHING if ">>> Step 3" in prompt_of(request) else cart_pole_model(request)

        chosen = corrector(model, llm_options={"repairs": 0})
        with pytest.warns(GuidanceWarning, match=r"1 of 2 questions \(correct\).*1 unreadable"):
            states = chosen.correct(played(CART), moments_of((0, 3), (0, 5)))
        assert [state is None for state in states] == [True, False]

    @pytest.mark.parametrize("answer", [["push left"], {"push": "left"}, 1, None], ids=str)
    def test_actions_in_another_form_are_repaired(self, answer):
        chosen = corrector([corrections((0, 3, a, 0)) for a in (answer, "push left")])
        (state,) = chosen.correct(played(CART), moments_of((0, 3)))
        assert (int(state.action), len(chosen.llm.requests)) == (0, 2)

    def test_the_state_is_the_part_of_a_dict(self):
        observations = {"far": np.arange(21), "near": np.arange(21) * 2}
        chosen = toy_corrector([corrections((0, 3, "stay", 0))], part="near")
        (state,) = chosen.correct([toy(observations=observations)], moments_of((0, 3)))
        assert state.state == 6

    @pytest.mark.parametrize(
        ("observations", "part", "message"),
        [
            ({"far": np.arange(21)}, "near", r"\['far'\], got 'near'"),
            ({"far": np.arange(21)}, None, "part to be one of"),
            (np.arange(21), "near", "only for Dict"),
            ((np.arange(21),), None, "one array"),
        ],
        ids=["missing", "none", "no dict", "tuple"],
    )
    def test_a_part_that_does_not_fit_is_said_before_anybody_is_asked(
        self, observations, part, message
    ):
        chosen = toy_corrector([], part=part)
        with pytest.raises(InvalidOptionError, match=message):
            chosen.correct([toy(observations=observations)], moments_of((0, 3)))

    @pytest.mark.parametrize(("place", "message"), [((5, 0), "episode 5"), ((0, 20), "step 20")])
    def test_moments_have_to_be_in_the_episodes(self, place, message):
        with pytest.raises(InvalidOptionError, match=message):
            toy_corrector([]).correct([toy()], moments_of(place))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        *((selector, {name: value}) for name, value in [
            ("prompt_tokens", 0), ("prompt_tokens", "many"), ("overlap", -1), ("show_every", 0),
            ("episodes_per_question", True), ("instructions", None),
        ]),
        (corrector, {"batch": 0}), (corrector, {"context_steps": -1}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)  # fmt: skip
def test_options_that_cannot_work(make, options):
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        make(**options)


def test_what_else_cannot_work():
    with pytest.raises(InvalidOptionError, match="per_episode"):
        selector().select(played(CART), per_episode=0)
    with pytest.raises(IncompatibleEnvironmentError, match="Text"):
        toy_corrector([], spaces.Text(3))
    with pytest.raises(InvalidOptionError, match="each of the 3 actions, got 2"):
        LLMCorrector(ScriptedLLM([]), TOY, spaces.Discrete(3))


def test_where_there_is_nothing_to_ask_nobody_is_asked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert selector([]).select([], per_episode=1) == []
        assert corrector([]).correct(played(CART), []) == []
