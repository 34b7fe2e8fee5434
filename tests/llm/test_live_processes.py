"""Live sources in worker processes, in forked children, and when the interpreter ends."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from live_doubles import PlainHttp
from stable_baselines3.common.vec_env import SubprocVecEnv

from llm_wrappers.llm import LLM, LiveSource
from llm_wrappers.testing.llm_server import LLMServer

TEXTS = [f"state {number}" for number in range(20)]


class GuidedEnv(gym.Env):
    """Walks through the texts from a place of its own; observes its source's answer, -1 if none."""

    observation_space = gym.spaces.Box(-1, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, source, first):
        self.source = source
        self.first = first

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.first
        return self._observation(), {}

    def step(self, action):
        self.place += 1
        return self._observation(), 0.0, False, False, {}

    def stats(self):
        return self.source.stats()

    def _observation(self):
        number = self.place % len(TEXTS)
        (answer,) = self.source.answers([TEXTS[number]])
        return np.array([number, -1 if answer is None else answer], np.float32)


def as_number(answer):
    return int(answer.text)


class Guided:
    """Makes an environment in a worker."""

    def __init__(self, source, first):
        self.source = source
        self.first = first

    def __call__(self):
        return GuidedEnv(self.source, self.first)


def in_workers(source, start_method, workers=4):
    """Return what the workers see, shape (steps, workers, 2), and their counters."""
    if start_method == "forkserver":
        # Imported once in the server and not in each worker; that saves seconds.
        multiprocessing.set_forkserver_preload(["stable_baselines3"])
    environments = SubprocVecEnv(
        [Guided(source, first=5 * i) for i in range(workers)], start_method=start_method
    )
    try:
        steps = [environments.reset()]
        actions = np.zeros(workers, dtype=int)
        deadline = time.monotonic() + 60
        while len(steps) < len(TEXTS) or (steps[-1][:, 1] < 0).any():
            steps.append(environments.step(actions)[0])
            assert time.monotonic() < deadline, "waited in vain"
        stats = environments.env_method("stats")
    except BaseException:
        for process in environments.processes:
            process.kill()
        raise
    environments.close()
    return np.array(steps), stats


def numbered():
    """Return a function that answers each question with another number."""
    counter = iter(range(1000, 2000))
    return lambda body: str(next(counter))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("start_method", "workers"),
    [
        ("fork", 4),
        pytest.param("forkserver", 4, marks=pytest.mark.slow),
        pytest.param("spawn", 2, marks=pytest.mark.slow),
    ],
)
def test_workers_that_share_a_cache_ask_each_question_once_altogether(
    start_method, workers, tmp_path
):
    with LLMServer(numbered(), latency=0.02) as server:
        llm = LLM("test", cache=tmp_path / "answers.sqlite", transport=PlainHttp(server.api_base))
        source = LiveSource(llm, prompt=str, parse=as_number, purpose="goals", on_miss="block")
        steps, stats = in_workers(source, start_method, workers)
        llm.close()
    assert server.count == len(TEXTS)
    seen = steps.reshape(-1, 2)
    assert len({(number, answer) for number, answer in seen}) == len(TEXTS)
    assert seen[:, 1].min() >= 1000
    for each in stats:
        assert each["share_answered"] == 1
        assert each["failures"] == 0


def run_script(script, *arguments):
    """Run a script in an interpreter of its own, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


WITH_PENDING = """
import os, sys, time
from live_doubles import PlainHttp
from llm_wrappers.llm import LLM, LiveSource

llm = LLM("test", cache=sys.argv[2], transport=PlainHttp(sys.argv[1]))
source = LiveSource(llm, prompt=str, purpose="goals", on_miss="background")
texts = [f"state {number}" for number in range(int(sys.argv[3]))]
source.answers(texts)
assert source.stats()["pending"] == len(texts)
time.sleep(0.5)
"""


def test_an_interpreter_ends_although_fifty_slow_answers_are_pending(tmp_path):
    with LLMServer("late", latency=20) as server:
        (ended,) = run_script(
            WITH_PENDING + "print(time.time())",
            server.api_base,
            tmp_path / "answers.sqlite",
            50,
        )
        assert time.time() - float(ended) < 10
        assert 0 < server.count <= 8


@pytest.mark.slow
def test_a_forked_child_asks_for_itself(tmp_path):
    with LLMServer("answer", latency=1.5) as server:
        printed = run_script(
            WITH_PENDING
            + """
child = os.fork() == 0
assert not (child and source.stats()["pending"])
asked = ["state 0", "of the child" if child else "of the parent"]
while None in (answers := source.answers(asked)):
    time.sleep(0.05)
os.write(1, f"{child} {answers}\\n".encode())  # in one piece
source.close()
if not child:
    os.wait()
""",
            server.api_base,
            tmp_path / "answers.sqlite",
            5,
        )
    assert sorted(printed) == ["False ['answer', 'answer']", "True ['answer', 'answer']"]
