"""`RunReportCallback`: what a run did and what its model cost, in a file, however it ends."""

from __future__ import annotations

import csv
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
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from llm_wrappers import GoalObservationWrapper, RewardShiftWrapper
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance import GuidanceArtefact, Provenance, save_artefact
from llm_wrappers.llm.completion import Completion
from llm_wrappers.llm.usage import Counts, Usage
from llm_wrappers.sb3 import RunReportCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv, ScriptedLLM
from llm_wrappers.wrappers import vector

GOALS = ["rest", "act"]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


class TestFigures:
    def test_calls_tokens_and_dollars_of_a_million_steps(self, path):
        llm = answering()
        llm.ask("before", purpose="judge")
        callback = RunReportCallback(path, llms=[llm, llm])
        small_ppo(asking(llm)).learn(200, callback=callback)
        report = read(path)
        assert report == callback.figures
        assert report["status"] == "finished"
        assert report["env_steps"] == {"run": 200, "reported": 200, "model": 200}
        judged = report["llm"]["training"]["purposes"]["judge"]
        # 20 questions of 8 tokens for a quarter of a dollar; the one before does not count.
        assert (judged["calls"], judged["tokens"], judged["dollars"]) == (20, 160, 5.0)
        assert report["llm"]["training"]["total"] == judged
        rates = {"calls": 100_000.0, "tokens": 800_000.0, "dollars": 25_000.0}
        assert report["llm"]["per_1m_env_steps"] == {"training": rates, "with_authoring": rates}

    def test_what_ran(self, path):
        import stable_baselines3

        import llm_wrappers

        model = small_ppo(DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2))
        model.learn(100, callback=RunReportCallback(path))
        report = read(path)
        assert (report["algorithm"], report["num_envs"], report["seed"]) == ("PPO", 2, 3)
        versions = report["versions"]
        assert versions["llm_wrappers"] == llm_wrappers.__version__
        assert versions["gymnasium"] == gym.__version__
        assert versions["stable_baselines3"] == stable_baselines3.__version__
        speed = report["env_steps"]["run"] / report["seconds"]["run"]
        assert report["steps_per_second"] == pytest.approx(speed)

    def test_what_is_unknown_is_null(self, path):
        llm = answering(dollars=None)
        small_ppo(asking(llm)).learn(50, callback=RunReportCallback(path, llms=[llm]))
        found = read(path)["llm"]
        assert found["training"]["total"]["calls"] == 5
        assert found["training"]["total"]["dollars"] is None
        assert found["per_1m_env_steps"]["training"]["calls"] == 100_000
        assert found["per_1m_env_steps"]["training"]["dollars"] is None

    def test_without_clients_and_guidance_nothing_is_claimed(self, path):
        small_ppo("CartPole-v1").learn(50, callback=RunReportCallback(path))
        report = read(path)
        assert report["guidance"] is None
        assert report["llm"] == {
            "training": None,
            "authoring": [],
            "per_1m_env_steps": {"training": None, "with_authoring": None},
        }

    def test_a_free_client_that_is_never_asked_cost_nothing(self, path):
        small_ppo("CartPole-v1").learn(50, callback=RunReportCallback(path, llms=[answering()]))
        rates = read(path)["llm"]["per_1m_env_steps"]["training"]
        assert rates == {"calls": 0.0, "tokens": 0.0, "dollars": 0.0}

    @pytest.mark.parametrize(
        "make",
        [
            lambda: DummyVecEnv([make_guided] * 2),
            lambda: SubprocVecEnv([make_guided] * 2),
            lambda: as_vec_env(make_guided_vector()),
        ],
        ids=["dummy", "subproc", "vector"],
    )
    def test_counters_are_summed_over_sub_environments(self, path, make):
        vec_env = make()
        small_ppo(vec_env, "MultiInputPolicy").learn(100, callback=RunReportCallback(path))
        report = read(path)["guidance"]
        vec_env.close()
        found = report["counters"]["GoalObservationWrapper"]
        # 100 steps in both together; the states after the ends of episodes come on top.
        assert 100 <= found["states"] < 200
        assert found["goal_steps"] == {"rest": 0, "act": found["states"]}
        assert report["as_of_env_steps"] == 100

    def test_counters_are_of_this_training(self, path):
        model = small_ppo(DummyVecEnv([make_guided]), "MultiInputPolicy")
        model.learn(200)
        model.learn(50, callback=RunReportCallback(path))
        counted = read(path)["guidance"]["counters"]["GoalObservationWrapper"]
        assert 50 <= counted["states"] < 100

    def test_off_policy(self, path):
        llm = answering()
        model = DQN("MlpPolicy", asking(llm), learning_starts=20, buffer_size=100, train_freq=10)
        model.learn(100, callback=RunReportCallback(path, llms=[llm]))
        assert read(path)["env_steps"]["run"] == 100
        assert read(path)["llm"]["training"]["total"]["calls"] == 10

    def test_the_log(self, path, tmp_path):
        llm = answering()
        model = small_ppo(asking(llm))
        model.set_logger(configure(str(tmp_path), ["csv"]))
        model.learn(100, callback=RunReportCallback(path, llms=[llm]))
        model.logger.close()
        rows = list(csv.DictReader((tmp_path / "progress.csv").read_text().splitlines()))
        names = ("llm/calls", "llm/tokens", "llm/dollars", "llm/calls_per_1m_steps")
        assert [[float(row[name]) for name in names] for row in rows] == [
            [5, 40, 1.25, 100_000],
            [10, 80, 2.5, 100_000],
        ]

    def test_the_log_has_no_dollars_that_nobody_knows(self, path, tmp_path):
        llm = answering(dollars=None)
        model = small_ppo(asking(llm))
        model.set_logger(configure(str(tmp_path), ["csv"]))
        model.learn(50, callback=RunReportCallback(path, llms=[llm]))
        model.logger.close()
        header = (tmp_path / "progress.csv").read_text().splitlines()[0]
        assert "llm/calls" in header
        assert "llm/dollars" not in header

    def test_training_is_the_same_with_it(self, path):
        plain = small_ppo(DummyVecEnv([make_guided]), "MultiInputPolicy")
        plain.learn(100)
        reported = small_ppo(DummyVecEnv([make_guided]), "MultiInputPolicy")
        reported.learn(100, callback=RunReportCallback(path, llms=[answering()], every=1))
        for name, value in plain.policy.state_dict().items():
            np.testing.assert_array_equal(value, reported.policy.state_dict()[name])


class TestAuthoring:
    def written(self, author: str, usage: dict[str, Any]) -> GuidanceArtefact:
        where = Provenance(author=author, environment="CartPole-v1", usage=usage)
        return GuidanceArtefact(provenance=where, masks={"go left": [0]})

    def test_is_added(self, path, tmp_path):
        used = Usage((("plan", Counts(calls=4, prompt_tokens=90, dollars=0.5)),)).as_dict()
        folder = save_artefact(self.written("some/model", used), tmp_path / "guidance")
        llm = answering()
        callback = RunReportCallback(path, llms=[llm], artefacts=[folder])
        small_ppo(asking(llm)).learn(100, callback=callback)
        found = read(path)["llm"]
        (entry,) = found["authoring"]
        assert entry["author"] == "some/model"
        assert entry["usage"]["total"]["tokens"] == 90
        assert found["per_1m_env_steps"]["training"]["dollars"] == 25_000
        assert found["per_1m_env_steps"]["with_authoring"] == {
            "calls": 140_000.0, "tokens": 1_700_000.0, "dollars": 30_000.0,
        }  # fmt: skip

    def test_by_hand_costs_nothing_and_by_a_model_without_a_record_nobody_knows(self, path):
        rates = {}
        for author in ("hand", "some/model"):
            callback = RunReportCallback(path, artefacts=[self.written(author, {})])
            small_ppo("CartPole-v1").learn(50, callback=callback)
            rates[author] = read(path)["llm"]["per_1m_env_steps"]["with_authoring"]
        assert rates["hand"] == {"calls": 0.0, "tokens": 0.0, "dollars": 0.0}
        assert rates["some/model"] is None

    def test_a_record_of_another_form_is_refused(self, path):
        for usage in ({"purposes": {"plan": 3}}, {"purposes": [1]}):
            with pytest.raises(InvalidOptionError, match=r"Usage\.as_dict"):
                RunReportCallback(path, artefacts=[self.written("some/model", usage)])


class TestTheFile:
    def test_is_written_after_the_first_rollout_and_every_so_many(self, path):
        reader = Reader(path)
        callback = RunReportCallback(path, every=2)
        small_ppo("CartPole-v1").learn(250, callback=[callback, reader])
        assert [steps for _, steps in reader.seen] == [50, 50, 150, 150, 250]
        assert {status for status, _ in reader.seen} == {"running"}
        assert read(path)["status"] == "finished"

    def test_is_whole_whenever_it_is_read(self, path):
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
        assert len(set(seen)) > 5
        assert seen == sorted(seen)
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_goes_on_in_the_same_callback(self, path):
        llm = answering()
        model, callback = small_ppo(asking(llm)), RunReportCallback(path, llms=[llm])
        model.learn(100, callback=callback)
        before = read(path)["seconds"]["reported"]
        model.learn(50, callback=callback, reset_num_timesteps=False)
        report = read(path)
        assert report["env_steps"] == {"run": 50, "reported": 150, "model": 150}
        assert report["llm"]["training"]["total"]["calls"] == 15
        assert report["llm"]["per_1m_env_steps"]["training"]["calls"] == 100_000
        assert report["seconds"]["reported"] == pytest.approx(before + report["seconds"]["run"])

    def test_goes_on_from_the_file(self, path, tmp_path):
        hand = TestAuthoring().written("hand", {})
        model = small_ppo(DummyVecEnv([make_guided]), "MultiInputPolicy")
        callback = RunReportCallback(path, llms=[answering()], artefacts=[hand])
        model.learn(100, callback=callback)
        model.save(tmp_path / "model")
        first = read(path)["guidance"]["counters"]["GoalObservationWrapper"]["states"]
        again = PPO.load(tmp_path / "model", env=DummyVecEnv([make_guided]))
        more = RunReportCallback(path, artefacts=[hand])
        again.learn(50, callback=more, reset_num_timesteps=False)
        report = read(path)
        assert report["env_steps"] == {"run": 50, "reported": 150, "model": 150}
        states = report["guidance"]["counters"]["GoalObservationWrapper"]["states"]
        assert first + 50 <= states < first + 100
        assert len(report["llm"]["authoring"]) == 1
        assert report["llm"]["training"]["total"]["calls"] == 0

    def test_of_a_new_training_starts_anew(self, path):
        for _ in range(2):
            small_ppo("CartPole-v1").learn(50, callback=RunReportCallback(path))
        assert read(path)["env_steps"] == {"run": 50, "reported": 50, "model": 50}

    def test_steps_before_it_are_not_its_own(self, path):
        model = small_ppo("CartPole-v1")
        model.learn(100)
        model.learn(50, callback=RunReportCallback(path), reset_num_timesteps=False)
        assert read(path)["env_steps"] == {"run": 50, "reported": 50, "model": 150}

    @pytest.mark.parametrize("text", ["no JSON", "[1]", '{"format": 2}', '{"format": 1}'])
    def test_of_something_else_is_left_alone(self, path, text):
        path.parent.mkdir()
        path.write_text(text)
        with pytest.raises(InvalidOptionError, match="run report"):
            RunReportCallback(path)
        assert path.read_text() == text


class TestTheEnd:
    @pytest.mark.parametrize(
        ("error", "status"),
        [(KeyboardInterrupt(), "interrupted"), (ValueError("broken"), "failed")],
        ids=["ctrl-c", "exception"],
    )
    def test_is_told_by_the_context(self, path, error, status):
        llm = answering()
        model = small_ppo(asking(llm, error=error, at=121))
        with (
            pytest.raises(type(error)),
            RunReportCallback(path, llms=[llm]) as callback,
        ):
            model.learn(500, callback=callback)
        report = read(path)
        assert (report["status"], report["error"]) == (status, type(error).__name__)
        assert report["env_steps"]["run"] == 120
        assert report["llm"]["training"]["total"]["calls"] == 12

    def test_by_close(self, path):
        callback = RunReportCallback(path)
        with pytest.raises(ValueError, match="broken"):
            small_ppo(asking(answering(), error=ValueError("broken"), at=71)).learn(
                100, callback=callback
            )
        assert read(path)["status"] == "running"
        callback.close()
        callback.close()
        assert (read(path)["status"], read(path)["env_steps"]["run"]) == ("stopped", 70)

    def test_goes_on_after_a_failure(self, path):
        model = small_ppo(asking(answering(), error=ValueError("broken"), at=71))
        callback = RunReportCallback(path)
        with pytest.raises(ValueError, match="broken"):
            model.learn(100, callback=callback)
        model.learn(50, callback=callback, reset_num_timesteps=False)
        assert read(path)["env_steps"]["reported"] == 120

    def test_is_kept_as_it_was(self, path):
        callback = RunReportCallback(path)
        small_ppo("CartPole-v1").learn(50, callback=callback)
        assert callback.figures == callback.figures == read(path)

    @pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to itself")
    def test_of_a_script_by_ctrl_c(self, path, tmp_path):
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

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_in_a_fork_is_not_told(self, path):
        callback = RunReportCallback(path)
        with pytest.raises(ValueError, match="broken"):
            small_ppo(asking(answering(), error=ValueError("broken"), at=71)).learn(
                100, callback=callback
            )
        child = os.fork()
        if child == 0:
            callback.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert read(path)["status"] == "running"
        callback.close()
        assert read(path)["status"] == "stopped"


class TestSummary:
    def test_is_printed_where_wanted(self, path, capsys):
        llm = answering(dollars=None)
        used = Usage((("plan", Counts(calls=4, prompt_tokens=90, dollars=0.5)),)).as_dict()
        artefact = TestAuthoring().written("some/model", used)
        model = small_ppo(DummyVecEnv([lambda: Asks(make_guided(), llm)]), "MultiInputPolicy")
        callback = RunReportCallback(path, llms=[llm], artefacts=[artefact], verbose=1)
        model.learn(50, callback=callback)
        text = capsys.readouterr().out
        assert text.strip() == callback.summary().strip()
        assert "Training finished: 50 environment steps" in text
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        assert ["training: judge", "5", "0", "0", "40", "unknown"] in rows
        assert ["training, per 1,000,000 steps", "100000", "", "", "800000", "unknown"] in rows
        assert ["writing, by some/model", "4", "0", "0", "90", "0.5"] in rows
        assert ["GoalObservationWrapper", "goal_steps: rest", "0"] in rows

    def test_tells_how_good_a_judge_was(self, path):
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

    def test_is_not_printed_otherwise(self, path, capsys):
        small_ppo("CartPole-v1").learn(50, callback=RunReportCallback(path))
        assert capsys.readouterr().out == ""

    def test_needs_a_training(self, path):
        with pytest.raises(InvalidOptionError, match="learn"):
            RunReportCallback(path).summary()
        assert RunReportCallback(path).figures == {}


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"every": 0}, "every"),
            ({"every": 1.5}, "every"),
            ({"every": True}, "every"),
            ({"llms": None}, "llms"),
            ({"llms": ["openai/gpt-5-mini"]}, "llms"),
            ({"artefacts": "folder"}, "artefacts"),
            ({"artefacts": [3]}, "artefacts"),
        ],
        ids=str,
    )
    def test_that_cannot_work(self, path, options, says):
        with pytest.raises(InvalidOptionError, match=f"{says}.*got"):
            RunReportCallback(path, **options)

    def test_a_client_alone(self, path):
        with pytest.raises(InvalidOptionError, match="list of LLM clients"):
            RunReportCallback(path, llms=answering())

    def test_a_folder_without_guidance(self, path, tmp_path):
        with pytest.raises(GuidanceFileError, match="no-such"):
            RunReportCallback(path, artefacts=[tmp_path / "no-such"])
