"""The fidelity benchmark runs and reports; what it measures is not tested here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ultra_fidelity.py"
TINY = [
    "--steps",
    "512",
    "--mask-steps",
    "256",
    "--episodes",
    "2",
    "--repeats",
    "1",
    "--seeds",
    "2",
]


@pytest.mark.slow
def test_one_command_compares_all_selectors() -> None:
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *TINY], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "higher is better" in process.stdout
    rows = [line.split("|")[1].strip() for line in process.stdout.splitlines() if "(" in line[30:]]
    assert {"random", "return-drop", "value-gap", "state-mask:256"} <= set(rows)
