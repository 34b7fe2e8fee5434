"""A process that is stopped while it writes trajectories leaves whole files only."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from llm_wrappers.trajectories.files import append_trajectory, open_trajectories

WRITER = textwrap.dedent(
    """
    import sys
    import numpy as np
    from llm_wrappers.trajectories.trajectory import Trajectory
    from llm_wrappers.trajectories.files import append_trajectory

    noise = np.random.default_rng(0).random((2001, 100))
    number = 0
    while True:
        append_trajectory(
            Trajectory(noise, noise[1:], noise[1:, 0], True, False, seed=number), sys.argv[1]
        )
        number += 1
        print(number, flush=True)
    """
)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_writer_that_is_stopped_leaves_whole_files_only(tmp_path: Path, kind: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(3)]
    # In the middle of the next file, which takes about 100 ms.
    _wait_for_half_a_file(tmp_path)
    writer.send_signal(kind)
    rest, errors = writer.communicate(timeout=20)
    said += [int(line) for line in rest.split()]
    assert writer.returncode != 0
    found = open_trajectories(tmp_path)
    assert [each.seed for each in found] == list(range(len(found)))
    assert said[-1] <= len(found) <= said[-1] + 1
    left = [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    if kind == signal.SIGINT:
        assert "KeyboardInterrupt" in errors
        assert not left
    append_trajectory(found[0], tmp_path)
    assert open_trajectories(tmp_path)[-1].seed == 0


def _wait_for_half_a_file(folder: Path) -> None:
    for _ in range(100_000):
        if any(path.suffix == ".tmp" for path in folder.iterdir()):
            return
    raise AssertionError("the writer wrote nothing")
