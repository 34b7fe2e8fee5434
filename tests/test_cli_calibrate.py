"""`llm-wrappers calibrate`, as a user types it."""

from __future__ import annotations

import pytest

from llm_wrappers.cli import main

DOORKEY = "minigrid:MiniGrid-DoorKey-5x5-v0"


def test_it_plays_and_prints_a_threshold(capsys):
    arguments = ["calibrate", "--env", DOORKEY, "--steps", "60", "--seed", "3"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "encoder: hashing:256" in first
    assert "9 goals, " in first
    assert "  ~  " in first
    assert "threshold 0.9" in first
    main(arguments)
    assert capsys.readouterr().out == first


def test_goals_encoder_and_matches_are_given(capsys):
    arguments = ["calibrate", "--env", "CartPole-v1", "--encoder", "hashing:64", "--steps", "40"]
    goals = ["--goals", "keep the pole up", "go left"]
    assert main([*arguments, *goals]) == 0
    shown = capsys.readouterr().out
    assert "encoder: hashing:64" in shown
    assert "2 goals, " in shown
    caption = next(line for line in shown.splitlines() if "  ~  " in line).split("  ")[2]
    assert main([*arguments, *goals, "--match", "go left", caption]) == 0
    assert "of 1 matches missed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "CartPole-v1"], "CartPole-v1 describes no goals: pass them with --goals"),
        (["--env", "CartPole-v1", "--encoder", "word2vec"], "expected one of one-hot, hashing"),
        (["--env", "Nowhere-v1"], "Nowhere"),
        (
            ["--env", "CartPole-v1", "--goals", "up", "--match", "up", "fly"],
            "a goal and a caption given, got ('up', 'fly')",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments, message, capsys):
    assert main(["calibrate", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
