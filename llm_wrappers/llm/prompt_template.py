"""Prompts as files with blanks, known by their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from string import Template

from llm_wrappers.errors import InvalidOptionError, UnknownNameError

__all__ = ["PromptTemplate"]


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt with blanks like ``$rules``, to be filled in completely or not at all.

    Args:
        text: The prompt; a literal dollar sign is written ``$$``.

    >>> template = PromptTemplate("Play $game. It costs $$1.")
    >>> template.fill(game="chess")
    'Play chess. It costs $1.'
    >>> template.blanks
    ('game',)
    """

    text: str

    @classmethod
    def packaged(cls, name: str) -> PromptTemplate:
        """Return a template that ships with the package, such as ``"sgrl/design"``.

        Raises:
            UnknownNameError: If there is none of this name.
        """
        file = files("llm_wrappers") / "data" / "prompts" / f"{name}.md"
        if not file.is_file():
            raise UnknownNameError(f"no prompt template {name!r} ships with this package")
        return cls(file.read_text(encoding="utf-8").strip())

    @cached_property
    def version(self) -> str:
        """The SHA-256 of the text; goes into `Request.prompt_version`."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def blanks(self) -> tuple[str, ...]:
        """The names of the blanks, in order of first appearance.

        Raises:
            InvalidOptionError: If a dollar sign stands before something that is no name.
        """
        names: dict[str, None] = {}
        for match in Template.pattern.finditer(self.text):
            name = match["named"] or match["braced"]
            if name is not None:
                names[name] = None
            elif match["escaped"] is None:
                raise InvalidOptionError(
                    f"a dollar sign in a prompt is written $$: {self.text[match.start() :][:40]!r}"
                )
        return tuple(names)

    def fill(self, **values: str) -> str:
        """Return the prompt with every blank filled; what is filled in is not looked at again.

        Raises:
            InvalidOptionError: If a blank has no value, or a value has no blank.
        """
        if set(values) != set(self.blanks):
            raise InvalidOptionError(
                f"this prompt has the blanks {sorted(self.blanks)}, got values for {sorted(values)}"
            )
        return Template(self.text).substitute(values)
