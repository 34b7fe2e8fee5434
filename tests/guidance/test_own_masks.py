"""An environment's own action masks, in every form that people write, or refused."""

import contextlib
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from sb3_contrib.common.wrappers import ActionMasker

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.mask_bank import flat_action_count
from llm_wrappers.guidance.own_masks import find_own_mask, read_mask, read_masks

THREE = spaces.Discrete(3)
PARTS = spaces.MultiDiscrete([2, 3])
BITS = spaces.MultiBinary(2)


def refused(value, space, *said):
    with pytest.raises(IncompatibleEnvironmentError) as caught:
        read_mask(value, space)
    message = str(caught.value)
    length = flat_action_count(space)
    assert message.startswith(
        f"expected an action mask of {length} flags, as the action space {space} has, got "
    )
    for part in said:
        assert part in message
    return message


class TestFlags:
    @pytest.mark.parametrize(
        "value",
        [
            [True, False, True],
            (1, 0, 1),
            np.array([1, 0, 1], np.int8),
            np.array([1, 0, 1], np.uint8),
            np.array([1.0, 0.0, 1.0], np.float32),
            np.array([[True, False, True]]),
            [[1, 0, 1]],
            np.array([True, False, True], dtype=object),
            torch.tensor([True, False, True]),
            torch.tensor([[1.0, 0.0, 1.0]]),
            [np.bool_(True), np.int64(0), 1.0],
        ],
        ids=repr,
    )
    def test_of_one_choice(self, value):
        mask = read_mask(value, THREE)
        assert mask.dtype == np.bool_
        assert mask.tolist() == [True, False, True]

    @pytest.mark.parametrize(
        "value",
        [
            [1, 0, 0, 1, 1],
            np.array([[1, 0, 0, 1, 1]]),
            [[1, 0], [0, 1, 1]],
            (np.array([True, False]), np.array([False, True, True])),
            np.array([[1, 0, 0], [0, 1, 1]]),
            [[1, 0, 0], [0, 1, 1]],
            np.array([np.array([1, 0]), np.array([0, 1, 1])], dtype=object),
            [torch.tensor([1, 0]), torch.tensor([0, 1, 1])],
        ],
        ids=repr,
    )
    def test_of_parts(self, value):
        assert read_mask(value, PARTS).tolist() == [True, False, False, True, True]

    def test_of_parts_of_one_size(self):
        space = spaces.MultiDiscrete([2, 2])
        for value in ([[1, 0], [1, 1]], np.array([[1, 0], [1, 1]])):
            assert read_mask(value, space).tolist() == [True, False, True, True]

    @pytest.mark.parametrize("value", [[1, 0], np.array([[True, False]]), [1, 1, 1, 0]], ids=repr)
    def test_of_bits_that_may_be_one(self, value):
        assert read_mask(value, BITS).tolist() == [True, True, True, False]

    def test_of_bits_as_parts(self):
        assert read_mask([[0, 1], [1, 0]], BITS).tolist() == [False, True, True, False]

    def test_a_mask_that_closes_everything_is_no_error(self):
        assert not read_mask([0, 0, 0], THREE).any()
        assert read_mask([[0, 0], [0, 1, 1]], PARTS).tolist() == [False, False, False, True, True]

    def test_numbers_from_another_start_are_counted_from_nought(self):
        assert read_mask([1, 0, 1], spaces.Discrete(3, start=5)).tolist() == [True, False, True]

    def test_what_is_returned_is_not_what_was_given(self):
        given_ = np.ones(3, np.bool_)
        mask = read_mask(given_, THREE)
        mask[0] = False
        assert given_.all()

    def test_taxi(self):
        env = gym.make("Taxi-v4")
        _, info = env.reset(seed=0)
        mask = read_mask(info["action_mask"], env.action_space)
        assert mask.tolist() == [bool(flag) for flag in info["action_mask"]]


class TestRefused:
    def test_none(self):
        refused(None, THREE, "got None; return np.ones(3, bool) where every action is open")

    def test_nan(self):
        refused([np.nan, 0, 1], THREE, "got NaN in [nan, 0.0, 1.0]; return True or False")

    def test_logits(self):
        refused([0.0, -np.inf, 0.0], THREE, "look like logits", "np.isfinite(logits)")

    @pytest.mark.parametrize("value", [[0, 2], np.array([0, 2]), [0, 1, 2], [1], [0, 1]])
    def test_indices(self, value):
        numbers = list(value)
        refused(
            value,
            THREE,
            f"got {[*map(int, numbers)]}, which look like the indices",
            "np.zeros(3, bool)",
        )

    @pytest.mark.parametrize("value", [[0.5, 1, 1], [2, 2, 2], np.array([255, 0, 255])])
    def test_other_numbers(self, value):
        refused(value, THREE, "return booleans, or the numbers 0 and 1")

    @pytest.mark.parametrize(
        ("value", "shape"),
        [
            (np.ones(4), "(4,)"), (np.ones((3, 1)), "(3, 1)"), (np.ones((2, 3)), "(2, 3)"),
            (1, "()"), ([], "(0,)"), (np.ones((1, 1, 3)), "(1, 1, 3)"),
        ],
    )  # fmt: skip
    def test_other_shapes(self, value, shape):
        refused(value, THREE, f"got an array of shape {shape}; return 3 flags, one per action")

    @pytest.mark.parametrize(
        ("value", "got"),
        [
            ({0, 2}, "a set"), ("101", "a str"), ({0: True}, "a dict"), (["a", "b", "c"], "['a'"),
            ([True, None, True], "[True, None"), ([[1, 0], [1]], "[[1, 0], [1]]"),
            (object(), "a object"),
        ],
    )  # fmt: skip
    def test_other_things(self, value, got):
        refused(value, THREE, f"got {got}")

    def test_one_number_per_part(self):
        refused([1, 1], PARTS, "or one list per part, of lengths [2, 3]")

    def test_parts_in_another_order(self):
        refused([[0, 1, 1], [1, 0]], PARTS, "of lengths [2, 3]")

    def test_what_fills_up_must_be_nought(self):
        # Whether it is a mask that fills up with ones, or another one, nobody can tell.
        refused(np.ones((2, 3)), PARTS, "not 0 behind the 2 actions of part 0")

    def test_wrong_flags_in_a_part(self):
        refused([[1, 0], [0, 2, 2]], PARTS, "return booleans, or the numbers 0 and 1")

    def test_bits(self):
        refused([1, 0, 1], BITS, "two per bit", "or 2, one per bit (it may be 1)")

    def test_actions_that_cannot_be_masked(self):
        with pytest.raises(IncompatibleEnvironmentError, match="whose actions can be masked"):
            read_mask([1, 0], spaces.Box(-1, 1, (2,)))


def maskable():
    sizes = st.integers(1, 6)
    return st.one_of(
        sizes.map(spaces.Discrete),
        st.lists(sizes, min_size=1, max_size=4).map(spaces.MultiDiscrete),
        sizes.map(spaces.MultiBinary),
    )


def sizes_of(space):
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec.tolist()
    return [2] * space.n if isinstance(space, spaces.MultiBinary) else [int(space.n)]


@st.composite
def masks(draw):
    space = draw(maskable())
    parts = [
        draw(st.lists(st.booleans(), min_size=size, max_size=size)) for size in sizes_of(space)
    ]
    return space, parts


class TestEveryForm:
    @given(masks(), st.sampled_from([np.bool_, np.int8, np.uint8, np.int64, np.float32]))
    def test_says_the_same(self, drawn, dtype):
        space, parts = drawn
        flat = [flag for part in parts for flag in part]
        widest = max(map(len, parts))
        padded = np.zeros((len(parts), widest), dtype)
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        array = np.array(flat, dtype)
        forms = [flat, array, array.tolist(), array[None], torch.as_tensor(array), padded]
        forms += [parts, [np.array(part, dtype) for part in parts], padded.tolist()]
        for form in forms:
            mask = read_mask(form, space)
            assert mask.dtype == np.bool_
            assert mask.tolist() == flat
        several = read_masks(forms, space, len(forms))
        assert several.tolist() == [flat] * len(forms)

    @given(st.integers(1, 6).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)))
    def test_says_the_same_of_bits(self, bits):
        mask = read_mask(bits, spaces.MultiBinary(len(bits)))
        assert mask[::2].all()
        assert mask[1::2].tolist() == bits

    @given(
        maskable(),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=2)),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=12,
        ),
    )
    def test_is_read_or_refused_in_words(self, space, value):
        with contextlib.suppress(IncompatibleEnvironmentError):
            mask = read_mask(value, space)
            assert mask.shape == (flat_action_count(space),)
            assert mask.dtype == np.bool_


class TestMany:
    @pytest.mark.parametrize(
        "value",
        [
            np.array([[True, False, True], [True, True, True]]),
            np.array([[1, 0, 1], [1, 1, 1]], np.int8),
            [[1, 0, 1], np.ones(3)],
            (torch.tensor([1, 0, 1]), (True, True, True)),
            torch.tensor([[1, 0, 1], [1, 1, 1]]),
            np.array([[1, 0, 1], [[1, 1, 1]]], dtype=object),
            np.array([[[1, 0, 1]], [[1, 1, 1]]]),
        ],
        ids=repr,
    )
    def test_forms(self, value):
        found = read_masks(value, THREE, 2)
        assert found.dtype == np.bool_
        assert found.tolist() == [[True, False, True], [True, True, True]]

    def test_parts(self):
        value = [[[1, 0], [1, 0, 1]], [1, 0, 1, 1, 1]]
        assert read_masks(value, PARTS, 2).astype(int).tolist() == [
            [1, 0, 1, 0, 1],
            [1, 0, 1, 1, 1],
        ]

    def test_what_is_returned_is_not_what_was_given(self):
        given_ = np.ones((2, 3), np.bool_)
        read_masks(given_, THREE, 2)[0] = False
        assert given_.all()

    @pytest.mark.parametrize("value", [None, 1, [[1, 0, 1]], np.ones((3, 3)), {}, [[1], [1, 0], 3]])
    def test_not_as_many(self, value):
        message = r"expected 2 action masks, one per .*got .*; return an array of shape \(2, 3\)"
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            read_masks(value, THREE, 2)

    @pytest.mark.parametrize("wrong", [None, [0, 2], [np.nan, 1, 1], [[1, 0], [1]]])
    def test_the_wrong_one_is_named(self, wrong):
        for value in ([[1, 1, 1], wrong], np.array([[1, 1, 1], wrong], dtype=object)):
            with pytest.raises(IncompatibleEnvironmentError, match=r"^sub-environment 1: expected"):
                read_masks(value, THREE, 2)


class Masked(gym.Env):
    observation_space = spaces.Discrete(1)
    action_space = THREE

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.open = [1, 1, 1]
        return 0, {}

    def step(self, action):
        self.open = [1, 0, 1]
        return 0, 0.0, False, False, {}


class Method(Masked):
    def action_masks(self):
        return self.open


class Property(Masked):
    @property
    def action_masks(self):
        return self.open


class Proxy(Masked):
    """An environment that answers for what it is made of in its own way."""

    def has_wrapper_attr(self, name):
        return name == "action_masks" or super().has_wrapper_attr(name)

    def get_wrapper_attr(self, name):
        return self.open if name == "action_masks" else super().get_wrapper_attr(name)


class TestWhereItIs:
    @pytest.mark.parametrize("kind", [Method, Property, Proxy])
    def test_below_wrappers_and_read_anew(self, kind):
        env = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(kind(), 9))
        read = find_own_mask(env)  # before the first reset, when a property cannot answer
        env.reset(seed=0)
        assert read() == [1, 1, 1]
        env.step(0)
        assert read() == [1, 0, 1]

    def test_of_the_outermost_layer(self):
        inner = Method()
        inner.reset()
        env = ActionMasker(
            gym.wrappers.TimeLimit(inner, 9), lambda env: np.array([False, True, True])
        )
        assert find_own_mask(gym.wrappers.TimeLimit(env, 3))().tolist() == [False, True, True]

    def test_a_plain_value(self):
        env = Masked()
        env.action_masks = np.array([True, False, False])
        assert find_own_mask(env)().tolist() == [True, False, False]

    def test_none_where_there_is_none(self):
        assert find_own_mask(gym.make("CartPole-v1")) is None
        env = Masked()
        env.action_masks = None
        assert find_own_mask(env) is None

    def test_an_error_of_the_environment_is_not_hidden(self):
        with pytest.raises(AttributeError, match="open"):
            find_own_mask(gym.wrappers.TimeLimit(Property(), 9))()

    def test_travels_with_its_environment(self):
        env = gym.wrappers.TimeLimit(Method(), 9)
        env.reset(seed=0)
        assert pickle.loads(pickle.dumps(find_own_mask(env)))() == [1, 1, 1]
