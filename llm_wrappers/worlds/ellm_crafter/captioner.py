"""How ELLM words Crafter: the state captioner and the oracle transition captioner of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.worlds.crafter.captioner import CrafterFamilyCaptioner
from llm_wrappers.worlds.crafter.rules import INVENTORY, THINGS
from llm_wrappers.worlds.ellm_crafter.words import ELLM_CRAFTER, describe_ellm, noun_of

__all__ = ["DID_NOTHING", "NOTHING_HAPPENED", "EllmCaptioner", "deed"]

DID_NOTHING = "you did nothing."
NOTHING_HAPPENED = "nothing happened."

_ITEMS = INVENTORY[4:]
_VERB_AND_GAIN = {
    "tree": ("chop", "wood"),
    "grass": ("chop", "sapling"),
    "stone": ("mine", "stone"),
    "coal": ("mine", "coal"),
    "iron": ("mine", "iron"),
    "diamond": ("mine", "diamond"),
    "water": ("drink", "drink"),
}
_FULL_ENERGY = 9


def deed(before: Facts, action: str, after: Facts, *, wakes_to_act: bool) -> str:
    """Return ELLM's phrase for what an action did, or that nothing happened."""
    if action == "noop":
        return DID_NOTHING
    if action == "sleep":
        return "sleep" if after["sleeping"] else NOTHING_HAPPENED
    if before["sleeping"] and not (wakes_to_act and before["energy"] == _FULL_ENERGY):
        return NOTHING_HAPPENED
    if action.startswith("move_"):
        return action.replace("_", " ")
    if action == "do":
        return _interaction(before, after)
    # Whatever is made or placed uses something up.
    used = any(_change(before, after, item) < 0 for item in _ITEMS)
    return _named(action) if used else NOTHING_HAPPENED


def _named(action: str) -> str:
    return action.replace("_table", "_crafting_table").replace("_", " ")


def _interaction(before: Facts, after: Facts) -> str:
    target = str(before["facing"])
    if target in _VERB_AND_GAIN:
        verb, gain = _VERB_AND_GAIN[target]
        return f"{verb} {target}" if _change(before, after, gain) > 0 else NOTHING_HAPPENED
    if target == "cow":
        return "eat cow" if _eaten(before, after, "eat_cow") else "attack cow"
    if target in ("zombie", "skeleton"):
        return f"attack {target}"
    # A ripe plant is a sapling again once it has been eaten.
    eaten = target == "ripe_plant" and after["facing"] == "sapling"
    return "eat plant" if eaten else NOTHING_HAPPENED


def _eaten(before: Facts, after: Facts, achievement: str) -> bool:
    old, new = before["unlocked"], after["unlocked"]
    assert isinstance(old, tuple)
    assert isinstance(new, tuple)
    unlocked = achievement in new and achievement not in old
    return unlocked or _change(before, after, "food") > 0


def _change(before: Facts, after: Facts, item: str) -> int:
    return int(after[item] or 0) - int(before[item] or 0)  # type: ignore[arg-type]


_UNSEEN = ("darkness", "sand", "arrow")
_UNTARGETED = ("darkness", "path", "sand", "lava")
_FULL = 9
_FEELINGS = {"health": "hurt", "food": "hungry", "drink": "thirsty", "energy": "sleepy"}
_FEELING_OF_PROMPTS = {"energy": "sleepy"}


class EllmCaptioner:
    """Says what is in view, in front, held and felt, word for word as ELLM does.

    Follows the captioners of ELLM (Du et al., 2023, arXiv 2302.06692) as published in its code:
    things in view are named once, in the order of the alphabet, without sand and arrows, and
    with "and" after a comma even where there are two. What stands in front is named too, unless it
    is bare path, sand or lava. Items are named without counts, and feelings where a vital sign is
    below 9. The text that the policy reads has four feelings, the text of a prompt only
    "sleepy". A view with nothing to name reads "You see nothing.", which is our choice.

    Where actions are verbs with nouns, a transition caption is the name of the action, whether it
    succeeded or not; ``info["action_success"]`` of `EllmCrafterEnv` says which. Where actions are
    those of the game, it is the phrase for what they did, or a member of `no_effect`; that mapping
    is our choice.

    The facts are those of `CrafterFamilyCaptioner`.

    Args:
        variant: ``"ellm-crafter"``, ``"crafter"`` or ``"craftax-classic"``; the rules differ.
        actions: How actions are numbered: ``"verb-noun"`` (139), ``"easier"`` (27) or ``"game"``
            (17). None for the environment's own: ``"verb-noun"`` in ELLM's Crafter, else
            ``"game"``.

    Raises:
        UnknownNameError: If the variant or the actions are not known.
        InvalidOptionError: If ELLM's Crafter is asked for the actions of the game.

    >>> captioner = EllmCaptioner("ellm-crafter")
    >>> captioner.description.action_names[6:9]
    ('mine zombie', 'mine skeleton', 'mine cow')
    >>> EllmCaptioner("craftax-classic").description.action_names[5]
    'do'
    """

    reads_observations = False

    no_effect = frozenset({DID_NOTHING, NOTHING_HAPPENED})
    """The transition captions that say that nothing was achieved; they earn no reward."""

    def __init__(self, variant: str, *, actions: str | None = None) -> None:
        if actions is None:
            actions = "verb-noun" if variant == ELLM_CRAFTER else "game"
        self._description = describe_ellm(variant, actions)
        self._says_names = actions != "game"
        self._wakes_to_act = variant == "crafter"
        self._family = CrafterFamilyCaptioner("crafter")

    @property
    def description(self) -> EnvDescription:
        """The rules, the names of the actions and ELLM's goals."""
        return self._description

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> FactsTable:
        """Return the facts of n sub-environments, as `CrafterFamilyCaptioner.facts` does.

        Args:
            observations: Not read.
            infos: The batched infos of a Crafter environment, each entry of shape (n, ...).
        """
        return self._family.facts(observations, infos)

    def state_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return what the policy of ELLM reads in each state, all four feelings included."""
        return [_caption(row, _FEELINGS) for row in facts]

    def prompt_captions(self, facts: Sequence[Facts]) -> list[str]:
        """Return what the prompt of ELLM says of each state: of the feelings, only sleepy."""
        return [_caption(row, _FEELING_OF_PROMPTS) for row in facts]

    def transition_captions(
        self, before: Sequence[Facts], actions: Sequence[Any], after: Sequence[Facts]
    ) -> list[str]:
        """Return the name of each action, or the phrase for what an action of the game did."""
        names = [self._description.action_names[int(action)] for action in actions]
        if self._says_names:
            return names
        return [
            deed(old, name, new, wakes_to_act=self._wakes_to_act)
            for old, name, new in zip(before, names, after, strict=True)
        ]


def _caption(facts: Facts, feelings: Mapping[str, str]) -> str:
    sentences = [_seen(facts), _targeted(facts), _held(facts), _felt(facts, feelings)]
    return " ".join(sentence for sentence in sentences if sentence)


def _seen(facts: Facts) -> str:
    names = _sorted_names(thing for thing in THINGS if facts[f"sees_{thing}"])
    if not names:
        return "You see nothing."
    *first, last = names
    return f"You see {', '.join([*first, f'and {last}'])}." if first else f"You see {last}."


def _sorted_names(things: Iterable[str]) -> list[str]:
    nouns = {noun_of(thing) for thing in things if thing not in _UNSEEN}
    return sorted("crafting table" if noun == "table" else noun for noun in nouns)


def _targeted(facts: Facts) -> str:
    # ELLM names the table in front by Crafter's own word, unlike the tables in view.
    target = str(facts["facing"])
    return "" if target in _UNTARGETED else f"You are targeting {noun_of(target)}."


def _held(facts: Facts) -> str:
    items = ["plant" if item == "sapling" else item for item in INVENTORY[4:] if facts[item]]
    return f"You have in your inventory {', '.join(items)}." if items else ""


def _felt(facts: Facts, feelings: Mapping[str, str]) -> str:
    felt = [word for vital, word in feelings.items() if int(facts[vital] or 0) < _FULL]  # type: ignore[arg-type]
    return f"You feel {', '.join(felt)}." if felt else ""
