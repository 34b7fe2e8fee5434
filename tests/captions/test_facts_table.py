"""Facts of many sub-environments as one integer matrix."""

import pickle
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import InvalidOptionError

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

COLUMNS = (
    FactColumns("wood", tuple(range(10))),
    FactColumns("near", (None, 1, 2, 3)),
    FactColumns("facing", ("grass", "tree")),
    FactColumns("unlocked", ("a", "b", "c"), flags=True),
    FactColumns("dark", (False, True)),
)
NAMES = tuple(column.name for column in COLUMNS)
ROWS = [
    {"wood": 7, "near": None, "facing": "tree", "unlocked": ("a", "c"), "dark": False},
    {"wood": 0, "near": 3, "facing": "grass", "unlocked": (), "dark": True},
]

facts_rows = st.fixed_dictionaries(
    {
        "wood": st.integers(0, 9),
        "near": st.sampled_from([None, 1, 2, 3]),
        "facing": st.sampled_from(["grass", "tree"]),
        "unlocked": st.sets(st.sampled_from("abc")).map(sorted).map(tuple),
        "dark": st.booleans(),
    }
)
subsets = st.lists(st.sampled_from(NAMES), unique=True)


def table_of(rows):
    matrix = [
        [
            row["wood"],
            (None, 1, 2, 3).index(row["near"]),
            ("grass", "tree").index(row["facing"]),
            *(name in row["unlocked"] for name in "abc"),
            row["dark"],
        ]
        for row in rows
    ]
    return FactsTable(COLUMNS, np.array(matrix, np.int8).reshape(len(rows), 7))


@examples
@given(st.lists(facts_rows))
def test_rows_are_the_mappings_that_were_written(rows):
    table = table_of(rows)
    assert len(table) == len(rows)
    assert list(table) == rows
    assert [table.decoded(index) for index in range(len(rows))] == rows


@examples
@given(st.lists(facts_rows, min_size=2, max_size=6), subsets | st.none())
def test_keys_are_equal_exactly_where_the_named_facts_are(rows, names):
    rows = [*rows, dict(rows[0])]
    keys = table_of(rows).keys(names)
    assert len(keys) == len(rows)
    read = [[row[name] for name in (NAMES if names is None else names)] for row in rows]
    for first, first_key in zip(read, keys, strict=True):
        for second, second_key in zip(read, keys, strict=True):
            assert (first_key == second_key) == (first == second)
    hash(keys[0])


@examples
@given(facts_rows, subsets)
def test_keys_and_rows_are_the_same_in_every_batch(row, names):
    alone = table_of([row]).keys(names)
    assert table_of([*ROWS, row]).keys(names)[2:] == alone
    assert table_of([*ROWS, row])[2:].keys(names) == alone
    assert table_of([row]).decoded(0, names) == {name: row[name] for name in names}


def test_no_rows_have_no_keys():
    for names in (None, (), ("wood",)):
        assert table_of([]).keys(names) == []


def test_a_fact_that_does_not_exist_is_named():
    with pytest.raises(InvalidOptionError, match=r"\['dark', .*'wood'\], got \['mana', 'rain'\]"):
        table_of(ROWS).keys(("wood", "mana", "rain"))


class TestSequence:
    def test_indices_count_from_both_ends(self):
        table = table_of(ROWS)
        assert isinstance(table, Sequence)
        assert [table[0], table[1], table[-1], table[-2]] == [*ROWS, *ROWS[::-1]]
        assert table[np.int64(1)] == ROWS[1]

    @pytest.mark.parametrize("index", [2, -3])
    def test_other_indices_are_index_errors(self, index):
        with pytest.raises(IndexError, match=f"row {index} of a table of 2 rows"):
            _ = table_of(ROWS)[index]

    @pytest.mark.parametrize("cut", [slice(1), slice(None, None, -1), slice(5, 9)])
    def test_a_slice_is_a_table(self, cut):
        part = table_of(ROWS)[cut]
        assert isinstance(part, FactsTable)
        assert list(part) == ROWS[cut]


class TestRow:
    def test_is_a_mapping_that_cannot_be_changed(self):
        row = table_of(ROWS)[0]
        assert isinstance(row, Mapping)
        assert tuple(row) == NAMES
        assert dict(row) == ROWS[0] == row
        assert row != ROWS[1]
        with pytest.raises(KeyError):
            _ = row["mana"]
        with pytest.raises(TypeError):
            row["wood"] = 3

    def test_pickles_as_a_dict_without_its_table(self):
        copied = pickle.loads(pickle.dumps(table_of(ROWS * 1000)[0]))
        assert copied == ROWS[0]
        assert type(copied) is dict

    def test_decoded_rows_are_fresh(self):
        table = table_of(ROWS)
        table.decoded(0)["wood"] = 99
        assert table.decoded(0) == table[0] == ROWS[0]
