"""`RunReportCallback`: what a run did and what its model cost, in a file, however it ends."""

from __future__ import annotations

import csv
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import llm_wrappers
from llm_wrappers import GoalObservationWrapper, RewardShiftWrapper
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance import GuidanceArtefact, Provenance, save_artefact
from llm_wrappers.llm import Completion
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.sb3 import RunReportCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv, ScriptedLLM
from llm_wrappers.wrappers import vector

GOALS = ["rest", "act"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "report.json"


class Asks(gym.Wrapper):
    """Asks a model at every so manyth step, and may fail at one of them."""

    def __init__(
        self, env: gym.Env, llm: Any, *, every: int = 10, error: Any = None, at: int = 0
    ) -> None:
        super().__init__(env)
        self.llm, self.every, self.error, self.at = llm, every, error, at
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == self.at:
            raise self.error
        if self.steps % self.every == 0:
            self.llm.ask(f"Was step {self.steps} good?", purpose="judge")
        return self.env.step(action)


class Reader(BaseCallback):
    """Notes what is in the file after each rollout."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.seen: list[tuple[str, int]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        report = json.loads(self.path.read_text())
        self.seen.append((report["status"], report["env_steps"]["run"]))


def answering(dollars: float | None = 0.25) -> ScriptedLLM:
    completion = Completion(text="yes", prompt_tokens=7, completion_tokens=1, dollars=dollars)
    return ScriptedLLM(lambda request: completion)


def asking(llm: Any, **options: Any) -> gym.Env:
    return Asks(gym.make("CartPole-v1"), llm, **options)


def small_ppo(env: Any, policy: str = "MlpPolicy") -> PPO:
    return PPO(policy, env, n_steps=50, batch_size=50, n_epochs=1, seed=3, device="cpu")


def planner(facts: Any) -> Any:
    return [[("act", 1.0)] for _ in facts]


def make_guided() -> gym.Env:
    return GoalObservationWrapper(ScriptedEnv(), planner=planner, goals=GOALS)


def make_guided_vector() -> Any:
    envs = SyncVectorEnv([ScriptedEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return vector.GoalObservationWrapper(envs, planner=planner, goals=GOALS)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def written(author: str, usage: dict[str, Any]) -> GuidanceArtefact:
    where = Provenance(author=author, environment="CartPole-v1", usage=usage)
    return GuidanceArtefact(provenance=where, masks={"go left": [0]})


WRITING = Usage((("plan", Counts(calls=4, prompt_tokens=90, dollars=0.5)),)).as_dict()


# --- figures ---


def test_what_ran_and_calls_tokens_and_dollars_of_a_million_steps(path: Path) -> None:
    llm = answering()
    llm.ask("before", purpose="judge")
    callback = RunReportCallback(path, llms=[llm, llm])
    small_ppo(asking(llm)).learn(200, callback=callback)
    report = read(path)
    assert report == callback.figures == callback.figures
    assert report["status"] == "finished"
    assert report["env_steps"] == {"run": 200, "reported": 200, "model": 200}
    judged = report["llm"]["training"]["purposes"]["judge"]
    # 20 questions of 8 tokens for a quarter of a dollar; the one before does not count.
    assert (judged["calls"], judged["tokens"], judged["dollars"]) == (20, 160, 5.0)
    assert report["llm"]["training"]["total"] == judged
    rates = {"calls": 100_000.0, "tokens": 800_000.0, "dollars": 25_000.0}
    assert report["llm"]["per_1m_env_steps"] == {"training": rates, "with_authoring": rates}
    assert (report["algorithm"], report["num_envs"], report["seed"]) == ("PPO", 1, 3)
    assert report["versions"]["llm_wrappers"] == llm_wrappers.__version__
    assert report["versions"]["gymnasium"] == gym.__version__
    speed = report["env_steps"]["run"] / report["seconds"]["run"]
    assert report["steps_per_second"] == pytest.approx(speed)


@pytest.mark.parametrize(
    ("kind", "training", "rates"),
    [
        ("no price", {"calls": 5, "dollars": None}, {"calls": 100_000.0, "dollars": None}),
        ("never asked", {"calls": 0, "dollars": 0.0}, {"calls": 0.0, "dollars": 0.0}),
        ("no client", None, None),
    ],
)
def test_what_is_unknown_is_null_and_never_zero(
    kind: str, training: Any, rates: Any, path: Path, tmp_path: Path
) -> None:
    llm = answering(dollars=None)
    model = small_ppo(asking(llm) if kind == "no price" else "CartPole-v1")
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(50, callback=RunReportCallback(path, llms=[] if kind == "no client" else [llm]))
    model.logger.close()
    found = read(path)["llm"]
    if training is None:
        assert read(path)["guidance"] is None
        assert found["training"] is None
        assert found["per_1m_env_steps"] == {"training": None, "with_authoring": None}
    else:
        assert training.items() <= found["training"]["total"].items()
        assert rates.items() <= found["per_1m_env_steps"]["training"].items()
    header = (tmp_path / "progress.csv").read_text().splitlines()[0]
    assert ("llm/calls" in header) == (kind != "no client")
    assert ("llm/dollars" in header) == (kind == "never asked")


@pytest.mark.parametrize(
    "make",
    [
        lambda: DummyVecEnv([make_guided] * 2),
        lambda: SubprocVecEnv([make_guided] * 2, start_method="fork"),
        lambda: as_vec_env(make_guided_vector()),
    ],
    ids=["dummy", "subproc", "vector"],
)
def test_counters_are_summed_over_sub_environments_and_of_this_training(
    path: Path, make: Any
) -> None:
    vec_env = make()
    model = small_ppo(vec_env, "MultiInputPolicy").learn(100)
    model.learn(100, callback=RunReportCallback(path))
    report = read(path)["guidance"]
    vec_env.close()
    found = report["counters"]["GoalObservationWrapper"]
    # 100 steps in both together; the states after the ends of episodes come on top.
    assert 100 <= found["states"] < 200
    assert found["goal_steps"] == {"rest": 0, "act": found["states"]}
    assert report["as_of_env_steps"] == 100


def test_off_policy_and_the_log(path: Path, tmp_path: Path) -> None:
    llm = answering()
    model = DQN("MlpPolicy", asking(llm), learning_starts=20, buffer_size=100, train_freq=50)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(100, callback=RunReportCallback(path, llms=[llm]), log_interval=1)
    model.logger.close()
    assert read(path)["env_steps"]["run"] == 100
    assert read(path)["llm"]["training"]["total"]["calls"] == 10
    rows = list(csv.DictReader((tmp_path / "progress.csv").read_text().splitlines()))
    seen = [[row[f"llm/{name}"] for name in ("calls", "tokens", "dollars")] for row in rows]
    *_, (calls, tokens, dollars) = [tuple(map(float, each)) for each in seen if all(each)]
    assert (tokens, dollars) == (8 * calls, 0.25 * calls)


def test_what_writing_cost_is_added(path: Path, tmp_path: Path) -> None:
    folder = save_artefact(written("some/model", WRITING), tmp_path / "guidance")
    llm = answering()
    callback = RunReportCallback(path, llms=[llm], artefacts=[folder])
    small_ppo(asking(llm)).learn(100, callback=callback)
    found = read(path)["llm"]
    (entry,) = found["authoring"]
    assert (entry["author"], entry["usage"]["total"]["tokens"]) == ("some/model", 90)
    assert found["per_1m_env_steps"]["training"]["dollars"] == 25_000
    assert found["per_1m_env_steps"]["with_authoring"] == {
        "calls": 140_000.0, "tokens": 1_700_000.0, "dollars": 30_000.0,
    }  # fmt: skip
    nothing = dict.fromkeys(("calls", "tokens", "dollars"), 0.0)
    for author, rates in (("hand", nothing), ("some/model", None)):
        # By hand it costs nothing; of a model without a record nobody knows.
        callback = RunReportCallback(path, artefacts=[written(author, {})])
        small_ppo("CartPole-v1").learn(50, callback=callback)
        assert read(path)["llm"]["per_1m_env_steps"]["with_authoring"] == rates


def test_a_judge_is_reported_with_how_good_it_was(path: Path) -> None:
    env = RewardShiftWrapper(gym.make("CartPole-v1"), judge="noisy:0.5", audit_against="oracle")
    callback = RunReportCallback(path)
    small_ppo(DummyVecEnv([lambda: env])).learn(100, callback=callback)
    guidance = callback.figures["guidance"]
    counted = guidance["counters"]["RewardShiftWrapper"]
    shares = guidance["latest"]["RewardShiftWrapper"]
    assert counted["compared"] == counted["judged"] >= 100
    assert 0.3 < shares["agreement"] < 0.7
    assert shares["share_good"] + shares["share_bad"] == pytest.approx(1.0)
    assert "agreement" in callback.summary()


def test_training_is_the_same_with_it_and_the_summary_is_printed_where_wanted(
    path: Path, capsys: Any
) -> None:
    def make(llm: Any) -> PPO:
        return small_ppo(DummyVecEnv([lambda: Asks(make_guided(), llm)]), "MultiInputPolicy")

    plain = make(answering()).learn(100)
    assert capsys.readouterr().out == ""
    llm = answering(dollars=None)
    options = {"llms": [llm], "artefacts": [written("some/model", WRITING)], "every": 1}
    callback = RunReportCallback(path, **options, verbose=1)
    reported = make(llm).learn(100, callback=callback)
    for name, value in plain.policy.state_dict().items():
        np.testing.assert_array_equal(value, reported.policy.state_dict()[name])
    text = capsys.readouterr().out
    assert text.strip() == callback.summary().strip()
    assert "Training finished: 100 environment steps" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["training: judge", "10", "0", "0", "80", "unknown"] in rows
    assert ["training, per 1,000,000 steps", "100000", "", "", "800000", "unknown"] in rows
    assert ["writing, by some/model", "4", "0", "0", "90", "0.5"] in rows
    assert ["GoalObservationWrapper", "goal_steps: rest", "0"] in rows


# --- the file ---


def test_it_is_written_after_the_first_rollout_and_every_so_many(path: Path) -> None:
    reader = Reader(path)
    callback = RunReportCallback(path, every=2)
    small_ppo("CartPole-v1").learn(250, callback=[callback, reader])
    assert [steps for _, steps in reader.seen] == [50, 50, 150, 150, 250]
    assert {status for status, _ in reader.seen} == {"running"}
    assert read(path)["status"] == "finished"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_it_is_whole_whenever_it_is_read(path: Path) -> None:
    done, seen = threading.Event(), []

    def watch() -> None:
        while not done.is_set():
            if path.exists():
                seen.append(read(path)["env_steps"]["run"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, n_epochs=1)
        model.learn(800, callback=RunReportCallback(path, every=1))
    finally:
        done.set()
        watcher.join()
    assert seen == sorted(seen)


def test_it_goes_on_from_the_file_in_this_callback_and_in_another(path: Path) -> None:
    llm, hand = answering(), written("hand", {})
    model = small_ppo(DummyVecEnv([lambda: Asks(make_guided(), llm)]), "MultiInputPolicy")
    callback = RunReportCallback(path, llms=[llm], artefacts=[hand])
    model.learn(100, callback=callback)
    before = read(path)
    model.learn(50, callback=callback, reset_num_timesteps=False)
    report = read(path)
    assert report["env_steps"] == {"run": 50, "reported": 150, "model": 150}
    assert report["llm"]["training"]["total"]["calls"] == 15
    assert report["llm"]["per_1m_env_steps"]["training"]["calls"] == 100_000
    seconds = before["seconds"]["reported"] + report["seconds"]["run"]
    assert report["seconds"]["reported"] == pytest.approx(seconds)
    model.learn(50, callback=RunReportCallback(path, artefacts=[hand]), reset_num_timesteps=False)
    report = read(path)
    assert report["env_steps"] == {"run": 50, "reported": 200, "model": 200}
    states = [
        each["guidance"]["counters"]["GoalObservationWrapper"]["states"]
        for each in (before, report)
    ]
    assert states[0] + 100 <= states[1] < states[0] + 150
    assert len(report["llm"]["authoring"]) == 1
    assert report["llm"]["training"]["total"]["calls"] == 15
    # A new training starts anew, and steps before it are not its own.
    model.learn(50, callback=RunReportCallback(path))
    assert read(path)["env_steps"] == {"run": 50, "reported": 50, "model": 50}
    path.unlink()
    model.learn(50, callback=RunReportCallback(path), reset_num_timesteps=False)
    assert read(path)["env_steps"] == {"run": 50, "reported": 50, "model": 100}


# --- the end ---


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (ValueError("broken"), "failed")],
    ids=["ctrl-c", "exception"],
)
def test_the_context_tells_how_it_ended(path: Path, error: Any, status: str) -> None:
    llm = answering()
    model = small_ppo(asking(llm, error=error, at=121))
    with pytest.raises(type(error)), RunReportCallback(path, llms=[llm]) as callback:
        model.learn(500, callback=callback)
    report = read(path)
    assert (report["status"], report["error"]) == (status, type(error).__name__)
    assert report["env_steps"]["run"] == 120
    assert report["llm"]["training"]["total"]["calls"] == 12


def test_close_tells_that_it_stopped_and_training_can_go_on(path: Path) -> None:
    model = small_ppo(asking(answering(), error=ValueError("broken"), at=71))
    callback = RunReportCallback(path)
    with pytest.raises(ValueError, match="broken"):
        model.learn(100, callback=callback)
    assert read(path)["status"] == "running"
    # A fork does not tell.
    child = os.fork()
    if child == 0:
        callback.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert read(path)["status"] == "running"
    callback.close()
    callback.close()
    assert (read(path)["status"], read(path)["env_steps"]["run"]) == ("stopped", 70)
    model.learn(50, callback=callback, reset_num_timesteps=False)
    assert read(path)["env_steps"]["reported"] == 120


@pytest.mark.slow
def test_the_end_of_python_tells_it_too(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal
            import gymnasium as gym
            from stable_baselines3 import PPO
            from llm_wrappers.sb3 import RunReportCallback

            class Stops(gym.Wrapper):
                steps = 0
                def step(self, action):
                    self.steps += 1
                    if self.steps == 81:
                        os.kill(os.getpid(), signal.SIGINT)
                    return self.env.step(action)

            signal.signal(signal.SIGINT, signal.default_int_handler)
            model = PPO("MlpPolicy", Stops(gym.make("CartPole-v1")), n_steps=50, batch_size=50)
            model.learn(10_000, callback=RunReportCallback({str(path)!r}))
            """
        )
    )
    ended = subprocess.run(
        [sys.executable, str(script)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in ended.stderr
    assert (read(path)["status"], read(path)["env_steps"]["run"]) == ("stopped", 80)


def test_the_end_of_the_callback_tells_it_too(path: Path) -> None:
    model = small_ppo(asking(answering(), error=ValueError("broken"), at=71))
    with pytest.raises(ValueError, match="broken"):
        model.learn(100, callback=RunReportCallback(path))
    del model
    gc.collect()
    assert (read(path)["status"], read(path)["env_steps"]["run"]) == ("stopped", 70)


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, InvalidOptionError, "every.*got"),
        ({"every": True}, InvalidOptionError, "every.*got"),
        ({"llms": ["openai/gpt-5-mini"]}, InvalidOptionError, "llms.*got"),
        ({"llms": answering()}, InvalidOptionError, "list of LLM clients"),
        ({"artefacts": "folder"}, InvalidOptionError, "artefacts.*got"),
        ({"artefacts": [3]}, InvalidOptionError, "artefacts.*got"),
        ({"artefacts": ["no-such"]}, GuidanceFileError, "no-such"),
        (
            {"artefacts": [written("m", {"purposes": {"plan": 3}})]},
            InvalidOptionError,
            r"Usage\.as_dict",
        ),
        ({"artefacts": [written("m", {"purposes": [1]})]}, InvalidOptionError, r"Usage\.as_dict"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work(path: Path, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        RunReportCallback(path, **options)


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"format": 2}', '{"format": 1}'])
def test_a_file_of_something_else_is_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InvalidOptionError, match="run report"):
        RunReportCallback(path)
    assert path.read_text() == text


def test_a_summary_needs_a_training(path: Path) -> None:
    callback = RunReportCallback(path)
    assert callback.figures == {}
    with pytest.raises(InvalidOptionError, match="learn"):
        callback.summary()
