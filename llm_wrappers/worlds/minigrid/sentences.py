"""Sentences about the facts of MiniGrid environments."""

from __future__ import annotations

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.worlds.minigrid.facts import place_in_words

__all__ = ["state_caption", "transition_caption"]


def state_caption(facts: Facts) -> str:
    """Return what is in front, in view and carried, and the mission."""
    seen = facts["in_view"]
    assert isinstance(seen, tuple)
    sentences = [f"You face {facts['direction']}."] if facts["direction"] else []
    sentences.append(f"In front of you: {facts['facing']}.")
    sentences.append(f"You see {_listed(seen)}." if seen else "You see nothing of note.")
    if facts["sees_lava"]:
        ahead, right = facts["lava_ahead"], facts["lava_right"]
        assert isinstance(ahead, int)
        assert isinstance(right, int)
        sentences.append(f"The nearest lava is {place_in_words(ahead, right)}.")
    held = f"a {facts['carrying_colour']} {facts['carrying']}" if facts["carrying"] else "nothing"
    sentences.append(f"You carry {held}.")
    if facts["mission"]:
        sentences.append(f"Your mission: {facts['mission']}.")
    return " ".join(sentences)


def transition_caption(before: Facts, action: str, after: Facts) -> str:
    """Return what an action did."""
    if action in ("left", "right"):
        return f"turn {action}"
    if action == "forward":
        return _step_forward(before)
    if action == "done":
        return "declare the mission done"
    return _handled(before, action, after) or "nothing happens"


def _step_forward(before: Facts) -> str:
    if not before["front_is_free"]:
        return f"bump into the {before['facing']}"
    entered = {"goal": "go to the goal", "open door": "go through the door", "lava": "step in lava"}
    return entered.get(str(before["facing"]), "move forward")


def _handled(before: Facts, action: str, after: Facts) -> str:
    held, holds = before["carrying"], after["carrying"]
    if action == "pick up":
        return f"pick up the {holds}" if holds and not held else ""
    if action == "drop":
        return f"drop the {held}" if held and not holds else ""
    old, new = before["facing"], after["facing"]
    if old == new:
        return ""
    return {"open door": "open the door", "closed door": "close the door"}.get(
        str(new), "open the box" if old == "box" else ""
    )


def _listed(things: tuple[str, ...]) -> str:
    return ", ".join(
        f"an {thing}" if thing.startswith("open") else f"a {thing}" for thing in things
    )
