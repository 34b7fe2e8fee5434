"""Short rollouts, little learning and one thread, for tests of everything else."""

from typing import Any

import pytest
import torch

from llm_wrappers.demo import training


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for option, value in {"n_steps": 16, "batch_size": 64, "n_epochs": 1}.items():
            patch.setitem(training.PPO_OPTIONS, option, value)
        yield
