"""What the tests of all worlds share."""

import subprocess
import sys

import pytest
from crafter_stages import CraftaxStage, CrafterStage


@pytest.fixture(scope="session")
def run_python():
    """Return a function that runs code in a process of its own, and returns what it prints."""

    def run(code):
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session", params=[CrafterStage, CraftaxStage], ids=["crafter", "craftax"])
def stage(request):
    """A scene of Crafter, and one of Craftax-Classic, in which any action can be tried."""
    return request.param()
