"""Results over runs: statistics with their uncertainty, and tables for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llm_wrappers.errors import InvalidOptionError

__all__ = ["bootstrap_interval", "format_table", "interquartile_mean"]

_Values: TypeAlias = "Sequence[float] | npt.NDArray[Any]"


def interquartile_mean(values: _Values) -> float:
    """Return the mean of the middle half of the values.

    This is the definition of rliable, `scipy.stats.trim_mean(values, 0.25)`: of n sorted values,
    the lowest and the highest floor(n / 4) are dropped whole, and the rest are averaged. Values are
    never weighted fractionally, so with fewer than four of them it is the plain mean.

    Args:
        values: One finite number per run.

    Raises:
        InvalidOptionError: If there is no value, or one is not finite.

    >>> interquartile_mean([0.0, 1.0, 2.0, 30.0])
    1.5
    >>> interquartile_mean([0.0, 1.0, 2.0, 3.0, 40.0])
    2.0
    """
    runs = np.sort(_finite(values))
    if runs.size == 0:
        raise InvalidOptionError("values must hold at least one number, got none")
    dropped = runs.size // 4
    return float(np.mean(runs[dropped : runs.size - dropped]))


def bootstrap_interval(
    values: _Values,
    statistic: Callable[[npt.NDArray[np.float64]], float] = interquartile_mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a percentile bootstrap confidence interval of a statistic over runs.

    Runs (seeds) are resampled with replacement. With a handful of runs the interval is narrower
    than its name promises; report the number of runs beside it.

    Args:
        values: One finite number per run.
        statistic: A function from an array of n resampled runs to a number.
        confidence: The share of resampled statistics inside the interval, between 0 and 1.
        resamples: How many times the runs are resampled.
        seed: The seed of the resampling; equal arguments give equal intervals.

    Returns:
        The lower and the upper end; both NaN for fewer than two runs, which have no spread.

    Raises:
        InvalidOptionError: If a value is not finite, or an option is out of its range.

    >>> bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0], statistic=np.median)
    (1.0, 5.0)
    >>> bootstrap_interval([1.0])
    (nan, nan)
    """
    if not 0 < confidence < 1:
        raise InvalidOptionError(f"confidence must be between 0 and 1, got {confidence!r}")
    if resamples < 1:
        raise InvalidOptionError(f"resamples must be at least 1, got {resamples!r}")
    runs = _finite(values)
    if runs.size < 2:
        return float("nan"), float("nan")
    rows = np.random.default_rng(seed).integers(runs.size, size=(resamples, runs.size))
    resampled = [float(statistic(runs[row])) for row in rows]
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _finite(values: _Values) -> npt.NDArray[np.float64]:
    runs = np.asarray(values, dtype=np.float64)
    # A NaN would sort to the end and be trimmed away: a failed run must not vanish like that.
    if runs.ndim != 1 or not np.all(np.isfinite(runs)):
        raise InvalidOptionError(
            f"values must be a flat sequence of finite numbers, got {values!r}"
        )
    return runs


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
