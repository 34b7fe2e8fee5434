"""Montezuma's Revenge, as far as its memory was checked against the picture."""

from __future__ import annotations

from llm_wrappers.captions._atari_game import AtariGame, Ram, decimal
from llm_wrappers.captions.captioner import Facts

__all__ = ["MONTEZUMA"]

# Addresses as AtariARI (Anand et al., 2019) lists them; the offsets to pixels were measured.
_ROOM, _X, _Y, _LIVES, _SCORE = 3, 42, 43, 58, (19, 20, 21)
_X_OFFSET, _FEET = 3, 315

_RULES = (
    "You explore the rooms of a pyramid: climb ladders and ropes, jump over skulls, collect keys, "
    "and open doors of their colour. Falling deep and touching a creature cost a life. Keys are "
    "worth 100 points, doors 300."
)
_MEANING = (
    "x and y are the pixels of the middle of your feet, from the left and the top, of 160 x 210."
)


def _facts(ram: Ram, before: Ram | None) -> Facts:
    return {
        "room": ram[_ROOM],
        "x": ram[_X] + _X_OFFSET,
        "y": _FEET - ram[_Y],
        "lives": ram[_LIVES] + 1,
        "score": decimal(*(ram[address] for address in _SCORE)),
    }


def _sentence(facts: Facts) -> str:
    return (
        f"You are in room {facts['room']} at x {facts['x']}, y {facts['y']}, with "
        f"{facts['lives']} lives and {facts['score']} points."
    )


MONTEZUMA = AtariGame(_RULES, _MEANING, (), _facts, _sentence)
