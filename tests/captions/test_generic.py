"""The generic captioner, over many spaces."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.errors import InvalidOptionError

# Training runs share the machine, so the time of one example says nothing.
examples = settings(deadline=None, max_examples=60)

shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
boxes = st.one_of(
    st.builds(lambda shape: spaces.Box(-3.0, 7.5, shape), shapes),
    st.builds(lambda shape: spaces.Box(-np.inf, np.inf, shape, np.float64), shapes),
    st.builds(lambda shape: spaces.Box(0, 255, shape, np.uint8), shapes),
    st.just(spaces.Box(0, 255, (16, 16, 3), np.uint8)),
    st.builds(lambda shape: spaces.Box(0, 1, shape, np.bool_), shapes),
)
leaves = boxes | st.one_of(
    st.builds(
        lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-3, 3)
    ),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 5), min_size=1, max_size=4)),
    st.builds(spaces.MultiBinary, st.integers(1, 5)),
)
keys = st.sampled_from(["a", "a_0", "b", "obs", "two words"])
observation_spaces = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(keys, inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=5,
)
action_spaces = leaves | st.just(spaces.Dict(move=spaces.Discrete(3), turn=spaces.Box(-1, 1, (2,))))


def batch(space, items):
    return concatenate(space, items, create_empty_array(space, len(items)))


def captioner(observation_space=None, action_space=None, **options):
    return GenericCaptioner(
        spaces.Box(-9, 9, (2,)) if observation_space is None else observation_space,
        spaces.Discrete(2) if action_space is None else action_space,
        **options,
    )


def change(before, after, action=0, **options):
    ours = captioner(**options)
    return ours.transition_captions(
        ours.facts(np.array([before]), {}), [action], ours.facts(np.array([after]), {})
    )[0]


class TestAnySpace:
    @examples
    @given(observation_spaces, action_spaces, st.integers(0, 1000))
    def test_facts_are_flat_python_scalars_and_captions_name_them(self, space, actions, seed):
        space.seed(seed)
        actions.seed(seed)
        ours = captioner(space, actions)
        assert isinstance(ours, Captioner)
        items = [space.sample() for _ in range(3)]
        facts = ours.facts(batch(space, items), {})
        assert len(facts) == 3
        for row, caption in zip(facts, ours.state_captions(facts), strict=True):
            assert all(type(name) is str and name for name in row)
            assert all(type(value) in (bool, int, float, str) for value in row.values())
            assert all(f"{name} is " in caption for name in row)
        taken = [actions.sample() for _ in range(3)]
        same = ours.transition_captions(facts, taken, facts)
        assert all(caption.startswith("took action ") for caption in same)
        assert all(caption.endswith(": nothing changed") for caption in same)

    @examples
    @given(observation_spaces)
    def test_description_names_every_array(self, space):
        description = captioner(space, env_id="Toy-v0", goals=("win",)).description
        assert (description.env_id, description.goals) == ("Toy-v0", ("win",))
        assert description.action_names == ("action 0", "action 1")
        assert description.rules.endswith("An action is one of 2 choices.")


class TestNames:
    @pytest.mark.parametrize(
        ("space", "observation", "facts"),
        [
            (spaces.Box(0, 9, ()), 3.0, {"obs": 3.0}),
            (spaces.Box(0, 9, (2,)), [1, 2], {"obs_0": 1.0, "obs_1": 2.0}),
            (spaces.Box(0, 9, (1, 2), int), [[1, 2]], {"obs_0_0": 1, "obs_0_1": 2}),
            (spaces.Discrete(5), 3, {"obs": 3}),
            (spaces.MultiBinary(2), [0, 1], {"obs_0": 0, "obs_1": 1}),
        ],
    )
    def test_of_a_single_array(self, space, observation, facts):
        [row] = captioner(space).facts(np.array([observation], dtype=space.dtype), {})
        assert row == facts

    def test_of_nested_dicts(self):
        inner = spaces.Dict({"x": spaces.Discrete(3), "y": spaces.Box(0, 9, (2,))})
        space = spaces.Dict({"pos": inner, "hp": spaces.Discrete(9)})
        observation = {
            "pos": {"x": np.array([2]), "y": np.array([[4.0, 5.0]])},
            "hp": np.array([7]),
        }
        [row] = captioner(space).facts(observation, {})
        assert row == {"pos_x": 2, "pos_y_0": 4.0, "pos_y_1": 5.0, "hp": 7}

    def test_that_collide_stay_apart(self):
        space = spaces.Dict({"a": spaces.Box(0, 9, (1,)), "a_0": spaces.Discrete(3)})
        [row] = captioner(space).facts({"a": np.array([[4.0]]), "a_0": np.array([2])}, {})
        assert row == {"a_0": 4.0, "a_0_": 2}

    def test_large_array_is_summarised(self):
        space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
        image = np.zeros((1, 64, 64, 3), np.uint8)
        image[0, :32] = 200
        ours = captioner(space)
        facts = ours.facts(image, {})
        assert facts == [{"obs_shape": "64x64x3", "obs_mean": 100.0, "obs_min": 0, "obs_max": 200}]
        assert ours.state_captions(facts) == [
            "obs_shape is 64x64x3, obs_mean is 100, obs_min is 0, obs_max is 200."
        ]
        assert "(12288 numbers from 0 to 255, 64x64x3, summarised)" in ours.description.rules

    def test_max_values_is_where_the_summary_begins(self):
        for size, first in ((3, "obs_0"), (4, "obs_shape")):
            space = spaces.Box(0, 1, (size,))
            [row] = captioner(space, max_values=3).facts(np.zeros((1, size)), {})
            assert next(iter(row)) == first

    def test_summary_of_what_is_not_finite_does_not_warn(self):
        values = np.array([[np.inf, -np.inf, 0.0]])
        ours = captioner(spaces.Box(-np.inf, np.inf, (3,)), max_values=2)
        assert ours.state_captions(ours.facts(values, {})) == [
            "obs_shape is 3, obs_mean is nan, obs_min is -inf, obs_max is inf."
        ]


class TestWords:
    @pytest.mark.parametrize(
        ("value", "words"),
        [(0.12345, "0.123"), (1234.5, "1230"), (-0.0, "0"), (1e-9, "1e-09"), (0.9999, "1")],
    )
    def test_floats_have_three_significant_digits(self, value, words):
        ours = captioner(spaces.Box(-np.inf, np.inf, (), np.float64))
        facts = ours.facts(np.array([value]), {})
        assert facts[0]["obs"] == value
        assert ours.state_captions(facts) == [f"obs is {words}."]

    def test_transition_lists_what_changed(self):
        assert change([0.1, 5.0], [0.2, 4.0]) == (
            "took action 0: obs_0 rose from 0.1 to 0.2, obs_1 fell from 5 to 4"
        )

    @pytest.mark.parametrize("space", [spaces.Discrete(9), spaces.Box(0, 1, (), np.bool_)])
    def test_choices_change_and_do_not_rise(self, space):
        caption = change(space.dtype.type(0), space.dtype.type(1), observation_space=space)
        assert caption.startswith("took action 0: obs changed from ")

    @pytest.mark.parametrize("index", range(3))
    def test_every_action_by_its_name(self, index):
        names = ("left", "right", "wait a bit")
        actions = spaces.Discrete(3, start=5)
        caption = change([0, 0], [0, 0], 5 + index, action_space=actions, action_names=names)
        assert caption == f"took action {names[index]}: nothing changed"

    def test_default_names_are_the_action_values(self):
        actions = spaces.Discrete(2, start=5)
        assert captioner(action_space=actions).description.action_names == ("action 5", "action 6")

    @pytest.mark.parametrize(
        ("space", "action", "words"),
        [
            (spaces.Box(-1, 1, (2,)), np.array([0.12345, -1.0], np.float32), "[0.123, -1]"),
            (spaces.MultiDiscrete([3, 3]), np.array([2, 0]), "[2, 0]"),
            (
                spaces.Dict(go=spaces.Discrete(2), turn=spaces.Box(-1, 1, (1,))),
                {"go": np.int64(1), "turn": np.array([0.5])},
                "go 1, turn [0.5]",
            ),
            (spaces.Text(5), "hello", "hello"),
        ],
    )
    def test_actions_without_names(self, space, action, words):
        caption = change([0, 0], [0, 0], action, action_space=space)
        assert caption == f"took action {words}: nothing changed"
        assert captioner(action_space=space).description.rules.endswith(f"a value of {space}.")


class TestInfos:
    infos = {  # noqa: RUF012
        "lives": np.array([3, 0]),
        "_lives": np.array([True, False]),
        "name": np.array(["ann", None], dtype=object),
        "alive": np.array([True, False]),
        "map": np.zeros((2, 4)),
        "stats": {"gold": np.array([1, 2])},
        "scalar": 5,
    }

    def test_are_not_read_by_default(self):
        assert set(captioner().facts(np.zeros((2, 2)), self.infos)[0]) == {"obs_0", "obs_1"}

    def test_reported_scalars_become_facts(self):
        rows = captioner(include_infos=True).facts(np.zeros((2, 2)), self.infos)
        told = [{k: v for k, v in row.items() if k.startswith("info_")} for row in rows]
        assert told == [
            {"info_alive": True, "info_lives": 3, "info_name": "ann"},
            {"info_alive": False},
        ]
        assert all(type(value) in (bool, int, str) for row in told for value in row.values())

    def test_of_a_single_environment(self):
        ours = captioner(include_infos=True)
        [row] = ours.facts(np.zeros((1, 2)), batch_infos({"lives": 3, "score": 0.5}))
        assert (row["info_lives"], row["info_score"]) == (3, 0.5)

    def test_a_new_fact_is_told_as_new(self):
        ours = captioner(include_infos=True)
        before = ours.facts(np.zeros((1, 2)), {})
        after = ours.facts(np.zeros((1, 2)), {"won": np.array([True])})
        assert ours.transition_captions(before, [0], after) == [
            "took action 0: info_won is now true"
        ]


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"observation_space": spaces.Text(5)}, "got Text; write a captioner"),
            (
                {"observation_space": spaces.Dict(a=spaces.Dict(b=spaces.Text(5)))},
                "got Text at 'a.b'; write a captioner",
            ),
            ({"observation_space": spaces.Dict()}, "must hold something to observe"),
            ({"max_values": 0}, "max_values must be at least 1, got 0"),
            ({"action_names": ("a",)}, "action_names must hold 2 names, one per action, got 1"),
            ({"action_names": ("a", "a")}, "action_names must not repeat"),
            ({"goals": ("",)}, "goals must be non-empty strings"),
            (
                {"action_space": spaces.Box(0, 1), "action_names": ("a",)},
                "action_names are for a Discrete action space",
            ),
        ],
    )
    def test_of_options(self, options, message):
        with pytest.raises(InvalidOptionError, match=message):
            captioner(**options)

    @pytest.mark.parametrize("action", [-1, 2])
    def test_of_an_unknown_action(self, action):
        with pytest.raises(InvalidOptionError, match=rf"actions must be 0\.\.1, got {action}"):
            change([0, 0], [0, 0], action)

    @pytest.mark.parametrize(
        ("observations", "message"),
        [
            ({"a": np.zeros(1)}, "observations hold no 'b'"),
            ({"a": np.zeros(1), "b": np.zeros(2)}, r"'b' must be a batch of the shape \(n, 2\)"),
            ({"a": np.zeros(1), "b": np.zeros((3, 2))}, r"one batch size, got \[1, 3\]"),
            (np.zeros((1, 2)), "observations hold no 'a'"),
        ],
    )
    def test_of_observations(self, observations, message):
        space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (2,))})
        with pytest.raises(InvalidOptionError, match=message):
            captioner(space).facts(observations, {})
