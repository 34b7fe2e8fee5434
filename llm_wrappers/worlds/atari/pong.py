"""Pong: how it is read from memory, and a rule for where to be when the ball arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_wrappers.captions.captioner import Facts, FactValue
from llm_wrappers.worlds.atari.games import AtariGame, Ram

__all__ = ["ACTION_NAMES", "PONG", "atari_pong", "change", "pong_sentence", "reference_action"]

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
ACTION_NAMES = (
    "stay", "stay and fire", "move up", "move down", "move up and fire", "move down and fire",
)  # fmt: skip
"""The six actions of `gymnasium.make`, the only ones that the rule below knows."""


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


PONG = AtariGame(_RULES, _MEANING, ACTION_NAMES, _facts, pong_sentence)


_STAY, _UP, _DOWN = 0, 2, 3
# The two actions that fire do in Pong what those without do.
_SAME_AS = {0: _STAY, 1: _STAY, 2: _UP, 3: _DOWN, 4: _UP, 5: _DOWN}
# Measured on the game: the left edge of a ball that hits the paddle, the first and the last row of
# its upper edge, and the middle of the field.
_CONTACT_X, _TOP, _BOTTOM, _MIDDLE = 139, 34, 190, 112
# The middle of the ball lies so far below its upper edge.
_BALL_MIDDLE = 2
# Our choice, by the return of play: a paddle coasts on for about this share of its last step, and
# meets a ball that is no further off than this.
_COASTING, _NEAR_ENOUGH = 0.6, 7


def atari_pong(facts: Mapping[str, Any], action: Any) -> int:
    """Judge a move in Pong: +1 if it is `reference_action`, -1 if not, 0 if no ball comes.

    Made for LMGT (arXiv 2409.04744). It reads the facts of either captioner of Pong, and knows
    `ACTION_NAMES`, the six actions of `gymnasium.make`: ``"reference"`` is refused with
    ``full_action_space=True``, where indices mean other moves.

    >>> coming = {"ball_x": 100, "ball_y": 60, "ball_dx": 4, "ball_dy": 0, "ball_towards_you": True}
    >>> facts = {**coming, "paddle_y": 120, "paddle_dy": 0}
    >>> [atari_pong(facts, action) for action in range(6)]
    [-1, -1, 1, -1, 1, -1]
    """
    if not facts["ball_towards_you"] or int(action) not in _SAME_AS:
        return 0
    return 1 if _SAME_AS[int(action)] == reference_action(facts) else -1


def reference_action(facts: Mapping[str, Any]) -> int:
    """Return the action that takes the paddle to where the ball will arrive.

    Walls reflect the ball. While it flies away, or none is in play, the paddle goes to the middle.

    Args:
        facts: Those of a captioner of Pong; positions in pixels, motion in pixels per step.

    Returns:
        0 (stay), 2 (up) or 3 (down) of the six actions.

    >>> reference_action(
    ...     {"ball_x": 99, "ball_y": 180, "ball_dx": 4, "ball_dy": 4, "ball_towards_you": True,
    ...      "paddle_y": 120, "paddle_dy": 0}
    ... )
    3
    """
    if facts["paddle_y"] is None:
        return _STAY
    wanted = _arrival(facts) if facts["ball_towards_you"] else _MIDDLE
    off = wanted - facts["paddle_y"] - _COASTING * (facts["paddle_dy"] or 0)
    if abs(off) <= _NEAR_ENOUGH:
        return _STAY
    return _DOWN if off > 0 else _UP


def _arrival(facts: Mapping[str, Any]) -> float:
    """Return the row of the middle of the ball when it is at the paddle."""
    steps = max(_CONTACT_X - facts["ball_x"], 0) / facts["ball_dx"]
    height = _BOTTOM - _TOP
    # Unfolded, a path between two walls is a straight line.
    unfolded = (facts["ball_y"] + facts["ball_dy"] * steps - _TOP) % (2 * height)
    return float(_TOP + min(unfolded, 2 * height - unfolded) + _BALL_MIDDLE)
