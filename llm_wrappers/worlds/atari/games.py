"""Pitfall and Montezuma's Revenge, as far as their memory was checked against the picture.

Addresses are those that AtariARI (Anand et al., 2019) lists, but for what was found by playing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llm_wrappers.captions.captioner import Facts, FactValue

__all__ = ["MONTEZUMA", "PITFALL", "AtariGame", "Ram", "decimal"]

Ram: TypeAlias = "Sequence[int]"


@dataclass(frozen=True)
class AtariGame:
    """How one game is read from memory and put into words.

    Args:
        rules: What a player has to know.
        meaning: What the facts mean.
        actions: The names of the actions of the minimal set, which `gymnasium.make` gives; empty
            for the names of the joystick.
        facts: From the memory, and that of the step before or None, to facts.
        sentence: From facts to a caption.
    """

    rules: str
    meaning: str
    actions: tuple[str, ...]
    facts: Callable[[Ram, Ram | None], Facts]
    sentence: Callable[[Facts], str]


def decimal(*bytes_: int) -> int:
    """Return a number that is kept as two decimal digits in each byte, the highest first.

    >>> decimal(0x19, 0x55)
    1955
    """
    number = 0
    for byte in bytes_:
        number = number * 100 + (byte >> 4) * 10 + (byte & 15)
    return number


# Positions and clock as AtariARI (Anand et al., 2019) lists them; the rest was found by playing.
_LIVES, _SCREEN, _SCORE, _MINUTES, _SECONDS = 0, 1, (85, 86, 87), 88, 89
_X, _THING_X, _SCORPION_X, _Y = 97, 98, 99, 105
# To the middle of the player and of the scorpion, and to the left edge of other things.
_X_OFFSET, _SCORPION_OFFSET, _THING_OFFSET = 4, 3, 1
_LIVES_LEFT = {0xA0: 3, 0x80: 2, 0x00: 1}
_GROUND, _UNDERGROUND = 32, 86

_OBSTACLES = (
    "a hole with a ladder", "three holes, one with a ladder", "a tar pit with a vine over it",
    "a swamp with a vine over it", "a swamp with crocodiles", "a treasure",
    "a tar pit that opens and closes, with a vine over it", "quicksand that opens and closes",
)  # fmt: skip
_THINGS = (
    "a rolling log", "two rolling logs side by side", "two rolling logs", "three rolling logs",
    "a log that lies still", "three logs that lie still", "a fire", "a snake",
)  # fmt: skip
_WITH_TUNNEL, _CROCODILES, _TREASURE = (0, 1), 4, 5

_RULES = (
    "You run through a jungle of 255 screens, to the left or to the right, and collect treasures "
    "(2000 to 5000 points) within 20 minutes. Logs that touch you cost points. Holes drop you into "
    "the tunnel below and cost 100; there a scorpion kills and a brick wall may block the way, and "
    "ladders lead back up. Tar, water, quicksand, crocodiles, fires and snakes kill. You jump over "
    "what lies on the ground, swing on vines over pits, and have three lives."
)
_MEANING = (
    "x is in pixels from the left, of 160. height is how far you are above the ground, negative "
    "below it, 54 down to the floor of the tunnel. thing is what lies on the ground beside the "
    "obstacle, thing_x the left edge of the first of them; None where there is nothing. screen is "
    "the number of the screen, not its place."
)


def _facts(ram: Ram, before: Ram | None) -> Facts:
    screen = ram[_SCREEN]
    scene, thing = screen >> 3 & 7, screen & 7
    tunnel, bare = scene in _WITH_TUNNEL, scene in (_CROCODILES, _TREASURE)
    return {
        "screen": screen,
        "x": ram[_X] + _X_OFFSET,
        "height": _GROUND - ram[_Y],
        "where": _level(ram[_Y]),
        "obstacle": _OBSTACLES[scene],
        "thing": None if bare else _THINGS[thing],
        "thing_x": None if bare else ram[_THING_X] + _THING_OFFSET,
        "wall_below": (("left", "right")[screen >> 7]) if tunnel else None,
        "scorpion_x": None if tunnel else ram[_SCORPION_X] + _SCORPION_OFFSET,
        "score": decimal(*(ram[address] for address in _SCORE)),
        "seconds_left": decimal(ram[_MINUTES]) * 60 + decimal(ram[_SECONDS]),
        "lives": _LIVES_LEFT.get(ram[_LIVES]),
    }


def _level(y: int) -> str:
    if y == _GROUND:
        return "on the ground"
    if y == _UNDERGROUND:
        return "in the tunnel"
    return "above the ground" if y < _GROUND else "between the ground and the tunnel"


def _sentence(facts: Facts) -> str:
    thing = f" and {facts['thing']} at x {facts['thing_x']}" if facts["thing"] else ""
    below = (
        f"a brick wall on the {facts['wall_below']}"
        if facts["wall_below"]
        else f"a scorpion at x {facts['scorpion_x']}"
    )
    minutes, seconds = divmod(int(str(facts["seconds_left"])), 60)
    return (
        f"You are {facts['where']} at x {facts['x']}, height {facts['height']}. On this screen "
        f"there is {facts['obstacle']}{thing}; in the tunnel below there is {below}. You have "
        f"{facts['score']} points and {minutes} minutes {seconds} seconds left."
    )


PITFALL = AtariGame(_RULES, _MEANING, (), _facts, _sentence)


# Addresses as AtariARI (Anand et al., 2019) lists them; the offsets to pixels were measured.
_ROOM, _MONTEZUMA_X, _MONTEZUMA_Y, _MONTEZUMA_LIVES, _MONTEZUMA_SCORE, _SKULL_X = (
    3,
    42,
    43,
    58,
    (19, 20, 21),
    47,
)
_MONTEZUMA_X_OFFSET, _FEET, _SKULL_OFFSET = 3, 315, 35
# Found by picking things up, opening doors and being hit. AtariARI names byte 61 for what is
# carried; that one changes while nothing is picked up or used.
_CARRIED, _LEFT_IN_ROOM = 65, 66
_HAMMER, _KEYS, _SWORDS, _TORCH = 0b1, 0b11110, 0b1100000, 0b10000000
# What the bits of the first room stand for; those of other rooms are not known.
_FIRST_ROOM, _KEY_BIT, _SKULL_BIT, _DOOR_BITS = 1, 1, 2, {"left": 8, "right": 4}

_MONTEZUMA_RULES = (
    "You explore the rooms of a pyramid: climb ladders and ropes, jump over skulls, collect keys, "
    "and open doors of their colour. Falling deep and touching a creature cost a life. Keys are "
    "worth 100 points, doors 300."
)
_MONTEZUMA_MEANING = (
    "x and y are the pixels of the middle of your feet, from the left and the top, of 160 x 210. "
    "keys, swords, torch and hammer are what you carry. key_here, closed_doors and skull_x, the "
    "middle of the rolling skull, are known in room 1, where the game begins; elsewhere they are "
    "None, as skull_x is when the skull is gone."
)


def _montezuma_facts(ram: Ram, before: Ram | None) -> Facts:
    return {
        "room": ram[_ROOM],
        "x": ram[_MONTEZUMA_X] + _MONTEZUMA_X_OFFSET,
        "y": _FEET - ram[_MONTEZUMA_Y],
        "lives": ram[_MONTEZUMA_LIVES] + 1,
        "score": decimal(*(ram[address] for address in _MONTEZUMA_SCORE)),
        "keys": (ram[_CARRIED] & _KEYS).bit_count(),
        "swords": (ram[_CARRIED] & _SWORDS).bit_count(),
        "torch": bool(ram[_CARRIED] & _TORCH),
        "hammer": bool(ram[_CARRIED] & _HAMMER),
        **_in_first_room(ram),
    }


def _in_first_room(ram: Ram) -> Facts:
    if ram[_ROOM] != _FIRST_ROOM:
        return {"key_here": None, "closed_doors": None, "skull_x": None}
    left = ram[_LEFT_IN_ROOM]
    return {
        "key_here": bool(left & _KEY_BIT),
        "closed_doors": tuple(side for side, bit in _DOOR_BITS.items() if left & bit),
        "skull_x": ram[_SKULL_X] + _SKULL_OFFSET if left & _SKULL_BIT else None,
    }


def _montezuma_sentence(facts: Facts) -> str:
    sentences = [
        f"You are in room {facts['room']} at x {facts['x']}, y {facts['y']}, with "
        f"{facts['lives']} lives and {facts['score']} points.",
        f"You carry {_carried(facts)}.",
    ]
    if facts["skull_x"] is not None:
        sentences.append(f"A skull rolls at x {facts['skull_x']}.")
    if facts["key_here"]:
        sentences.append("There is a key in this room.")
    if facts["closed_doors"]:
        sentences.append(f"Closed doors: {' and '.join(_texts(facts['closed_doors']))}.")
    return " ".join(sentences)


def _carried(facts: Facts) -> str:
    things = [
        f"{facts[name]} {name if facts[name] != 1 else name.removesuffix('s')}"
        for name in ("keys", "swords")
        if facts[name]
    ]
    things += [f"a {name}" for name in ("torch", "hammer") if facts[name]]
    return " and ".join(things) or "nothing"


def _texts(value: FactValue) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


MONTEZUMA = AtariGame(
    _MONTEZUMA_RULES, _MONTEZUMA_MEANING, (), _montezuma_facts, _montezuma_sentence
)
