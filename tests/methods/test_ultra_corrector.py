"""ULTRA's corrector: what a model is asked about a moment, and which advice can be used."""

from __future__ import annotations

import json

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
)

from llm_wrappers.captions import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.critical.correcting import Corrector
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import Budget
from llm_wrappers.methods.ultra import LLMCorrector
from llm_wrappers.methods.ultra._actions import action_form
from llm_wrappers.methods.ultra._rejected_action import REJECTED, RejectedAction
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.trajectory import Trajectory

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
TOY = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("stay", "go_right"))
NUMBERS = EnvDescription(env_id="Toy-v1", rules="Go right.")


def corrector(script=cart_pole_model, *, env_id=CART, llm_options=None, **options):
    llm = ScriptedLLM(script, **{"concurrency": 1, **(llm_options or {})})
    return LLMCorrector(llm, described(env_id), gym.make(env_id).action_space, **options)


def toy_corrector(script, space=None, **options):
    description = TOY if space is None else NUMBERS
    llm = ScriptedLLM(script, concurrency=1, repairs=0)
    return LLMCorrector(llm, description, space or spaces.Discrete(2), **options)


def toy(steps=20, observations=None):
    return Trajectory(
        np.arange(steps + 1.0)[:, None] if observations is None else observations,
        np.zeros(steps, int),
        [0.0] * steps,
        True,
        False,
        captions=[f"at place {step}" for step in range(steps + 1)],
    )


def moments_of(*places):
    return [CriticalMoment(*place, rationale=f"because {place[1]}") for place in places]


def advised(answer, space=None, reward=0.0, **options):
    """Return what becomes of one action that a model names, and the counters."""
    chosen = toy_corrector([corrections((0, 3, answer, reward))], space, **options)
    (state,) = chosen.correct([toy()], moments_of((0, 3)))
    return state, chosen.stats()


class TestPrompt:
    def test_shows_the_steps_around_the_moment_and_marks_it(self):
        chosen = corrector(context_steps=2, instructions="Keep it upright.")
        chosen.correct(played(CART), moments_of((1, 6)))
        (request,) = chosen.llm.requests
        text = prompt_of(request)
        rows = steps_of(text)
        assert [row[1] for row in rows] == [4, 5, 6, 7, 8]
        assert [row[1] for row in rows if row[-1]] == [6]
        assert rows[2][2] == played(CART)[1].captions[6]
        blocks = [
            "# The environment: CartPole-v1",
            "The actions: push left, push right",
            "What matters here: Keep it upright.",
            "## Episode 1: ",
            "Why step 6 matters, by whoever selected it: because 6",
            ">>> Step 6 |",
            "# How to proceed",
            "# Output format",
            "its name, exactly as it is written above",
        ]
        places = [text.index(block) for block in blocks]
        assert places == sorted(places)
        assert "$" not in text

    def test_always_shows_what_came_of_it(self):
        chosen = toy_corrector(lambda _: corrections(), context_steps=0)
        chosen.correct([toy(4)], moments_of((0, 1), (0, 3)))
        texts = [prompt_of(request) for request in chosen.llm.requests]
        assert [[row[1] for row in steps_of(text)] for text in texts] == [[1, 2], [3]]
        assert "\nEnd | at place 4\n" in texts[1]

    def test_a_gap_between_moments_is_shown(self):
        chosen = toy_corrector(lambda _: corrections(), context_steps=1, batch=2)
        chosen.correct([toy()], moments_of((0, 3), (0, 12)))
        (request,) = chosen.llm.requests
        assert "Step 4 | at place 4 | action: stay | reward: 0\n(...)\nStep 11" in prompt_of(
            request
        )

    @pytest.mark.parametrize(("batch", "questions"), [(1, 5), (2, 3), (3, 2), (9, 2)])
    def test_moments_of_one_episode_share_a_question(self, batch, questions):
        moments = moments_of((0, 9), (0, 3), (1, 2), (0, 6), (1, 1))
        chosen = corrector(batch=batch)
        states = chosen.correct(played(CART), moments)
        assert len(chosen.llm.requests) == chosen.stats()["questions"] == questions
        assert [(s.episode, s.step) for s in states] == [(m.episode, m.step) for m in moments]

    def test_is_told_the_analysis_of_the_episode(self):
        chosen = corrector()
        chosen.correct(played(CART), moments_of((0, 2), (1, 2)), analyses=["", "It dawdles."])
        said = [
            "An analysis of the behaviour in this episode: It dawdles." in prompt_of(request)
            for request in chosen.llm.requests
        ]
        assert said == [False, True]

    def test_says_how_numbers_are_written(self):
        chosen = corrector(pendulum_model, env_id=PENDULUM)
        chosen.correct(played(PENDULUM), moments_of((0, 3)))
        assert "a list of 1 number, from -2 to 2" in prompt_of(chosen.llm.requests[0])

    def test_a_captioner_speaks_for_episodes_without_captions(self):
        one = corrector(captioner=resolve_captioner(gym.make(CART)))
        two = corrector()
        for chosen, captions in ((one, False), (two, True)):
            chosen.correct(played(CART, captions=captions), moments_of((0, 3)))
        assert prompt_of(one.llm.requests[0]) == prompt_of(two.llm.requests[0])


class TestAdvice:
    def test_a_good_model_advises_what_the_numbers_say(self):
        # It has nothing but the text: whatever it gets right stands in the prompt.
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
        assert None not in states
        for moment, state in zip(moments, states, strict=True):
            observation = trajectories[moment.episode].observations[moment.step]
            np.testing.assert_array_equal(state.state, observation)
            assert state.state.dtype == observation.dtype
            assert int(state.action) == (observation[3] > 0)
            assert (state.episode, state.step, state.reward) == (moment.episode, moment.step, -0.5)
        bound = CriticalStates(states).bind(*_spaces(CART))
        assert len(bound) == len(states)

    def test_torques_beyond_the_motor_are_clipped_and_counted(self):
        trajectories = played(PENDULUM)
        moments = moments_of((0, 4), (1, 9))
        chosen = corrector(pendulum_model, env_id=PENDULUM)
        states = chosen.correct(trajectories, moments)
        for moment, state in zip(moments, states, strict=True):
            velocity = trajectories[moment.episode].observations[moment.step, 2]
            assert state.action.dtype == np.float32
            assert state.action.tolist() == [-2.0 if velocity > 0 else 2.0]
        assert chosen.stats()["clipped_actions"] == 2
        assert CriticalStates(states).bind(*_spaces(PENDULUM)).counts["clipped_actions"] == 0

    def test_the_state_is_a_copy(self):
        (state,) = corrector().correct(played(CART), moments_of((0, 3)))
        state.state[:] = 7
        assert not (played(CART)[0].observations[3] == 7).any()

    @pytest.mark.parametrize("name", ["go_right", "Go Right", " go-right "])
    def test_names_are_read_without_regard_to_form(self, name):
        assert int(advised(name)[0].action) == 1

    def test_names_that_differ_in_form_alone_are_told_apart(self):
        form = action_form(spaces.Discrete(2), ("go_up", "go up"))
        assert [int(form.read(name)[0]) for name in ("go_up", "go up")] == [0, 1]

    def test_actions_without_names_have_their_numbers(self):
        form = action_form(spaces.Discrete(2, start=3), ())
        assert form.names == ("action 3", "action 4")
        assert int(form.read("action 4")[0]) == 4

    @pytest.mark.parametrize(
        ("answer", "space", "kind"),
        [
            ("fly", None, "unknown_action"),
            ("1", None, "unknown_action"),
            ([1.0], spaces.Box(-1, 1, (2,)), "wrong_shape"),
            ([], spaces.Box(-1, 1, (2,)), "wrong_shape"),
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
            ([1e300, 0], spaces.Box(-1, 1, (2,)), [1, 0], 1),
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

    @pytest.mark.parametrize(
        ("reward", "kept", "clipped"), [(0.25, 0.25, 0), (-7, -1.0, 1), (1e300, 1.0, 1)]
    )
    def test_rewards_are_clipped(self, reward, kept, clipped):
        state, stats = advised("stay", reward=reward)
        assert (state.reward, stats["clipped_rewards"]) == (kept, clipped)

    def test_a_reward_of_too_many_digits_is_no_advice(self):
        state, stats = advised("stay", reward=10**400)
        assert state is None
        assert stats["not_finite"] == 1

    def test_corrections_nobody_asked_for_are_dropped(self):
        rows = [(0, 3, "stay", -0.5), (0, 3, "go_right", 1), (0, 4, "stay", 1), (9, 3, "stay", 1)]
        chosen = toy_corrector([corrections(*rows)])
        (state,) = chosen.correct([toy()], moments_of((0, 3)))
        assert (int(state.action), state.reward) == (0, -0.5)
        assert (chosen.stats()["duplicate"], chosen.stats()["not_asked"]) == (1, 2)

    def test_a_moment_that_the_model_forgets_has_no_advice(self):
        chosen = toy_corrector([corrections((0, 3, "stay", 0))], batch=2)
        states = chosen.correct([toy()], moments_of((0, 3), (0, 4)))
        assert [state is None for state in states] == [False, True]

    @settings(deadline=None)
    @given(
        action=st.text(max_size=12)
        | st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), max_size=4),
        space=st.sampled_from(
            [
                spaces.Discrete(2),
                spaces.Box(-1, 1, (2,)),
                spaces.Box(-np.inf, np.inf, (2,)),
                spaces.MultiDiscrete([2, 3]),
                spaces.MultiBinary(2),
            ]
        ),
    )
    def test_whatever_is_read_is_of_the_space(self, action, space):
        form = action_form(space, ())
        fitting = isinstance(action, str) == isinstance(space, spaces.Discrete)
        if not fitting or (form.answer_type == list[int] and not _whole(action)):
            return
        read = _read(form, action)
        assert read in REJECTED if isinstance(read, str) else space.contains(read)


class TestNoAnswer:
    def test_an_unreadable_answer_costs_its_moments_and_nothing_else(self):
        def model(request):
            return "Hm." if ">>> Step 3" in prompt_of(request) else cart_pole_model(request)

        chosen = corrector(model, llm_options={"repairs": 0})
        with pytest.warns(GuidanceWarning, match=r"1 of 2 questions \(correct\).*1 unreadable"):
            states = chosen.correct(played(CART), moments_of((0, 3), (0, 5)))
        assert [state is None for state in states] == [True, False]

    def test_a_spent_budget_keeps_what_there_is_and_goes_on_later(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        moments = moments_of(*((0, step) for step in range(6)))
        poor = corrector(llm_options={"cache": cache, "budget": Budget(calls=4)})
        with pytest.warns(GuidanceWarning, match="2 over budget"):
            states = poor.correct(played(CART), moments)
        assert [state is None for state in states] == [False] * 4 + [True] * 2
        rich = corrector(llm_options={"cache": cache})
        assert None not in rich.correct(played(CART), moments)
        assert len(rich.llm.requests) == 2

    def test_no_moments_need_no_model(self):
        assert corrector([]).correct(played(CART), []) == []

    @pytest.mark.parametrize("answer", [["push left"], {"push": "left"}, 1, None], ids=str)
    def test_actions_in_another_form_are_repaired(self, answer):
        good = corrections((0, 3, "push left", 0))
        chosen = corrector([corrections((0, 3, answer, 0)), good])
        (state,) = chosen.correct(played(CART), moments_of((0, 3)))
        assert int(state.action) == 0
        assert len(chosen.llm.requests) == 2


class TestParts:
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
    def test_what_does_not_fit_is_said_before_anybody_is_asked(self, observations, part, message):
        chosen = toy_corrector([], part=part)
        with pytest.raises(InvalidOptionError, match=message):
            chosen.correct([toy(observations=observations)], moments_of((0, 3)))


class TestOptions:
    @pytest.mark.parametrize("shown", [True, False])
    def test_progress_is_shown_where_it_is_wanted(self, shown, capsys):
        corrector(progress_bar=shown).correct(played(CART), moments_of((0, 1), (0, 2), (1, 3)))
        assert ("3/3" in capsys.readouterr().err) == shown

    @pytest.mark.parametrize("options", [{"batch": 0}, {"context_steps": -1}], ids=str)
    def test_what_cannot_work_is_refused(self, options):
        (name,) = options
        with pytest.raises(InvalidOptionError, match=name):
            corrector(**options)

    def test_other_action_spaces_are_refused(self):
        with pytest.raises(IncompatibleEnvironmentError, match="Text"):
            toy_corrector([], spaces.Text(3))

    def test_names_have_to_fit_the_actions(self):
        with pytest.raises(InvalidOptionError, match="each of the 3 actions, got 2"):
            LLMCorrector(ScriptedLLM([]), TOY, spaces.Discrete(3))

    @pytest.mark.parametrize(("place", "message"), [((5, 0), "episode 5"), ((0, 20), "step 20")])
    def test_moments_have_to_be_in_the_episodes(self, place, message):
        with pytest.raises(InvalidOptionError, match=message):
            toy_corrector([]).correct([toy()], moments_of(place))

    def test_an_answer_to_another_question_is_unreadable(self):
        chosen = toy_corrector([identification((0, 3))])
        with pytest.warns(GuidanceWarning, match="1 unreadable"):
            assert chosen.correct([toy()], moments_of((0, 3))) == [None]


def _spaces(env_id):
    env = gym.make(env_id)
    return env.observation_space, env.action_space


def _read(form, action):
    """Return the action, or why it is none."""
    try:
        read, _ = form.read(action)
    except RejectedAction as error:
        return str(error)
    return read if read.shape else read[()]


def _whole(action):
    return all(isinstance(value, int) for value in action)


def test_the_schema_says_what_an_action_is():
    chosen = corrector(pendulum_model, env_id=PENDULUM)
    chosen.correct(played(PENDULUM), moments_of((0, 3)))
    schema = json.dumps(chosen.llm.requests[0].answer_schema)
    assert '"items": {"type": "number"}' in schema
