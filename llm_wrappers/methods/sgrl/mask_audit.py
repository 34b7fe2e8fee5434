"""How masks compare with what the actions of an environment really do (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.planners import Planner, PlannerFunction
from llm_wrappers.methods.sgrl.play import Episode, Guide

__all__ = ["GoalAudit", "MaskAudit", "audit_guide", "audit_masks"]


@dataclass(frozen=True)
class GoalAudit:
    """What recorded play says about one goal and its mask.

    Args:
        masked: Whether the goal has a mask.
        planned: In how many states it was in the plan.
        reached: How often it was reached, by an action that can have an effect where that is known.
        forbidden: How many of these actions its mask forbids.
        allowed: How many (state, action) pairs its mask allows, over the states in which it was in
            the plan; None if it has no mask, or nobody knows which actions have an effect.
        idle: How many of these pairs are without effect; None likewise.
    """

    masked: bool
    planned: int
    reached: int
    forbidden: int
    allowed: int | None
    idle: int | None

    @property
    def over_strict(self) -> float | None:
        """The share of the actions that reached the goal which its mask forbids."""
        return _share(self.forbidden, self.reached) if self.masked else None

    @property
    def over_loose(self) -> float | None:
        """The share of the allowed pairs that are without effect."""
        return _share(self.idle, self.allowed)


@dataclass(frozen=True)
class MaskAudit:
    """What recorded play says about masks; counts, and the rates that follow from them.

    Args:
        goals: Goal -> what was found about it, for the whole vocabulary.
        transitions: How many actions were recorded.
        guided: How many of them in guided episodes.
        fallbacks: In how many of these states the planner failed, so that nothing was guided.
        contradictions: In how many the mask of the current goal and the environment's own rules
            leave no common action, so that `ActionMaskWrapper` lets go of the mask if the
            environment has `action_masks`; None if the rules are not known.
    """

    goals: Mapping[str, GoalAudit]
    transitions: int
    guided: int
    fallbacks: int
    contradictions: int | None

    @property
    def over_strict(self) -> float | None:
        """The share of the actions that reached a masked goal which its mask forbids."""
        masked = [goal for goal in self.goals.values() if goal.masked]
        return _share(sum(goal.forbidden for goal in masked), sum(goal.reached for goal in masked))

    @property
    def over_loose(self) -> float | None:
        """The share of the (state, action) pairs allowed by a planned goal without effect."""
        return _share(self._total("idle"), self._total("allowed"))

    @property
    def never_proposed(self) -> tuple[str, ...]:
        """The goals that were in no plan."""
        return tuple(name for name, goal in self.goals.items() if not goal.planned)

    @property
    def never_reached(self) -> tuple[str, ...]:
        """The goals that were in a plan and that no transition caption named."""
        return tuple(name for name, goal in self.goals.items() if goal.planned and not goal.reached)

    def as_dict(self) -> dict[str, Any]:
        """Return counts and rates as plain data, for JSON; `from_dict` reads it back."""
        rates = {
            name: {"over_strict": goal.over_strict, "over_loose": goal.over_loose}
            for name, goal in self.goals.items()
        }
        return {
            **asdict(self),
            "goals": {name: {**asdict(goal), **rates[name]} for name, goal in self.goals.items()},
            "over_strict": self.over_strict,
            "over_loose": self.over_loose,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MaskAudit:
        """Return the audit that `as_dict` turned into plain data.

        Raises:
            InvalidOptionError: If it is something else.
        """
        try:
            names = GoalAudit.__dataclass_fields__
            goals = {
                name: GoalAudit(**{key: goal[key] for key in names})
                for name, goal in data["goals"].items()
            }
            counts = {
                key: data[key] for key in ("transitions", "guided", "fallbacks", "contradictions")
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidOptionError(
                f"expected what MaskAudit.as_dict returned, got {data!r:.200}"
            ) from error
        return cls(goals=goals, **counts)

    def __str__(self) -> str:
        """Return the totals, and a line for each goal with a mask."""
        masked = {name: goal for name, goal in self.goals.items() if goal.masked}
        forbidden = sum(goal.forbidden for goal in masked.values())
        reached = sum(goal.reached for goal in masked.values())
        states = "n/a" if self.contradictions is None else f"{self.contradictions} states"
        width = max(map(len, masked), default=0)
        lines = [
            f"mask audit: {self.transitions} actions of play, {self.guided} of them guided",
            f"over-strict: {_rate(forbidden, reached)} actions that reached a goal are forbidden",
            f"over-loose: {_rate(self._total('idle'), self._total('allowed'))} allowed actions "
            "have no effect",
            f"contradictions: {states}",
        ]
        lines += [
            f"  {name:<{width}}  over-strict {_rate(goal.forbidden, goal.reached):<22} over-loose "
            f"{_rate(goal.idle, goal.allowed)}"
            for name, goal in masked.items()
        ]
        return "\n".join(lines)

    def _total(self, name: str) -> int | None:
        counts = [getattr(goal, name) for goal in self.goals.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None


def audit_masks(
    masks: str | Mapping[str, Any],
    episodes: Sequence[Episode],
    *,
    env: gym.Env[Any, Any],
    planner: str | Planner | PlannerFunction,
    captioner: Captioner | None = None,
    goals: Sequence[str] | None = None,
) -> MaskAudit:
    """Compare masks with what the actions did in recorded play (SGRL, arXiv 2509.22008, 3.2).

    The paper gives no such measures; these are ours.

    - Over-strict: of the actions that reached a goal, by the transition caption, the share that
      the mask of this goal forbids. Actions known to be without effect do not count: asleep, every
      action "reaches" what happens anyway.
    - Over-loose: of the (state, action) pairs that the mask of a goal allows, over the states in
      which the goal is in the plan, the share that is known to be without effect.

    What has an effect is told by the environment's own `action_masks`, else by the captioner's
    method ``legal_actions(facts)``; without either, over-loose and contradictions are not known.

    Args:
        masks: Goal -> open actions, or a name.
        episodes: What `record_episodes` returned.
        env: The environment, for its actions and its captioner; it is not stepped.
        planner: The planner, as an object or a name.
        captioner: None for the environment's own.
        goals: The goal vocabulary; None for that of the environment.

    Raises:
        IncompatibleEnvironmentError: If the actions are not those of a Discrete space.
        InvalidOptionError: If there are no goals, or a mask is no mask.
        UnknownNameError: If a name is not known.

    >>> from llm_wrappers.methods.sgrl import record_episodes
    >>> env = gym.make("CartPole-v1")
    >>> audit = audit_masks(
    ...     {"go left": [0]}, record_episodes(env, steps=50), env=env, goals=["go left"],
    ...     planner=lambda facts: [[("go left", 1.0)] for _ in facts],
    ... )
    >>> audit.fallbacks, audit.over_loose
    (0, None)
    """
    captioner = resolve_captioner(env, captioner)
    guide = Guide(
        (planner, masks),
        description=captioner.description,
        action_space=env.action_space,
        goals=goals,
    )
    try:
        return audit_guide(guide, episodes, captioner)
    finally:
        if isinstance(planner, str):
            guide.close()


def audit_guide(guide: Guide, episodes: Sequence[Episode], captioner: Captioner) -> MaskAudit:
    """Do what `audit_masks` does, for a planner and masks that are bound already."""
    masked = np.array([goal in guide.bank.masks for goal in guide.goals], dtype=np.bool_)
    rows = guide.bank.matrix(guide.goals)
    planned, reached, forbidden, allowed, idle = np.zeros((5, len(rows)), dtype=np.int64)
    fallbacks = contradictions = 0
    knows_legality = False
    for episode in episodes:
        plans = guide.plans(episode.facts[:-1])
        legal = _legal(episode, captioner)
        knows_legality |= legal is not None
        told = _reached(episode, captioner, guide.goals)
        for step, (plan, action) in enumerate(zip(plans, guide.flat(episode.actions), strict=True)):
            open_ = None if legal is None else legal[step]
            if open_ is None or open_[action]:
                reached[told[step]] += 1
                forbidden[[goal for goal in told[step] if not rows[goal, action]]] += 1
            if plan.failed:
                fallbacks += 1
                continue
            planned[list(plan.goals)] += 1
            if open_ is None or not plan.goals:
                continue
            goals = [goal for goal in plan.goals if masked[goal]]
            allowed[goals] += rows[goals].sum(axis=1)
            idle[goals] += (rows[goals] & ~open_).sum(axis=1)
            contradictions += bool(masked[plan.best] and not (rows[plan.best] & open_).any())
    return MaskAudit(
        goals={
            name: GoalAudit(
                masked=bool(masked[row]),
                planned=int(planned[row]),
                reached=int(reached[row]),
                forbidden=int(forbidden[row]),
                allowed=int(allowed[row]) if knows_legality and masked[row] else None,
                idle=int(idle[row]) if knows_legality and masked[row] else None,
            )
            for row, name in enumerate(guide.goals)
        },
        transitions=sum(len(episode.actions) for episode in episodes),
        guided=sum(len(episode.actions) for episode in episodes if episode.guided),
        fallbacks=fallbacks,
        contradictions=contradictions if knows_legality else None,
    )


def _legal(episode: Episode, captioner: Captioner) -> NDArray[np.bool_] | None:
    if episode.legal is not None:
        return episode.legal
    ask = getattr(captioner, "legal_actions", None)
    found = None if ask is None else ask(episode.facts[:-1])
    return None if found is None else np.asarray(found, dtype=np.bool_)


def _reached(episode: Episode, captioner: Captioner, goals: Sequence[str]) -> list[list[int]]:
    """Return for each action the goals that its transition caption names."""
    captions = captioner.transition_captions(episode.facts[:-1], episode.actions, episode.facts[1:])
    # A caption joins what was achieved at once.
    told = [{caption, *caption.split(" and ")} for caption in captions]
    return [[row for row, goal in enumerate(goals) if goal in parts] for parts in told]


def _rate(part: int | None, whole: int | None) -> str:
    found = _share(part, whole)
    return "n/a" if found is None else f"{part} of {whole} ({found:.1%})"


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole
