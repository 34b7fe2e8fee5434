"""Actions pruned by the goal (SGRL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.masks import MaskBank, flat_action_count
from llm_wrappers.guidance.resolve import resolve_masks
from llm_wrappers.parts import Tally
from llm_wrappers.schedules import Schedule
from llm_wrappers.trust import ScheduledCoin
from llm_wrappers.wrappers._core import Place, Step, joined, joined_space
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._layers import ask_sub_environments, find_below, reject_unknown_goals
from llm_wrappers.wrappers._pruning import GoalSource, Pruning

__all__ = ["ActionMaskWrapper", "Mask", "MaskMethods"]

_ENFORCE = ("mask", "resample", "penalty")
_NOT_FOR_PENALTIES = (
    'with enforce="penalty" episodes with and without masks pay the same, because the mask '
    'is not executed; use "mask" or "resample"'
)


class Mask(Pruning):
    """Closes actions, once per state; the options are those of `ActionMaskWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        masks: str | Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule,
        enforce: str,
        penalty: float,
        observe_mask: bool,
        mask_key: str,
    ) -> None:
        self._enforce = checks.one_of("enforce", enforce, _ENFORCE)
        self._penalty = checks.number("penalty", penalty, least=0)
        coin = ScheduledCoin(place.n, schedule)
        if enforce == "penalty":
            coin.refuse_trust(_NOT_FOR_PENALTIES)
        _refuse_overrides_inside(place)
        source = GoalSource(place, "ActionMaskWrapper")
        bank = _bank(place, masks, source.vocabulary)
        # The last row, of a goal without an entry, leaves everything open.
        everything = np.ones((1, bank.length), dtype=np.bool_)
        self._matrix = np.concatenate([bank.matrix(list(bank.masks)), everything])
        self._open = place.world.open_actions(place.action_space)
        self.masks = np.ones((place.n, bank.length), dtype=np.bool_)
        """What this layer and those below leave open, shape (n, actions)."""
        self.counts = Tally(
            "states", "masked_states", "open_actions", "empty_intersections", "empty_inner_masks",
            "forbidden_actions",
        )  # fmt: skip
        super().__init__(
            place,
            _told(place, bank.length, executes=enforce == "resample"),
            source=source,
            coin=coin,
            pruning=bank.masks,
            parts={"counts": self.counts},
        )
        self._mask_key = mask_key if checks.flag("observe_mask", observe_mask) else None
        if self._mask_key is not None:
            flags = gym.spaces.Box(0.0, 1.0, (bank.length,), np.float32)
            space = place.observation_space
            self.space = joined_space(space, self._mask_key, flags, option="mask_key")

    def draw(
        self,
        chosen: Sequence[int],
        applied: Sequence[bool],
        rows: NDArray[np.intp],
        *,
        shown: bool,
    ) -> None:
        """Close what does not serve the goals; what is shown is combined with the masks below."""
        masks = self._matrix[chosen]
        counts, open_actions = self.counts, self._open
        here: Any = slice(None) if len(rows) == self.n else rows
        masked = sum(applied)
        if shown:
            counts["empty_inner_masks"] += open_actions.empty
            if masked:
                counts["empty_intersections"] += open_actions.close(masks, rows)
            masks = open_actions.masks[here]
        self.masks[here] = masks
        self.told["mask_applied"][here] = applied
        self.told["action_mask"][here] = open_actions.now()[here]
        counts["states"] += len(rows)
        counts["masked_states"] += masked
        counts["open_actions"] += int(np.count_nonzero(masks))

    def act(self, actions: Any, rows: NDArray[np.intp], streams: Any) -> Any:
        """Return the actions with open ones in place of closed ones, if that is how to enforce."""
        given = np.asarray(actions)
        if len(rows) == self.n:
            self._allowed = self._open.allows(given, rows, self.masks)
        else:
            self._allowed = np.ones(self.n, dtype=np.bool_)
            self._allowed[rows] = self._open.allows(given[rows], rows, self.masks)
        forbidden = self.n - int(np.count_nonzero(self._allowed))
        self.counts["forbidden_actions"] += forbidden
        if self._enforce != "resample" or not forbidden:
            return actions
        closed = np.flatnonzero(~self._allowed)
        executed = given.copy()
        for row in closed.tolist():
            executed[row] = self._open.open_action(row, given[row], streams[row])
        return executed

    def step(self, step: Step) -> None:
        """Say what was done, and draw the masks of the states that it led to."""
        told, rows = self.told, step.rows
        # True in those that took no step.
        told["action_was_open"][:] = self._allowed
        if "executed_action" in told:
            told["executed_action"][rows] = np.asarray(step.executed)[rows]
        super().step(step)
        # Nobody acts in the last state of an episode.
        if step.any_ended:
            told["action_mask"][rows[step.ended[rows]]] = 1

    def pay(self, rewards: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the rewards without the penalty for closed actions."""
        if self._enforce != "penalty":
            return None
        paid: NDArray[np.float64] = rewards - self._penalty * ~self._allowed
        return paid

    def show(self, observations: Any, row: Any = slice(None)) -> Any:
        """Return observations, with the masks where that was asked for."""
        if self._mask_key is None:
            return observations
        return joined(
            observations, self._mask_key, self.told["action_mask"][row].astype(np.float32)
        )

    def open_actions(self) -> NDArray[np.bool_]:
        """Return fresh masks of the whole stack, shape (n, actions)."""
        masks: NDArray[np.bool_] = self._open.now()
        return masks

    def stats(self) -> dict[str, Any]:
        """Return the counters, xi, the share of masked states and of open actions."""
        states = max(self.counts["states"], 1)
        return {
            **super().stats(),
            "masked_share": self.counts["masked_states"] / states,
            "open_share": self.counts["open_actions"] / (states * self.masks.shape[1]),
        }


def _told(place: Place, length: int, *, executes: bool) -> dict[str, NDArray[Any]]:
    n, space = place.n, place.action_space
    told = {
        "mask_applied": np.zeros(n, dtype=np.bool_),
        "action_was_open": np.ones(n, dtype=np.bool_),
        # Of the type that gymnasium's spaces take in `sample(mask=...)`.
        "action_mask": np.ones((n, length), dtype=np.int8),
    }
    if executes:
        kind = np.dtype(int) if isinstance(space, gym.spaces.Discrete) else space.dtype
        # Nothing is executed at a reset. One type always, because tools that store infos need it.
        told["executed_action"] = np.full((n, *(space.shape or ())), -1).astype(kind)
    return told


def _bank(place: Place, masks: str | Mapping[str, Any], vocabulary: tuple[str, ...]) -> MaskBank:
    space = place.action_space
    if isinstance(space, gym.spaces.Box):
        raise IncompatibleEnvironmentError(
            f"expected an action space whose actions can be masked, got {space}; for "
            "continuous actions use ActionBoundsWrapper"
        )
    length = flat_action_count(space)
    env_id, names = _described(place)
    known = names if len(names) == length else ()
    found = resolve_masks(
        masks, env_id=env_id, goals=vocabulary, actions=known or list(range(length))
    )
    reject_unknown_goals(found, vocabulary)
    return MaskBank(found, space, action_names=known)


def _described(place: Place) -> tuple[str, tuple[str, ...]]:
    """Return the id of the environment and the names of its actions, as far as anybody knows."""
    describe = find_below(place.env, "env_description")
    if describe is None:
        try:
            description = place.world.captioner().description
        except IncompatibleEnvironmentError:
            # Masks can do without names; a captioner that cannot see is for those who read it.
            return "", ()
    else:
        found = describe()
        description = found[0] if isinstance(found, tuple) else found
    return description.env_id, description.action_names


def _refuse_overrides_inside(place: Place) -> None:
    """Refuse overrides in sub-environments, which cannot know the masks of the batch."""
    inside = ask_sub_environments(place.env, "all_stats") or ()
    if any("CriticalStateOverrideWrapper" in stats for stats in inside):
        raise IncompatibleEnvironmentError(
            "an override inside of the sub-environments cannot know what a mask around all of them "
            "forbids: wrap the vector environment in vector.CriticalStateOverrideWrapper in its "
            "place, or put ActionMaskWrapper into the sub-environments too"
        )


class MaskMethods(Layer):
    """The options of `ActionMaskWrapper`, in front of one environment or of many."""

    core: Mask
    batched_methods: ClassVar = frozenset({"action_masks"})

    def __init__(
        self,
        env: Any,
        *,
        masks: str | Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        enforce: str = "mask",
        penalty: float = 0.1,
        observe_mask: bool = False,
        mask_key: str = "action_mask",
    ) -> None:
        self._guide(
            env, Mask, masks=masks, schedule=schedule, enforce=enforce, penalty=penalty,
            observe_mask=observe_mask, mask_key=mask_key,
        )  # fmt: skip

    def action_masks(self) -> NDArray[np.bool_]:
        """Return a fresh copy of the current mask of the stack, True where an action is open.

        The length is n for Discrete(n), the sum of nvec for MultiDiscrete, 2n for MultiBinary(n).
        """
        mask: NDArray[np.bool_] = self._own(self.core.open_actions())
        return mask


class ActionMaskWrapper(MaskMethods, Guided):
    """Leaves only the actions open that serve the current goal.

    Implements the pruned policy of SGRL (arXiv 2509.22008, section 3.2): each goal has a mask from
    a bank, and at each step it applies with probability xi, which a schedule over training
    progress gives. The goal is read from a layer below, usually `GoalObservationWrapper`. Reward
    and episode ends are untouched, except with ``enforce="penalty"``.

    The mask is drawn once per step, so that `action_masks` can be called any number of times. It
    is combined with the mask of a layer below that has one, and never closes everything: if
    nothing is left, the mask below holds alone, and if that is empty too, everything is open;
    both are counted in `stats`. Where the planner below failed, the goal's mask does not apply.

    Lowering xi to 0 during training can collapse a policy: actions that were masked have never
    been trained when they become open. The default keeps the mask, also at deployment, where the
    planner costs nothing; see "Relaxing the mask" in the documentation for what was measured.

    The mask of the whole stack is in `action_masks()`, in ``info["action_mask"]`` and, with
    `observe_mask`, in the observation, for trainers other than sb3-contrib. A mask that the
    environment itself gives, in either of the first two ways, is respected.

    A vector version exists: `llm_wrappers.wrappers.vector.ActionMaskWrapper`. For Box action
    spaces use `ActionBoundsWrapper`.

    Args:
        env: An environment with a Discrete, MultiDiscrete or MultiBinary action space.
        masks: Goal to open actions, as names, indices or booleans; or a name:
            ``"reference:craftax-classic"``, ``"file:masks.json"``, ``"random"``, ``"shuffled"``,
            ``"none"``. A goal without an entry leaves everything open.
        schedule: xi: a number, a dict such as ``{"kind": "three_stage_cosine"}``, or a callable
            of the training progress. Set the progress with `set_progress`;
            `llm_wrappers.sb3.GuidanceCallback` does so during training. ``{"kind": "adaptive"}``
            leaves some episodes without masks and masks fewer of them where that pays more, see
            `AdaptiveTrust`; not with ``enforce="penalty"``, which changes no episode.
        enforce: ``"mask"`` only offers `action_masks`, for MaskablePPO; ``"resample"`` executes a
            random open action in place of a closed one, and ``"penalty"`` takes `penalty` off the
            reward for it, both for algorithms without masks.
        penalty: What ``enforce="penalty"`` takes off the reward.
        observe_mask: Whether the observation shows the mask too, as a Box of 0.0 and 1.0; a Box
            becomes ``Dict(obs=..., action_mask=...)``.
        mask_key: The key of the mask in the observation.

    Raises:
        InvalidOptionError: If an option or a mask is not what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or holds no masks.
        IncompatibleEnvironmentError: If no layer below has a goal, or the actions cannot be masked.

    >>> import gymnasium as gym
    >>> from llm_wrappers import GoalObservationWrapper
    >>> env = GoalObservationWrapper(
    ...     gym.make("CartPole-v1"), planner=lambda facts: [[("go left", 1.0)]], goals=["go left"]
    ... )
    >>> env = ActionMaskWrapper(env, masks={"go left": ["push left"]})
    >>> observation, info = env.reset(seed=0)
    >>> env.action_masks()
    array([ True, False])
    """
