"""Results as a table that reads well in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real

__all__ = ["format_table"]


def format_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> str:
    """Return rows as an aligned Markdown pipe table.

    Floats keep three significant digits, or all digits before the point. Columns that hold numbers
    only are aligned to the right.

    Args:
        rows: One mapping from column name to value per line; a missing value or None is left blank.
        columns: The columns to show, in order; by default all, in the order of first appearance.

    Returns:
        The table without a trailing line break; empty if there are no columns.

    >>> print(format_table([{"method": "PPO", "score": 4.5678}, {"method": "SGRL", "score": 21.0}]))
    | method | score |
    | ------ | ----: |
    | PPO    |  4.57 |
    | SGRL   |    21 |
    """
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return ""
    rendered = [_column(name, [row.get(name) for row in rows]) for name in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*rendered, strict=True))


def _column(name: str, values: Sequence[object]) -> list[str]:
    """Return the header, the rule and the cells of one column, all of one width."""
    cells = [_escape(name), *(_cell(value) for value in values)]
    # Markdown wants at least three dashes in the rule.
    width = max(3, *(len(cell) for cell in cells))
    present = [value for value in values if value is not None]
    numeric = bool(present) and all(_is_number(value) for value in present)
    aligned = [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]
    rule = "-" * (width - 1) + (":" if numeric else "-")
    return [aligned[0], rule, *aligned[1:]]


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(value)
        return f"{number:.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.3g}"
    return _escape(str(value))


def _escape(text: str) -> str:
    return " ".join(text.replace("|", "\\|").splitlines())
