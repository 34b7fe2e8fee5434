"""Pong, read from memory."""

from __future__ import annotations

from collections.abc import Sequence

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.atari.game import AtariGame, Ram

__all__ = ["PONG", "change", "pong_sentence"]

# Addresses as AtariARI (Anand et al., 2019) lists them; the offsets to pixels were measured.
_OPPONENT_SCORE, _OWN_SCORE = 13, 14
_BALL_X, _BALL_Y, _OPPONENT_Y, _PADDLE_Y = 49, 54, 50, 51
_BALL_LEFT, _BALL_TOP = 49, 14
# A paddle is 16 pixels high; its middle is 8 below its top.
_PADDLE_MIDDLE, _OPPONENT_MIDDLE = 13 - 8, 15 - 8
# The opponent waits above the field while there is no ball.
_FIRST_ROW, _HALF_PADDLE = 34, 8

_RULES = (
    "You play table tennis on a screen of 160 x 210 pixels; x is counted from the left, y from the "
    "top. Your paddle is at the right edge (x 140), the opponent's at the left (x 16); both are 16 "
    "pixels high and move up and down only. You score 1 when the ball passes the opponent, and "
    "lose 1 when it passes you. The game is over when one side has 21 points."
)
_MEANING = (
    "Positions are pixels: of the ball its upper left corner, of the paddles their middle. "
    "ball_dx, ball_dy, paddle_dy and opponent_dy are the pixels moved since the last step, right "
    "and down being positive; None where that is not known. ball_towards_you is None also where "
    "the ball did not move sideways. Without a ball in play its position is None; that of the "
    "opponent is None while he is above the field, out of sight."
)
_ACTIONS = (
    "stay", "stay and fire", "move up", "move down", "move up and fire", "move down and fire",
)  # fmt: skip


def _facts(ram: Ram, before: Ram | None) -> Facts:
    in_play = _in_play(ram)
    dx, dy = _motion(ram, before)
    own, opponent = _own_y(ram), _opponent_y(ram)
    return {
        "ball_in_play": in_play,
        "ball_x": ram[_BALL_X] - _BALL_LEFT if in_play else None,
        "ball_y": ram[_BALL_Y] - _BALL_TOP if in_play else None,
        "ball_dx": dx,
        "ball_dy": dy,
        "ball_towards_you": dx > 0 if dx else None,
        "paddle_y": own,
        "paddle_dy": None if before is None else change(own, _own_y(before)),
        "opponent_y": opponent,
        "opponent_dy": None if before is None else change(opponent, _opponent_y(before)),
        "score": ram[_OWN_SCORE],
        "opponent_score": ram[_OPPONENT_SCORE],
    }


def change(now: int | None, before: int | None) -> int | None:
    """Return by how much a position changed, None where one is not known."""
    return None if now is None or before is None else now - before


def _in_play(ram: Ram) -> bool:
    # Right after a reset the memory holds a ball that lies outside of the picture.
    return ram[_BALL_Y] != 0 and ram[_BALL_X] >= _BALL_LEFT


def _own_y(ram: Ram) -> int:
    return ram[_PADDLE_Y] - _PADDLE_MIDDLE


def _opponent_y(ram: Ram) -> int | None:
    middle = ram[_OPPONENT_Y] - _OPPONENT_MIDDLE
    return middle if middle + _HALF_PADDLE > _FIRST_ROW else None


def _motion(ram: Ram, before: Ram | None) -> tuple[int | None, int | None]:
    """Return how the ball moved, None where it was not in play all the time."""
    if before is None or not _in_play(before) or not _in_play(ram):
        return None, None
    scores = (_OPPONENT_SCORE, _OWN_SCORE)
    if any(ram[address] != before[address] for address in scores):
        return None, None
    return ram[_BALL_X] - before[_BALL_X], ram[_BALL_Y] - before[_BALL_Y]


def pong_sentence(facts: Facts) -> str:
    """Return ball, paddles and, where it is known, the score in words."""
    sentences = [_ball(facts), _paddles(facts)]
    if "score" in facts:
        sentences.append(f"The score is {facts['score']} to {facts['opponent_score']}.")
    return " ".join(sentences)


def _ball(facts: Facts) -> str:
    if not facts["ball_in_play"]:
        return "There is no ball in play."
    return f"The ball is at x {facts['ball_x']}, y {facts['ball_y']}{_ball_motion(facts)}."


def _paddles(facts: Facts) -> str:
    own, opponent = (
        "out of sight"
        if facts[f"{name}_y"] is None
        else f"at y {facts[f'{name}_y']}{_moving(_parts(facts[f'{name}_dy'], 'up', 'down'))}"
        for name in ("paddle", "opponent")
    )
    return f"Your paddle is {own}, the opponent's {opponent}."


def _ball_motion(facts: Facts) -> str:
    dx, dy = facts["ball_dx"], facts["ball_dy"]
    if not isinstance(dx, int) or not isinstance(dy, int):
        return ""
    parts = [*_parts(dx, "left", "right"), *_parts(dy, "up", "down")]
    towards = ("", ", towards you", ", away from you")[(dx > 0) - (dx < 0)]
    return f"{_moving(parts)}{towards}" if parts else ", not moving"


def _parts(by: FactValue, negative: str, positive: str) -> list[str]:
    if not isinstance(by, int) or by == 0:
        return []
    unit = "pixel" if abs(by) == 1 else "pixels"
    return [f"{abs(by)} {unit} {positive if by > 0 else negative} per step"]


def _moving(parts: Sequence[str]) -> str:
    return f", moving {' and '.join(parts)}" if parts else ""


PONG = AtariGame(_RULES, _MEANING, _ACTIONS, _facts, pong_sentence)
