"""Pong, read from memory."""

from __future__ import annotations

from llm_wrappers.captions._atari_game import AtariGame, Ram
from llm_wrappers.captions.captioner import Facts

__all__ = ["PONG"]

# Addresses as AtariARI (Anand et al., 2019) lists them; the offsets to pixels were measured.
_OPPONENT_SCORE, _OWN_SCORE = 13, 14
_BALL_X, _BALL_Y, _OPPONENT_Y, _PADDLE_Y = 49, 54, 50, 51
_BALL_LEFT, _BALL_TOP = 49, 14
# A paddle is 16 pixels high; its middle is 8 below its top.
_PADDLE_MIDDLE, _OPPONENT_MIDDLE = 13 - 8, 15 - 8

_RULES = (
    "You play table tennis on a screen of 160 x 210 pixels; x is counted from the left, y from the "
    "top. Your paddle is at the right edge (x 140), the opponent's at the left (x 16); both are 16 "
    "pixels high and move up and down only. You score 1 when the ball passes the opponent, and "
    "lose 1 when it passes you. The game is over when one side has 21 points."
)
_MEANING = (
    "Positions are pixels: of the ball its upper left corner, of the paddles their middle. ball_dx "
    "and ball_dy are the pixels that it moved since the last step, right and down being positive; "
    "None where that is not known. Without a ball in play its position is None."
)
_ACTIONS = (
    "stay", "stay and fire", "move up", "move down", "move up and fire", "move down and fire",
)  # fmt: skip


def _facts(ram: Ram, before: Ram | None) -> Facts:
    in_play = ram[_BALL_Y] != 0
    dx, dy = _motion(ram, before)
    return {
        "ball_in_play": in_play,
        "ball_x": ram[_BALL_X] - _BALL_LEFT if in_play else None,
        "ball_y": ram[_BALL_Y] - _BALL_TOP if in_play else None,
        "ball_dx": dx,
        "ball_dy": dy,
        "ball_towards_you": None if dx is None else dx > 0,
        "paddle_y": ram[_PADDLE_Y] - _PADDLE_MIDDLE,
        "opponent_y": ram[_OPPONENT_Y] - _OPPONENT_MIDDLE,
        "score": ram[_OWN_SCORE],
        "opponent_score": ram[_OPPONENT_SCORE],
    }


def _motion(ram: Ram, before: Ram | None) -> tuple[int | None, int | None]:
    """Return how the ball moved, None where it was not in play all the time."""
    if before is None or not before[_BALL_Y] or not ram[_BALL_Y]:
        return None, None
    scores = (_OPPONENT_SCORE, _OWN_SCORE)
    if any(ram[address] != before[address] for address in scores):
        return None, None
    return ram[_BALL_X] - before[_BALL_X], ram[_BALL_Y] - before[_BALL_Y]


def _sentence(facts: Facts) -> str:
    paddles = (
        f"Your paddle is at y {facts['paddle_y']}, the opponent's at y {facts['opponent_y']}. "
        f"The score is {facts['score']} to {facts['opponent_score']}."
    )
    if not facts["ball_in_play"]:
        return f"There is no ball in play. {paddles}"
    where = f"The ball is at x {facts['ball_x']}, y {facts['ball_y']}"
    return f"{where}{_moving(facts)}. {paddles}"


def _moving(facts: Facts) -> str:
    dx, dy = facts["ball_dx"], facts["ball_dy"]
    if not isinstance(dx, int) or not isinstance(dy, int):
        return ""
    parts = [
        f"{abs(by)} pixels {names[by > 0]} per step"
        for by, names in ((dx, ("left", "right")), (dy, ("up", "down")))
        if by
    ]
    if not parts:
        return ", not moving"
    towards = ("", ", towards you", ", away from you")[(dx > 0) - (dx < 0)]
    return f", moving {' and '.join(parts)}{towards}"


PONG = AtariGame(_RULES, _MEANING, _ACTIONS, _facts, _sentence)
