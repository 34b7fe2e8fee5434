"""Which actions serve which goal, and within which bounds."""

import re

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers import MaskBank
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance import BoundsBank
from llm_wrappers.guidance.mask_bank import flat_action_count

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

    def test_names_need_names(self):
        with pytest.raises(InvalidOptionError, match="known names: none; pass indices or action_n"):
            MaskBank({"go": ["left"]}, FOUR)

    @pytest.mark.parametrize("names", [NAMES[:3], (*NAMES, "jump")])
    def test_names_are_one_per_action(self, names):
        with pytest.raises(InvalidOptionError, match="action_names must be 4 names"):
            MaskBank({"go": ["left"]}, FOUR, action_names=names)

    @pytest.mark.parametrize("masks", [[("go", [0])], None, "reference:crafter"])
    def test_the_bank_is_a_dict(self, masks):
        with pytest.raises(InvalidOptionError, match="expected a dict of goal -> actions"):
            MaskBank(masks, FOUR)

    def test_a_continuous_space_is_refused(self):
        with pytest.raises(IncompatibleEnvironmentError):
            MaskBank({}, spaces.Box(-1, 1, (2,)))

    def test_a_goal_without_an_entry_leaves_everything_open(self):
        assert MaskBank({"go": [0]}, FOUR).matrix(["rest", "go"]).sum(axis=1).tolist() == [4, 1]
        assert MaskBank({}, FOUR).matrix(["rest"]).all()

    def test_no_goals_are_no_rows(self):
        assert MaskBank({"go": [0]}, FOUR).matrix([]).shape == (0, 4)

    def test_the_matrix_is_fresh(self):
        bank = MaskBank({"go": [0]}, FOUR)
        bank.matrix(["go", "rest"])[:] = False
        assert bank.matrix(["go", "rest"]).tolist() == [[True, False, False, False], [True] * 4]

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

    @examples
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
    def test_usable_agrees_with_drawing_an_action(self, sizes, data):
        flags = data.draw(st.lists(st.booleans(), min_size=sum(sizes), max_size=sum(sizes)))
        space = spaces.MultiDiscrete(sizes)
        parts = np.split(np.array(flags, np.int8), np.cumsum(sizes)[:-1])
        can_act = all(part.any() for part in parts)
        assert MaskBank({}, space).usable(np.array([flags]))[0] == can_act
        if can_act:
            assert space.contains(space.sample(mask=tuple(parts)))


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

    def test_the_bank_is_a_dict(self):
        with pytest.raises(InvalidOptionError, match=r"expected a dict of goal -> \(low, high\)"):
            BoundsBank([("go", (0, 1))], self.SPACE)

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
