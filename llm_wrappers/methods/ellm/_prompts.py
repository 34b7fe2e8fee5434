"""From a caption, and what never changes about an environment, to a prompt."""

from __future__ import annotations

from collections.abc import Iterable

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.prompt_template import PromptTemplate

__all__ = ["Prompts"]


class Prompts:
    """Fills a template, of which only some blanks differ from state to state.

    Args:
        prompt: The template, or the name of one that ships with the package.
        description: Fills the blanks `env_id`, `rules`, `actions`, `goals` and `verbs`.
        changing: The blanks that `fill` gets; the template must have them all.

    Raises:
        UnknownNameError: If no template of this name ships with the package.
        InvalidOptionError: If a changing blank is missing, or nothing fills one.
    """

    def __init__(
        self,
        prompt: str | PromptTemplate,
        description: EnvDescription,
        *,
        changing: tuple[str, ...],
    ) -> None:
        template = prompt if isinstance(prompt, PromptTemplate) else PromptTemplate.packaged(prompt)
        values = _values(description)
        unknown = [name for name in template.blanks if name not in (*values, *changing)]
        missing = [name for name in changing if name not in template.blanks]
        if unknown or missing:
            raise InvalidOptionError(
                f"expected a prompt with the blanks {list(changing)}, and no others than these and "
                f"{list(values)}; got {list(template.blanks)}"
            )
        self.version = template.version
        self._template = template
        self._values = {name: values[name] for name in template.blanks if name in values}

    def fill(self, **values: str) -> str:
        """Return the prompt for the values of the changing blanks."""
        return self._template.fill(**self._values, **values)


def _values(description: EnvDescription) -> dict[str, str]:
    return {
        "env_id": description.env_id,
        "rules": description.rules,
        "actions": _listed(description.action_names),
        "goals": _listed(description.goals),
        "verbs": ", ".join(_verbs(description.goals or description.action_names)) or "any",
    }


def _listed(names: Iterable[str]) -> str:
    return "\n".join(f"- {name}" for name in names) or "- anything"


def _verbs(phrases: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(phrase.split()[0] for phrase in phrases if phrase.split()))
