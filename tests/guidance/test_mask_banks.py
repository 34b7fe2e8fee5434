"""Which actions serve which goal, and the masks that environments give themselves."""

from __future__ import annotations

import contextlib
import pickle
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sb3_contrib.common.wrappers import ActionMasker

from llm_wrappers import MaskBank
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance import BoundsBank
from llm_wrappers.guidance.masks import find_own_mask, flat_action_count, read_mask, read_masks

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FOUR = spaces.Discrete(4)
NAMES = ("left", "right", "up", "down")


class TestFlatActionCount:
    @pytest.mark.parametrize(
        ("space", "count"),
        [
            (spaces.Discrete(3), 3),
            (spaces.Discrete(3, start=5), 3),
            (spaces.MultiDiscrete([3, 2, 4]), 9),
            (spaces.MultiBinary(3), 6),
        ],
        ids=str,
    )
    def test_is_what_maskable_ppo_expects(self, space, count):
        from sb3_contrib.common.maskable.distributions import make_masked_proba_distribution

        assert flat_action_count(space) == count
        try:
            distribution = make_masked_proba_distribution(space)
        except (AssertionError, NotImplementedError):
            assert space.start != 0  # which SB3 does not take; the mask counts from zero still
        else:
            assert distribution.proba_distribution_net(1).out_features == count

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Box(-1, 1, (2,)),
            spaces.MultiDiscrete([[2, 3], [4, 5]]),
            spaces.MultiBinary([2, 3]),
            spaces.Tuple([spaces.Discrete(2)]),
        ],
        ids=str,
    )
    def test_a_space_without_masks_is_refused(self, space):
        with pytest.raises(IncompatibleEnvironmentError, match="whose actions can be masked"):
            flat_action_count(space)


class TestMasks:
    @pytest.mark.parametrize(
        "mask",
        [
            ["right", "down"],
            ["right", 3],
            [1, 3],
            (3, 1),
            [1, 1, 3],
            range(1, 4, 2),
            np.array([1, 3]),
            [np.int64(1), np.uint8(3)],
            [False, True, False, True],
            np.array([False, True, False, True]),
        ],
        ids=repr,
    )
    def test_every_way_to_write_a_mask(self, mask):
        bank = MaskBank({"go": mask}, FOUR, action_names=NAMES)
        assert bank.matrix(["go"]).tolist() == [[False, True, False, True]]

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (["rihgt"], "names action 'rihgt'; known names: ['down', 'left', 'right', 'up']"),
            ([4], "must hold action names or indices in 0..3, got 4"),
            ([-1], "must hold action names or indices in 0..3, got -1"),
            ([1.0], "must hold action names or indices in 0..3, got 1.0"),
            ([None], "must hold action names or indices in 0..3, got None"),
            ([True, 2], "must hold action names or indices in 0..3, got True"),
            ([True, False], "must have 4 booleans, got 2"),
            (np.ones(5, bool), "must have 4 booleans, got 5"),
            (np.ones((1, 4), int), "must hold action names or indices in 0..3"),
            ([], "leaves no action open"),
            ([False] * 4, "leaves no action open"),
            ("left", "must be a list of actions, got 'left'"),
            (1, "must be a list of actions, got 1"),
            ({"left"}, "must be a list of actions, got {'left'}"),
            (np.array(1), "must be a list of actions, got 1"),
        ],
        ids=repr,
    )
    def test_a_bad_mask_is_refused_with_its_goal(self, mask, message):
        with pytest.raises(InvalidOptionError, match=re.escape(message)) as caught:
            MaskBank({"fine": [0], "go": mask}, FOUR, action_names=NAMES)
        assert str(caught.value).startswith("the mask of goal 'go' ")

    @pytest.mark.parametrize("names", [NAMES[:3], (*NAMES, "jump")])
    def test_names_are_one_per_action(self, names):
        with pytest.raises(InvalidOptionError, match="action_names must be 4 names"):
            MaskBank({"go": ["left"]}, FOUR, action_names=names)

    @pytest.mark.parametrize("masks", [[("go", [0])], None, "reference:crafter"])
    def test_the_bank_is_a_dict(self, masks):
        with pytest.raises(InvalidOptionError, match="expected a dict of goal -> actions"):
            MaskBank(masks, FOUR)

    @examples
    @given(
        st.dictionaries(st.text(min_size=1), st.sets(st.integers(0, 6), min_size=1), max_size=5),
        st.lists(st.text(min_size=1), max_size=3),
        st.randoms(use_true_random=False),
    )
    def test_rows_are_the_sets_that_were_given(self, sets, others, random):
        names = [f"action {index}" for index in range(7)]

        def written(actions):
            """Return a set of actions in one of the ways in which it can be written."""
            as_list = random.sample(sorted(actions), len(actions))
            if random.random() < 0.3:
                return [index in actions for index in range(7)]
            return [random.choice([index, names[index]]) for index in as_list]

        masks = {goal: written(actions) for goal, actions in sets.items()}
        bank = MaskBank(masks, spaces.Discrete(7), action_names=names)
        goals = [*others, *sets, *others]
        matrix = bank.matrix(goals)
        assert matrix.shape == (len(goals), 7)
        for goal, row in zip(goals, matrix, strict=True):
            assert set(np.flatnonzero(row).tolist()) == sets.get(goal, set(range(7)))
        assert bank.usable(matrix).all()


class TestGroups:
    """MultiDiscrete([2, 3]) has the flat actions 0 1 | 2 3 4, MultiBinary(2) has 0 1 | 2 3."""

    @pytest.mark.parametrize(
        ("space", "mask", "expected"),
        [
            (spaces.MultiDiscrete([2, 3]), [1, 2, 4], [0, 1, 1, 0, 1]),
            (spaces.MultiDiscrete([2, 3]), [True, False, False, True, False], [1, 0, 0, 1, 0]),
            (spaces.MultiBinary(2), [0, 1, 3], [1, 1, 0, 1]),
        ],
        ids=str,
    )
    def test_indices_count_the_flat_mask(self, space, mask, expected):
        assert MaskBank({"go": mask}, space).matrix(["go"]).tolist() == [expected]

    @pytest.mark.parametrize(
        ("space", "mask"),
        [
            (spaces.MultiDiscrete([2, 3]), [0, 1]),
            (spaces.MultiDiscrete([2, 3]), [2, 3, 4]),
            (spaces.MultiBinary(2), [0, 1]),
            (spaces.MultiBinary(2), [3]),
        ],
        ids=str,
    )
    def test_each_part_of_the_action_must_keep_one(self, space, mask):
        with pytest.raises(InvalidOptionError, match="goal 'go' leaves no action open"):
            MaskBank({"go": mask}, space)

    def test_usable_says_where_each_part_keeps_an_action(self):
        masks = np.array([[1, 0, 0, 0, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool)
        bank = MaskBank({}, spaces.MultiDiscrete([2, 3]))
        assert bank.usable(masks).tolist() == [True, False, False, True]


class TestBounds:
    SPACE = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))

    def test_numbers_and_arrays(self):
        bank = BoundsBank({"slow": (0.0, [0.5, 1]), "back": (np.array([-2, 0]), 0)}, self.SPACE)
        low, high = bank.arrays(["back", "rest", "slow"])
        assert low.tolist() == [[-2, 0], [-2, 0], [0, 0]]
        assert high.tolist() == [[0, 0], [2, 10], [0.5, 1]]
        assert low.dtype == high.dtype == np.float32

    def test_the_arrays_are_fresh(self):
        bank = BoundsBank({"slow": (0.0, 1.0)}, self.SPACE)
        for array in bank.arrays(["slow", "rest"]):
            array[:] = 99
        assert bank.arrays(["slow", "rest"])[1].tolist() == [[1, 1], [2, 10]]
        assert self.SPACE.high.tolist() == [2, 10]

    def test_bounds_written_in_double_precision_hold_for_a_single_precision_space(self):
        space = spaces.Box(-0.1, 0.1, (1,))
        low, high = BoundsBank({"all": (-0.1, 0.1)}, space).arrays(["all"])
        assert space.contains(low[0])
        assert space.contains(high[0])

    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            ((0.0,), "must be (low, high) of shape (2,)"),
            ((0.0, 1.0, 2.0), "must be (low, high) of shape (2,)"),
            (1.0, "must be (low, high) of shape (2,)"),
            ((0.0, [1.0, 1.0, 1.0]), "must be (low, high) of shape (2,)"),
            (("low", "high"), "must be (low, high) of shape (2,)"),
            ((1.0, 0.5), "must be in order and within"),
            ((-3.0, 1.0), "must be in order and within"),
            ((0.0, 3.0), "must be in order and within"),
            ((0.0, float("nan")), "must be in order and within"),
            (([1, 0], [0, 1]), "must be in order and within"),
        ],
        ids=repr,
    )
    def test_bad_bounds_are_refused_with_their_goal(self, pair, message):
        with pytest.raises(InvalidOptionError, match=re.escape(message)) as caught:
            BoundsBank({"go": pair}, self.SPACE)
        assert str(caught.value).startswith("the bounds of goal 'go' ")

    @examples
    @given(
        st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2).map(sorted),
        st.integers(1, 3),
    )
    def test_what_lies_between_lies_in_the_space(self, pair, size):
        space = spaces.Box(-1.0, 1.0, (size,))
        low, high = BoundsBank({"go": pair}, space).arrays(["go"])
        assert space.contains(low[0])
        assert space.contains(high[0])
        assert low[0].tolist() == [pair[0]] * size
        assert high[0].tolist() == [pair[1]] * size


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


class TestOwnFlags:
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

    @pytest.mark.parametrize("value", [[1, 0], np.array([[True, False]]), [1, 1, 1, 0]], ids=repr)
    def test_of_bits_that_may_be_one(self, value):
        assert read_mask(value, BITS).tolist() == [True, True, True, False]

    def test_a_mask_that_closes_everything_is_no_error(self):
        assert not read_mask([0, 0, 0], THREE).any()
        assert read_mask([[0, 0], [0, 1, 1]], PARTS).tolist() == [False, False, False, True, True]

    def test_what_is_returned_is_not_what_was_given(self):
        given_ = np.ones(3, np.bool_)
        mask = read_mask(given_, THREE)
        mask[0] = False
        assert given_.all()
        given_ = np.ones((2, 3), np.bool_)
        read_masks(given_, THREE, 2)[0] = False
        assert given_.all()


class TestOwnMasksRefused:
    def test_none(self):
        refused(None, THREE, "got None; return np.ones(3, bool) where every action is open")

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

    def test_what_fills_up_must_be_nought(self):
        # Whether it is a mask that fills up with ones, or another one, nobody can tell.
        refused(np.ones((2, 3)), PARTS, "not 0 behind the 2 actions of part 0")


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


class TestOwnMasksOfMany:
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


class TestWhereItsOwnMaskIs:
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
