"""The look-up benchmark runs and reports; what it measures is not tested here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ultra_lookup.py"


def test_one_command_prints_the_table() -> None:
    process = subprocess.run(
        [sys.executable, str(SCRIPT), "--steps", "40", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    assert "A table of 1,000 critical states, 40 steps, median of 1 rounds" in process.stdout
    lines = [line for line in process.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    kinds = ["exact", "rounded", "bins", "nearest"]
    assert [(row[0], row[1].partition(":")[0]) for row in rows] == [
        (env_id, kind) for env_id in ("Hopper-v5", "Ant-v5") for kind in kinds
    ]
    found = {(row[0], row[1]): float(row[2].rstrip("%")) for row in rows}
    assert found["Hopper-v5", "exact"] == 0.0
    assert found["Hopper-v5", "rounded:0"] > 0.0
    for row in rows:
        assert all(float(cell) > 0 for cell in row[3:])
