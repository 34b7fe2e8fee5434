"""Names that other packages, and later layers of this one, register as entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from llm_wrappers.errors import UnknownNameError

__all__ = ["registered"]


def registered(group: str, name: str, *, known: str, context: dict[str, Any]) -> Any:
    """Return what the entry point of a name makes.

    Args:
        group: The group of entry points.
        name: ``"NAME"`` or ``"NAME:REST"``; the entry point is called with the rest, which is empty
            without a colon.
        known: The names that are known without entry points, for the message.
        context: Keyword arguments of the entry point.

    Raises:
        UnknownNameError: If no package registers the name, or what it registers cannot be loaded.
    """
    prefix, _, rest = name.partition(":")
    found = {entry.name: entry for entry in entry_points(group=group)}
    if prefix not in found:
        more = "".join(f", {other}" for other in sorted(found))
        raise UnknownNameError(f"expected one of {known}{more}; got {name!r}")
    try:
        make = found[prefix].load()
    except (ImportError, AttributeError) as error:
        raise UnknownNameError(
            f"the name {prefix!r} is registered for {found[prefix].value}, which cannot be loaded "
            f"({error}); install that package again"
        ) from error
    return make(rest, **context)
