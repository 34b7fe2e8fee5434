"""Facts of many sub-environments as one integer matrix, decoded only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import FactValue
from llm_wrappers.errors import InvalidOptionError

__all__ = ["FactColumns", "FactsRow", "FactsTable"]


@dataclass(frozen=True)
class FactColumns:
    """One fact: its name and the values that its integers stand for.

    Args:
        name: The name of the fact.
        values: What 0, 1, 2, ... stand for; of a flags fact, the name of each flag.
        flags: Whether the fact is the tuple of names whose flag is 1; it then takes one matrix
            column per name instead of one in all.
    """

    name: str
    values: tuple[FactValue, ...]
    flags: bool = False

    @property
    def width(self) -> int:
        """The number of matrix columns."""
        return len(self.values) if self.flags else 1


_Position: TypeAlias = "tuple[int, int, tuple[FactValue, ...], bool]"


@lru_cache(maxsize=64)
def _positions(columns: tuple[FactColumns, ...]) -> dict[str, _Position]:
    """Return for each fact its first and last matrix column, its values, whether it is flags."""
    positions: dict[str, _Position] = {}
    start = 0
    for column in columns:
        positions[column.name] = (start, start + column.width, column.values, column.flags)
        start += column.width
    return positions


class FactsTable(Sequence[Mapping[str, FactValue]]):
    """A sequence of n facts mappings, backed by an int8 matrix of shape (n, columns).

    Guidance that is a pure function of the facts is remembered by key; `keys` makes the n keys in
    one go, and rows turn into dictionaries only where a key has not been met before.

    >>> columns = (FactColumns("wood", (0, 1, 2)), FactColumns("dark", (False, True)))
    >>> table = FactsTable(columns, np.array([[2, 0], [2, 1]], dtype=np.int8))
    >>> dict(table[1])
    {'wood': 2, 'dark': True}
    >>> table.keys(("wood",))[0] == table.keys(("wood",))[1]
    True
    """

    def __init__(self, columns: Sequence[FactColumns], matrix: NDArray[np.int8]) -> None:
        self.columns = tuple(columns)
        self.matrix = matrix
        self._positions = _positions(self.columns)

    def __len__(self) -> int:
        return len(self.matrix)

    @overload
    def __getitem__(self, index: int) -> FactsRow: ...
    @overload
    def __getitem__(self, index: slice) -> FactsTable: ...
    def __getitem__(self, index: int | slice) -> FactsRow | FactsTable:
        if isinstance(index, slice):
            return FactsTable(self.columns, self.matrix[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a table of {len(self)} rows")
        return FactsRow(self, index)

    def keys(self, names: Iterable[str] | None = None) -> list[bytes]:
        """Return one key per row: equal exactly where the named facts (default all) are equal.

        Args:
            names: The facts that matter; None for all of them.

        Raises:
            InvalidOptionError: If a name is not a fact of this table.
        """
        matrix = self.matrix if names is None else self.matrix[:, self._columns_of(tuple(names))]
        packed, width = matrix.tobytes(), matrix.shape[1]
        return [packed[row * width : (row + 1) * width] for row in range(len(matrix))]

    def _columns_of(self, names: tuple[str, ...]) -> list[int]:
        unknown = [name for name in names if name not in self._positions]
        if unknown:
            raise InvalidOptionError(
                f"expected names of facts {sorted(self._positions)}, got {unknown}"
            )
        return [column for name in names for column in range(*self._positions[name][:2])]

    def decoded(self, index: int, names: Iterable[str] | None = None) -> dict[str, FactValue]:
        """Return one row as a fresh dict of the named facts (default all)."""
        row = self.matrix[index].tolist()
        chosen = self._positions if names is None else {n: self._positions[n] for n in names}
        return {
            name: tuple(map(str, compress(values, row[start:stop])))
            if flags
            else values[row[start]]
            for name, (start, stop, values, flags) in chosen.items()
        }


class FactsRow(Mapping[str, FactValue]):
    """The facts of one sub-environment, decoded once on first use."""

    def __init__(self, table: FactsTable, index: int) -> None:
        self._table = table
        self._index = index
        self._decoded: dict[str, FactValue] | None = None

    def __getitem__(self, name: str) -> FactValue:
        return self._facts()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts())

    def __len__(self) -> int:
        return len(self._facts())

    def __repr__(self) -> str:
        return f"FactsRow({self._facts()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._facts(),)

    def _facts(self) -> dict[str, FactValue]:
        if self._decoded is None:
            self._decoded = self._table.decoded(self._index)
        return self._decoded
