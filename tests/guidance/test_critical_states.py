"""Tables of critical states: keys, conflicts, files and checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.critical.table import (
    CriticalState,
    CriticalStates,
    resolve_critical_states,
)

PLANE = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
TORQUES = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
THREE = gym.spaces.Discrete(3)


def table(*rows: tuple[Any, Any], **options: Any) -> CriticalStates:
    return CriticalStates([CriticalState(state, action) for state, action in rows], **options)


def matched(states: CriticalStates, *observations: Any) -> list[int]:
    found: list[int] = states.match(np.array(observations)).tolist()
    return found


class TestKeys:
    def test_exact_takes_equal_states_only(self) -> None:
        states = table(([1.0, 2.0], 0), ([3.0, 4.0], 1), key="exact")
        assert matched(states, [3.0, 4.0], [1.0, 2.0], [1.0, 2.0 + 1e-12]) == [1, 0, -1]

    def test_a_negative_zero_is_a_zero(self) -> None:
        assert matched(table(([0.0, 1.0], 0), key="exact"), [-0.0, 1.0]) == [0]
        assert matched(table(([-0.01, 1.0], 0), key="rounded:1"), [0.01, 1.0]) == [0]

    def test_rounded_takes_the_same_decimals_in_every_dimension(self) -> None:
        states = table(([0.12, 7.04], 0), key="rounded:1")
        assert matched(states, [0.1, 7.0], [0.16, 7.0], [0.1, 7.06]) == [0, -1, -1]
        assert matched(table(([123.0, 0.0], 0), key="rounded:-1"), [118.0, 4.0]) == [0]

    def test_bins_have_a_width_of_their_own_in_each_dimension(self) -> None:
        states = table(([0.05, 5.0], 0), key="bins:0.1,10")
        assert matched(states, [0.09, 9.9], [0.11, 5.0], [0.05, 10.5]) == [0, -1, -1]
        assert matched(table(([0.5, 0.5], 0), key="bins:1"), [0.9, 0.1], [-0.1, 0.1]) == [0, -1]

    def test_nearest_counts_in_standard_deviations(self) -> None:
        # The second dimension varies a thousand times as much, so 30 there is little.
        rows = [([-1.0, -1000.0], 0), ([1.0, 1000.0], 1)]
        assert matched(table(*rows, key="nearest:0.1"), [1.0, 970.0], [0.8, 1000.0]) == [1, -1]
        assert matched(table(*rows, key="nearest:0.5"), [0.8, 1000.0], [0.1, 100.0]) == [1, -1]
        assert matched(table(*rows, key="nearest:9"), [0.1, 100.0], [-0.1, -100.0]) == [1, 0]

    def test_nearest_is_the_root_mean_square_over_dimensions(self) -> None:
        states = table(([0.0, 0.0], 0), key="nearest:0.5", scales=[1.0, 2.0])
        # sqrt((0.6 ** 2 + (0.6 / 2) ** 2) / 2) = 0.474; with 0.7 it is 0.553
        assert matched(states, [0.6, 0.6], [0.7, 0.7]) == [0, -1]

    def test_a_dimension_that_never_varied_counts_in_its_units(self) -> None:
        states = table(([0.1, 0.0], 0), ([0.1, 8.0], 1), ([0.1, 3.0], 2), key="nearest:0.1")
        assert matched(states, [0.15, 8.0], [0.4, 8.0]) == [1, -1]

    def test_numbers_too_large_to_round_stay_apart(self) -> None:
        states = table(([1.79e306], 1), ([1.78e306], 2), key="rounded:2")
        assert matched(states, [1.78e306]) == [1]

    @pytest.mark.parametrize("key", ["exact", "rounded:1", "bins:0.5", "nearest:5"])
    @pytest.mark.filterwarnings("error")
    def test_states_that_are_no_numbers_or_far_off_match_nothing(self, key: str) -> None:
        states = table(([1.0, 2.0], 0), ([2.0, 3.0], 1), key=key)
        odd = [[np.nan, 2.0], [np.inf, 2.0], [1e300, -1e300], [1.0, 2.0]]
        assert matched(states, *odd) == [-1, -1, -1, 0]

    @pytest.mark.parametrize("key", ["exact", "rounded:1", "bins:0.5", "nearest:5"])
    @pytest.mark.parametrize("observations", [[0.0, 0.0], [[0.0]], [[0.0] * 3], 0.0], ids=str)
    def test_observations_of_another_shape_are_refused(self, key: str, observations: Any) -> None:
        """A single one was taken for two, each number compared with all dimensions."""
        with pytest.raises(InvalidOptionError, match=r"n observations of shape \(2,\)"):
            table(([0.0, 0.0], 0), key=key).match(np.array(observations))

    def test_numbers_and_pictures_are_states_too(self) -> None:
        numbers = table((3, 0), (5, 1), key="exact")
        assert numbers.match(np.array([5, 4, 3])).tolist() == [1, -1, 0]
        picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        pictures = table((picture, 1), key="exact")
        assert pictures.match(np.stack([picture, picture + 1])).tolist() == [0, -1]

    def test_a_part_of_a_dict_can_be_the_state(self) -> None:
        states = table(([1.0, 2.0], 0), key="exact", part="joints")
        batch = {"joints": np.array([[0.0, 0.0], [1.0, 2.0]]), "other": np.zeros(2)}
        assert states.match(batch).tolist() == [-1, 0]

    @settings(max_examples=30, deadline=None)
    @given(
        st.sampled_from(["exact", "rounded:1", "bins:0.3", "bins:0.3,2.0,0.1", "nearest:0.2"]),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64]),
            st.tuples(st.integers(1, 12), st.just(3)),
            elements=st.floats(-100, 100, width=32),
        ),
    )
    def test_every_recorded_state_is_found_alone_and_in_a_batch(self, key: str, rows: Any) -> None:
        states = CriticalStates([CriticalState(row, i % 2) for i, row in enumerate(rows)], key=key)
        found = states.match(rows)
        assert (found >= 0).all()
        assert sorted(set(found.tolist())) == list(range(len(states)))
        assert [int(states.match(row[None])[0]) for row in rows] == found.tolist()

    @pytest.mark.parametrize(
        "key",
        ["", "near", "exact:1", "rounded", "rounded:1.5", "rounded:x", "bins", "bins:0",
         "bins:1,nan", "nearest:-1", "nearest:1,2", "nearest:inf", None, 3],
    )  # fmt: skip
    def test_other_keys_are_refused(self, key: Any) -> None:
        with pytest.raises(InvalidOptionError, match=r"expected a key \"exact\""):
            table(([1.0, 2.0], 0), key=key)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": "bins:1,2,3"}, "2 for as many dimensions"),
            ({"key": "nearest:1", "scales": [1.0]}, "scales must be 2 finite numbers"),
            ({"key": "nearest:1", "scales": [1.0, 0.0]}, "scales must be 2 finite numbers"),
            ({"key": "exact", "scales": [1.0, 1.0]}, "only for the key"),
            ({"part": 3}, "part must be a key"),
            ({"key": "nearest:1", "scales": "wide"}, "scales must be one number for each dim"),
        ],
    )
    def test_options_that_do_not_fit_are_refused(self, options: Any, message: str) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            table(([1.0, 2.0], 0), **options)


class TestConflicts:
    def test_the_majority_decides_on_discrete_actions(self) -> None:
        states = table(([1.0], 0), ([1.0], 2), ([5.0], 1), ([1.0], 2), key="exact")
        assert states.actions.tolist() == [2, 1]
        assert states.counts["conflicts"] == 1
        assert (states.counts["entries"], states.counts["keys"]) == (4, 2)

    def test_of_equally_many_the_first_is_kept(self) -> None:
        assert table(([1.0], 2), ([1.0], 0), key="exact").actions.tolist() == [2]
        assert table(([1.0], 0), ([1.0], 2), key="exact").actions.tolist() == [0]

    def test_continuous_actions_are_averaged(self) -> None:
        states = table(([1.0], [0.0, 1.0]), ([1.0], [1.0, 0.0]), ([1.0], [0.5, 0.8]), key="exact")
        assert states.actions.tolist() == pytest.approx(np.array([[0.5, 0.6]]))
        assert states.counts["conflicts"] == 1

    def test_whole_numbers_are_averaged_once_the_space_is_known_to_be_a_box(self) -> None:
        states = table(([1.0, 0.0], [0, 1]), ([1.0, 0.0], [1, 1]), key="exact")
        assert states.bind(PLANE, TORQUES).actions.tolist() == [[0.5, 1.0]]

    def test_the_reward_is_the_mean_of_what_backs_the_kept_action(self) -> None:
        rows = [(1, 0.5), (0, -1.0), (1, 0.1)]
        states = CriticalStates(
            [CriticalState([1.0], action, reward=reward) for action, reward in rows], key="exact"
        )
        assert states.rewards.tolist() == pytest.approx([0.3])


class TestRewards:
    @pytest.mark.parametrize(
        ("given", "kept", "clipped"), [(3, 1.0, 1), (-1.5, -1.0, 1), (0.5, 0.5, 0), (-1, -1.0, 0)]
    )
    def test_are_clipped_and_counted(self, given: float, kept: float, clipped: int) -> None:
        states = CriticalStates([CriticalState([1.0, 1.0], 1, reward=given)])
        assert states.rewards.tolist() == [kept]
        assert states.counts["clipped_rewards"] == clipped
        assert states.bind(PLANE, THREE).counts["clipped_rewards"] == clipped

    def test_of_numpy_are_kept_as_plain_ones(self) -> None:
        found = CriticalState(
            [1.0], 1, reward=np.float32(0.5), episode=np.int64(3), step=np.int8(2)
        )
        assert (found.reward, found.episode, found.step) == (0.5, 3, 2)
        assert (type(found.reward), type(found.episode)) == (float, int)

    @pytest.mark.parametrize("reward", [float("nan"), float("inf"), "1", None, True])
    def test_that_are_no_numbers_are_refused(self, reward: Any) -> None:
        with pytest.raises(InvalidOptionError, match=r"a number in \[-1, 1\]"):
            CriticalState([1.0], 1, reward=reward)

    def test_provenance_is_checked(self) -> None:
        with pytest.raises(InvalidOptionError, match="episode must be a whole number"):
            CriticalState([1.0], 1, episode=-1)
        with pytest.raises(InvalidOptionError, match="step must be a whole number"):
            CriticalState([1.0], 1, step=1.5)  # type: ignore[arg-type]
        with pytest.raises(InvalidOptionError, match="rationale must be a text"):
            CriticalState([1.0], 1, rationale=None)  # type: ignore[arg-type]


class TestEntries:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([([1.0], 0), ([1.0, 2.0], 0)], "every state of the table to have one shape"),
            ([([1.0], 0), ([2.0], [0])], "every action of the table to have one shape"),
            ([([1.0], 0), ([np.nan], 0)], "state of critical state 1 has a number that is not"),
            ([([1.0], [np.inf])], "action of critical state 0 has a number that is not finite"),
            ([(["left"], 0)], "every state to be of numbers"),
            ([([1.0], None)], "every action to be of numbers"),
        ],
    )
    def test_that_are_no_states_or_actions_are_refused(self, rows: Any, message: str) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            table(*rows)


class TestBinding:
    def test_clips_actions_to_a_box_and_counts_them(self) -> None:
        states = table(([0.0, 0.0], [2.0, 0.5]), ([1.0, 1.0], [0.1, -0.1]), key="exact")
        bound = states.bind(PLANE, TORQUES)
        assert bound.actions.dtype == np.float32
        assert bound.actions.tolist() == np.array([[1.0, 0.5], [0.1, -0.1]], np.float32).tolist()
        assert bound.counts["clipped_actions"] == 1
        assert states.actions.tolist() == [[2.0, 0.5], [0.1, -0.1]]

    @pytest.mark.parametrize(
        ("action", "space"),
        [
            (3, THREE),
            (-1, THREE),
            (0.5, THREE),
            ([1], THREE),
            ([0.1], TORQUES),
            ([0, 2], gym.spaces.MultiDiscrete([3, 2])),
            ([0, 1, 2], gym.spaces.MultiBinary(3)),
            (2, gym.spaces.Discrete(3, start=5)),
        ],
    )
    def test_refuses_actions_of_another_space(self, action: Any, space: Any) -> None:
        states = table(([0.0, 0.0], action))
        with pytest.raises(InvalidOptionError, match="the action of critical state 0 must be of"):
            states.bind(PLANE, space)

    @pytest.mark.parametrize(
        ("space", "part", "message"),
        [
            (gym.spaces.Box(-1, 1, (3,)), None, r"expected observations of shape \(2,\)"),
            (gym.spaces.Discrete(4), None, r"expected observations of shape \(2,\)"),
            (
                gym.spaces.Dict(a=PLANE),
                "b",
                r"part to be one of the observation's \['a'\].*got 'b'",
            ),
            (gym.spaces.Dict(a=gym.spaces.Text(4)), "a", r"fit, got none in Dict.*record the"),
            (gym.spaces.Dict(a=THREE, b=TORQUES), "a", r"part to be one of .*\['b'\].*got 'a'"),
            (gym.spaces.Dict(a=THREE), None, r"shape \(2,\) fit, got none in Dict.*record the"),
            (gym.spaces.Dict(a=gym.spaces.Dict(obs=PLANE)), None, r"fit, got none in Dict"),
            (
                gym.spaces.Dict(a=PLANE, b=TORQUES, c=THREE),
                None,
                r"expected one entry .* got \['a', 'b'\]; say which .*part=",
            ),
            (gym.spaces.Box(-1, 1, (3,)), "a", r"expected observations of shape \(2,\)"),
        ],
    )
    def test_refuses_observations_of_another_shape(
        self, space: Any, part: str | None, message: str
    ) -> None:
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            table(([0.0, 0.0], 0), part=part).bind(space, THREE)

    @pytest.mark.parametrize(
        ("space", "part", "found"),
        [
            (gym.spaces.Dict(state=PLANE, goal=gym.spaces.Box(-1, 1, (5,))), None, "state"),
            (gym.spaces.Dict(goal=TORQUES, obs=PLANE), None, "obs"),
            (
                gym.spaces.Dict(achieved=PLANE, desired=PLANE, observation=PLANE),
                None,
                "observation",
            ),
            (gym.spaces.Dict(obs=gym.spaces.Box(-1, 1, (3,)), other=PLANE), None, "other"),
            (gym.spaces.Dict(obs=PLANE, other=PLANE), "other", "other"),
            (PLANE, None, None),
            (PLANE, "obs", None),
        ],
    )
    def test_finds_the_part_that_states_are(
        self, space: Any, part: str | None, found: str | None
    ) -> None:
        states = table(([1.0, 2.0], 0), ([3.0, 4.0], 1), part=part, key="exact")
        bound = states.bind(space, THREE)
        assert bound.part == found
        assert states.part == part
        seen = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
        if found is None:
            assert bound.match(seen).tolist() == [1, -1]
        else:
            others = {name: np.zeros((2, 2), np.float32) for name in space.spaces}
            assert bound.match({**others, found: seen}).tolist() == [1, -1]

    def test_refuses_actions_that_are_no_numbers(self) -> None:
        with pytest.raises(IncompatibleEnvironmentError, match="expected a Box, Discrete"):
            CriticalStates([]).bind(PLANE, gym.spaces.Text(4))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": "near"}, "expected a key"),
            ({"key": "bins:0"}, "expected a key"),
            ({"key": "exact", "scales": [1.0]}, "only for the key"),
            ({"key": "nearest:1", "scales": [0.0]}, "finite numbers above 0"),
        ],
    )
    def test_an_empty_table_has_its_options_checked(self, options: Any, message: str) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            CriticalStates([], **options)

    def test_numbers_that_the_type_cannot_hold_are_clipped_not_wrapped(self) -> None:
        bytes_ = gym.spaces.Box(0, 200, (1,), np.uint8)
        assert table(([0.0, 0.0], [300])).bind(PLANE, bytes_).actions.tolist() == [[200]]

    def test_an_empty_table_fits_anything_and_matches_nothing(self) -> None:
        empty = CriticalStates([]).bind(PLANE, THREE)
        assert len(empty) == 0
        assert empty.match(np.zeros((3, 2))).tolist() == [-1, -1, -1]


class TestFiles:
    @settings(max_examples=25, deadline=None)
    @given(
        rows=hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
            st.tuples(st.integers(1, 5), st.integers(1, 3)),
        ).filter(lambda array: bool(np.isfinite(array).all())),
        actions=st.sampled_from([np.int64, np.float32]),
        key=st.sampled_from(["exact", "rounded:2", "bins:0.5", "nearest:0.25"]),
        reward=st.floats(-1.0, 1.0),
        rationale=st.text(max_size=8),
    )
    def test_come_back_as_they_were(
        self,
        tmp_path_factory: Any,
        rows: Any,
        actions: Any,
        key: str,
        reward: float,
        rationale: str,
    ) -> None:
        path = tmp_path_factory.mktemp("table") / "table.json"
        entries = [
            CriticalState(row, actions(i % 3), reward, rationale, episode=i, step=None)
            for i, row in enumerate(rows)
        ]
        saved = CriticalStates(entries, key=key)
        saved.save(path)
        loaded = CriticalStates.load(path)
        assert (loaded.states.dtype, loaded.actions.dtype) == (rows.dtype, np.dtype(actions))
        assert loaded.states.tobytes() == saved.states.tobytes()
        assert loaded.actions.tobytes() == saved.actions.tobytes()
        assert loaded.rewards.tolist() == saved.rewards.tolist()
        assert (loaded.key, loaded.part, loaded.counts) == (saved.key, saved.part, saved.counts)
        assert [(e.rationale, e.episode, e.step) for e in loaded.entries] == [
            (rationale, i, None) for i in range(len(rows))
        ]

    def test_keep_the_part_and_the_scales(self, tmp_path: Path) -> None:
        path = tmp_path / "table.json"
        table(([1.0, 2.0], 0), key="nearest:0.5", part="joints", scales=[1.0, 4.0]).save(path)
        loaded = resolve_critical_states(f"file:{path}")
        assert (loaded.part, loaded.scales) == ("joints", (1.0, 4.0))
        # 3 / 4 / sqrt(2) = 0.53, and 2.5 / 4 / sqrt(2) = 0.44
        found = loaded.match({"joints": np.array([[1.0, 5.0], [1.0, 4.5]])})
        assert found.tolist() == [-1, 0]

    def test_folders_are_made_and_places_that_cannot_be_written_are_said(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "new" / "deep" / "table.json"
        table(([1.0], 0)).save(path)
        assert len(CriticalStates.load(path)) == 1
        with pytest.raises(GuidanceFileError, match=r"cannot write .*name another place"):
            table(([1.0], 0)).save(path / "below-a-file.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "other"}, "expected a table of critical states"),
            ({"version": 2}, "expected version 1, got 2"),
            ({"key": "near"}, "expected a key"),
            ({"scales": 3}, "scales must be one number for each dimension, or None, got 3"),
            ({"state_type": "object"}, "expected a type of numbers"),
            ({"entries": [{"state": [1.0]}]}, "an entry is malformed: KeyError"),
            ({"entries": [{"state": [1.0], "action": 0, "more": 1}]}, "an entry is malformed"),
            ({"entries": [{"state": [float("nan")], "action": 0}]}, "not finite"),
            ({"entries": [{"state": [1.0], "action": 0, "reward": "x"}]}, "must be a number"),
            ({"entries": 3}, "an entry is malformed"),
        ],
    )
    def test_that_hold_something_else_are_refused(
        self, tmp_path: Path, change: dict[str, Any], message: str
    ) -> None:
        path = tmp_path / "table.json"
        table(([1.0], 0)).save(path)
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(GuidanceFileError, match=message):
            CriticalStates.load(path)

    @pytest.mark.parametrize("text", ["", "[1, 2", "[1, 2]", "\x80\x04]"])
    def test_that_are_no_json_tables_are_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "table.json"
        path.write_text(text, encoding="latin-1")
        with pytest.raises(GuidanceFileError, match=r"table\.json"):
            CriticalStates.load(path)


class TestNames:
    @pytest.mark.parametrize("name", ["nothing", "file:", "reference:x"])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(UnknownNameError, match='"file:PATH" or "none"'):
            resolve_critical_states(name)

    def test_what_is_no_table_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="expected a CriticalStates table"):
            resolve_critical_states([CriticalState([1.0], 0)])  # type: ignore[arg-type]
