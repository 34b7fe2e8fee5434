"""Names that other packages, and later layers of this one, register as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from llm_wrappers.errors import InvalidOptionError, UnknownNameError

__all__ = ["checked_guide", "registered"]


def registered(group: str, name: str, *, known: str, context: Mapping[str, Any]) -> Any:
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


def checked_guide(found: Any, protocol: type, wanted: str, method: str) -> Any:
    """Return an object that follows a protocol.

    Args:
        found: What should.
        protocol: A runtime-checkable protocol.
        wanted: What was expected, for the message.
        method: What it must have, for the message.

    Raises:
        InvalidOptionError: If it is a class, or does not follow the protocol.
    """
    # A class has the methods of its objects, but does nothing itself.
    if isinstance(found, type):
        raise InvalidOptionError(
            f"expected {wanted}, got the class {found.__name__}; call it first"
        )
    if not isinstance(found, protocol):
        raise InvalidOptionError(f"expected {wanted}, with {method}; got a {type(found).__name__}")
    return found
