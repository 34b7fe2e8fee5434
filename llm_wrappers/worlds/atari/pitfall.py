"""Pitfall, read from memory."""

from __future__ import annotations

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.worlds.atari.game import AtariGame, Ram, decimal

__all__ = ["PITFALL"]

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
