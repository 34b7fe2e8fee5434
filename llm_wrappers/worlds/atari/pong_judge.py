"""Where to be when the ball arrives: a rule for Pong, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ACTION_NAMES", "atari_pong", "reference_action"]

ACTION_NAMES = (
    "stay", "stay and fire", "move up", "move down", "move up and fire", "move down and fire",
)  # fmt: skip
"""The actions that the rule knows, as the captioners of Pong name them."""

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
