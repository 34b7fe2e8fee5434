"""What an object, a plain function or a name stands for, said once for every kind of guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from llm_wrappers.errors import InvalidOptionError, UnknownNameError

__all__ = ["Registry", "whole_in"]

T = TypeVar("T")


class Registry(Generic[T]):
    """The names of one kind of guidance, and what is taken in their place.

    A name is known by its form: ``"none"`` stands alone, ``"file:PATH"`` needs its colon,
    ``"uniform[:K]"`` may have more behind one or not. What makes the object is called with what
    stands behind the colon, empty without one, and the keyword arguments of `resolve`.

    Args:
        kind: One word for what is resolved; the function ``resolve_KIND`` is the way to it.
        protocol: A runtime-checkable protocol that every object of the kind follows.
        wanted: What is taken, for messages.
        adapt: From a plain function to an object; None where a function stands for none.
        names: Form -> what makes the object, in the order in which messages list them.
        group: Of entry points, with which installed packages make more names known; None for none.

    >>> shapes = Registry(
    ...     "shape", tuple, "a tuple", names={"none": lambda rest: (), "cube:N": lambda n: (n,) * 3}
    ... )
    >>> shapes.resolve((1, 2)), shapes.resolve("cube:7"), "cube" in shapes
    ((1, 2), ('7', '7', '7'), False)
    >>> shapes.resolve("ball:3")
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.UnknownNameError: expected one of none, cube:N; got 'ball:3' as a shape
    """

    def __init__(
        self,
        kind: str,
        protocol: Any,
        wanted: str,
        *,
        adapt: Callable[[Any], T] | None = None,
        names: Mapping[str, Callable[..., T]] | None = None,
        group: str | None = None,
    ) -> None:
        self.kind = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        self.group = group
        self._resolver = f"resolve_{kind}"
        self._protocol, self._wanted, self._adapt = protocol, wanted, adapt
        self._names: dict[str, tuple[str, Callable[..., T]]] = {}
        for form, make in (names or {}).items():
            self.register(form, make)

    def register(self, form: str, make: Callable[..., T]) -> None:
        """Make a name known; it takes the place of one with the same prefix.

        Args:
            form: ``"NAME"``, ``"NAME:REST"`` or ``"NAME[:REST]"``.
            make: From what stands behind the colon, and the context, to the object.
        """
        self._names[form.replace("[", "").partition(":")[0]] = form, make

    def __contains__(self, name: str) -> bool:
        """Return whether a name has a form that is known, those of entry points left out."""
        prefix, colon, _ = name.partition(":")
        form, _ = self._names.get(prefix, (None, None))
        return form is not None and ("[" in form or bool(colon) == (":" in form))

    def resolve(self, value: Any, **context: Any) -> T:
        """Return the object that a name, a plain function or the object itself stands for.

        Args:
            value: What was given.
            context: What names may need to know, such as the description of the environment.

        Raises:
            UnknownNameError: If nobody knows the name, or what a package registers is broken.
            InvalidOptionError: If it is nothing of the kind.
        """
        if not isinstance(value, str):
            return self.adapted(value)
        prefix, colon, rest = value.partition(":")
        if value not in self:
            made = self._entry_point(prefix, value)(rest, **context)
            return self._checked(made, f"the entry point of {value!r} to make {self.kind}")
        form, make = self._names[prefix]
        if "[" in form and colon and not rest:
            full = form.replace("[", "").replace("]", "")
            raise InvalidOptionError(f"expected {full}, got {value!r}")
        return make(rest, **context)

    def adapted(self, value: Any) -> T:
        """Return an object of the kind as it is, or a plain function as one; no name is taken.

        Raises:
            InvalidOptionError: If it is neither.
        """
        return self._checked(value, f"{self.kind}: {self._wanted}")

    def _checked(self, value: Any, expected: str) -> T:
        # A class has the methods of its objects and can be called, but does nothing itself. A text
        # has methods too, which may be called like the one that is looked for.
        if isinstance(value, type):
            got = f"the class {value.__name__}; call it first"
        elif isinstance(value, str):
            got = f"the name {value!r}; {self._resolver} gives what it stands for"
        elif isinstance(value, self._protocol):
            found: T = value
            return found
        elif self._adapt is not None and callable(value):
            return self._adapt(value)
        else:
            got = f"a {type(value).__name__}"
        raise InvalidOptionError(f"expected {expected}; got {got}")

    def _entry_point(self, prefix: str, name: str) -> Callable[..., Any]:
        entries = entry_points(group=self.group) if self.group else ()
        found = {entry.name: entry for entry in entries}
        if prefix not in found:
            known = ", ".join([form for form, _ in self._names.values()] + sorted(found))
            raise UnknownNameError(f"expected one of {known}; got {name!r} as {self.kind}")
        try:
            make: Callable[..., Any] = found[prefix].load()
        except (ImportError, AttributeError) as error:
            raise UnknownNameError(
                f"the name {prefix!r} is registered for {found[prefix].value}, which cannot be "
                f"loaded ({error}); install that package again"
            ) from error
        return make


def whole_in(form: str, rest: str) -> int:
    """Return the whole number that stands behind the colon of a name of a form.

    Raises:
        InvalidOptionError: If there is none.

    >>> whole_in("uniform:K", "3")
    3
    """
    if rest.isascii() and rest.isdigit():
        return int(rest)
    raise InvalidOptionError(f"expected {form} with a whole number, got {rest!r}")
