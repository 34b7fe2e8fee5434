"""A language model writes the mask bank: which actions can help with which goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm import LLM
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import plain

__all__ = ["MaskDraft", "write_masks"]


class GoalActions(BaseModel):
    """The actions that can help with one goal."""

    goal: str = Field(description="a goal of the list, spelled exactly so")
    actions: list[str] = Field(description="names of actions of the list, spelled exactly so")


class MaskAnswer(BaseModel):
    """What the model is asked for."""

    masks: list[GoalActions]


@dataclass
class MaskDraft:
    """A mask bank as a model wrote it, with what had to be dropped.

    Args:
        masks: Goal -> names of actions, none of them empty.
        unknown_actions: Names that are no actions, dropped.
        unknown_goals: Names that are no goals, dropped.
        without_mask: Goals for which no known action was named; they are not masked.
        prompt_sha256: Template name -> hash.
    """

    masks: dict[str, list[str]] = field(default_factory=dict)
    unknown_actions: list[str] = field(default_factory=list)
    unknown_goals: list[str] = field(default_factory=list)
    without_mask: list[str] = field(default_factory=list)
    prompt_sha256: dict[str, str] = field(default_factory=dict)


def write_masks(
    llm: LLM,
    description: EnvDescription,
    *,
    goals: Sequence[str] | None = None,
    per_goal: bool = False,
) -> MaskDraft:
    """Have a model name the actions that can help with each goal.

    The mask bank of SGRL (arXiv 2509.22008, section 3.2). Names are compared without regard to
    case, spaces and underscores; others are dropped and listed. A goal that is left without any
    action is asked for once more by itself, and stays unmasked if that gives none either.

    Args:
        llm: The client; its calls count as ``"mask"``.
        description: Rules, action names and goals of the environment.
        goals: The goal vocabulary; None for that of the description.
        per_goal: Whether each goal is a question of its own; else all are asked in one.

    Raises:
        InvalidOptionError: If there are no goals or no named actions.
        LLMWrappersError: As `LLM.ask` says.
    """
    vocabulary = tuple(description.goals if goals is None else goals)
    if not vocabulary or not description.action_names:
        raise InvalidOptionError(
            f"masks need goals and named actions, got {len(vocabulary)} goals and "
            f"{len(description.action_names)} actions"
        )
    template = PromptTemplate.packaged("sgrl/masks")
    draft = MaskDraft(prompt_sha256={"sgrl/masks": template.version})
    one_by_one = [(goal,) for goal in vocabulary]
    _ask(llm, template, description, one_by_one if per_goal else [vocabulary], draft, vocabulary)
    left = [(goal,) for goal in vocabulary if goal not in draft.masks]
    if left and not per_goal:
        _ask(llm, template, description, left, draft, vocabulary)
    draft.without_mask = [goal for goal in vocabulary if goal not in draft.masks]
    return draft


def _ask(
    llm: LLM,
    template: PromptTemplate,
    description: EnvDescription,
    questions: Sequence[Sequence[str]],
    draft: MaskDraft,
    vocabulary: Sequence[str],
) -> None:
    prompts = [_prompt(template, description, goals) for goals in questions]
    answers = llm.ask_many(
        prompts, schema=MaskAnswer, purpose="mask", prompt_version=template.version
    )
    for answer in answers:
        if answer.parsed is not None:
            _take(draft, answer.parsed, vocabulary, description.action_names)


def _prompt(template: PromptTemplate, description: EnvDescription, goals: Sequence[str]) -> str:
    return template.fill(
        env_id=description.env_id,
        rules=description.rules,
        actions="\n".join(f"- {name}" for name in description.action_names),
        goals="\n".join(f"- {goal}" for goal in goals),
    )


def _take(
    draft: MaskDraft, answer: MaskAnswer, goals: Sequence[str], actions: Sequence[str]
) -> None:
    known_goals = {plain(goal): goal for goal in goals}
    known_actions = {plain(action): action for action in actions}
    for entry in answer.masks:
        goal = known_goals.get(plain(entry.goal))
        if goal is None:
            draft.unknown_goals.append(entry.goal)
            continue
        named = {known_actions.get(plain(action)) for action in entry.actions}
        draft.unknown_actions += [a for a in entry.actions if plain(a) not in known_actions]
        ordered = [action for action in actions if action in named]
        if ordered:
            draft.masks[goal] = ordered
