"""Montezuma's Revenge, as far as its memory was checked against the picture."""

from __future__ import annotations

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.atari.game import AtariGame, Ram, decimal

__all__ = ["MONTEZUMA"]

# Addresses as AtariARI (Anand et al., 2019) lists them; the offsets to pixels were measured.
_ROOM, _X, _Y, _LIVES, _SCORE, _SKULL_X = 3, 42, 43, 58, (19, 20, 21), 47
_X_OFFSET, _FEET, _SKULL_OFFSET = 3, 315, 35
# Found by picking things up, opening doors and being hit. AtariARI names byte 61 for what is
# carried; that one changes while nothing is picked up or used.
_CARRIED, _LEFT_IN_ROOM = 65, 66
_HAMMER, _KEYS, _SWORDS, _TORCH = 0b1, 0b11110, 0b1100000, 0b10000000
# What the bits of the first room stand for; those of other rooms are not known.
_FIRST_ROOM, _KEY_BIT, _SKULL_BIT, _DOOR_BITS = 1, 1, 2, {"left": 8, "right": 4}

_RULES = (
    "You explore the rooms of a pyramid: climb ladders and ropes, jump over skulls, collect keys, "
    "and open doors of their colour. Falling deep and touching a creature cost a life. Keys are "
    "worth 100 points, doors 300."
)
_MEANING = (
    "x and y are the pixels of the middle of your feet, from the left and the top, of 160 x 210. "
    "keys, swords, torch and hammer are what you carry. key_here, closed_doors and skull_x, the "
    "middle of the rolling skull, are known in room 1, where the game begins; elsewhere they are "
    "None, as skull_x is when the skull is gone."
)


def _facts(ram: Ram, before: Ram | None) -> Facts:
    return {
        "room": ram[_ROOM],
        "x": ram[_X] + _X_OFFSET,
        "y": _FEET - ram[_Y],
        "lives": ram[_LIVES] + 1,
        "score": decimal(*(ram[address] for address in _SCORE)),
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


def _sentence(facts: Facts) -> str:
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


MONTEZUMA = AtariGame(_RULES, _MEANING, (), _facts, _sentence)
