"""ELLM's suggesters over a real server on this machine: litellm, SQLite, processes, wrappers."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import (
    COW,
    NOTHING,
    TOY,
    TREE,
    PlainHttp,
    caption_in,
    question_in,
    states_of,
    suggestion,
)
from stable_baselines3.common.vec_env import SubprocVecEnv

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import GuidanceWarning, InvalidRequestError
from llm_wrappers.guidance.suggesters import resolve_suggester
from llm_wrappers.llm import LLM, allow_requests
from llm_wrappers.methods import ellm
from llm_wrappers.testing import Fault, LLMServer

MINIGRID = "MiniGrid-DoorKey-5x5-v0"
WORKERS, STEPS = 4, 60


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


def named(prefix, server, cache, **options):
    """Return the name of a suggester at the server."""
    given = {"api_base": server.api_base, "cache": cache, "on_miss": "block", **options}
    return f"{prefix}:openai/test?" + "&".join(
        f"{key}={quote(str(value), safe='')}" for key, value in given.items()
    )


def key_goals(body):
    """Suggest what the agent can do about the key, in the words of the captioner."""
    seen = "yellow key" in caption_in(body)
    return "- go to the key\n- Pick up the key." if seen else "- find the key"


def played(env, steps, seed=0):
    """Return the rewards and infos of random play."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    results = []
    for _ in range(steps):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        results.append((reward, info))
        if terminated or truncated:
            env.reset()
    return results


class TestOpenEnded:
    def test_an_agent_is_paid_for_what_the_model_suggests(self, cache):
        pytest.importorskip("minigrid")
        with LLMServer(key_goals) as server:
            env = ellm.wrap(gym.make(MINIGRID), named("llm", server, cache))
            results = played(env, 150)
            asked = [caption_in(body) for body in server.requests]
            stats = env.stats()["suggester"]
            env.close()
        assert len(asked) == len(set(asked)) == stats["asked"] == stats["answered"] > 5
        assert {reward for reward, _ in results} == {0.0, 1.0}
        paid = {info["matched_goal"] for reward, info in results if reward}
        assert paid
        assert paid <= {"find the key", "go to the key", "pick up the key"}


REPLAY = """
import json, sys
from llm_wrappers.captions import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import resolve_suggester

name, description, captions = json.loads(sys.argv[1])
suggester = resolve_suggester(name, description=EnvDescription(**description))
print(json.dumps(suggester.suggest(States([{} for _ in captions], lambda facts: captions))))
assert "litellm" not in sys.modules
"""


@pytest.mark.slow
def test_answers_outlive_the_process_that_asked(cache):
    with LLMServer(suggestion) as server:
        suggester = resolve_suggester(named("llm", server, cache), description=TOY)
        with pytest.warns(GuidanceWarning):
            first = suggester.suggest(states_of(TREE, COW, NOTHING))
    description = {"env_id": TOY.env_id, "rules": TOY.rules, "goals": TOY.goals}
    description["action_names"] = TOY.action_names
    given = [f"llm:openai/test?cache={cache}&mode=replay", description, [TREE, COW, NOTHING]]
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LLM_WRAPPERS_ALLOW_REQUESTS": "0"},
    )
    assert [tuple(goals) for goals in json.loads(done.stdout)] == first
    assert "GuidanceWarning" in done.stderr


class Guided:
    """Makes a guided environment in a worker."""

    def __init__(self, suggester):
        self.suggester = suggester

    def __call__(self):
        return ellm.wrap(gym.make(MINIGRID), self.suggester)


@pytest.mark.slow
def test_workers_ask_about_each_state_once_between_them(cache):
    pytest.importorskip("minigrid")
    description = resolve_captioner(gym.make(MINIGRID)).description
    with LLMServer(key_goals, latency=0.01) as server:
        llm = LLM("openai/test", cache=cache, transport=PlainHttp(server.api_base))
        suggester = ellm.LLMSuggester(llm, description, on_miss="block")
        environments = SubprocVecEnv([Guided(suggester)] * WORKERS, start_method="fork")
        try:
            environments.seed(7)
            environments.reset()
            generator = np.random.default_rng(0)
            rewards = []
            for _ in range(STEPS):
                actions = generator.integers(5, size=WORKERS)
                rewards.append(environments.step(actions)[1])
            stats = [found["suggester"] for found in environments.env_method("stats")]
        finally:
            environments.close()
        asked = [caption_in(body) for body in server.requests]
    assert len(asked) == len(set(asked)) > 10
    assert sum(found["asked"] for found in stats) >= len(asked)
    assert all(found["neutral"] == found["failures"] == 0 for found in stats)
    assert sum(found["texts"] for found in stats) >= WORKERS * STEPS
    assert np.sum(rewards) > 0


class TestClosedForm:
    def test_log_probabilities_decide(self, cache):
        def weighed(body):
            likes = "you sleep?" in question_in(body).rpartition("# Now")[2]
            yes = 0.6 if likes else 0.4
            return {"Yes": math.log(yes), "No": math.log(1 - yes)}

        with LLMServer(weighed) as server:
            name = named("llm-closed", server, cache)
            accepted = resolve_suggester(name, description=TOY).suggest(states_of(TREE, TREE))
            assert accepted == [("sleep",)] * 2
            assert server.count == len(TOY.goals)
            body = server.requests[0]
            assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
            # The same answers, judged by other thresholds.
            lower = resolve_suggester(f"{name}&threshold=0.3", description=TOY)
            assert lower.suggest(states_of(TREE)) == [TOY.goals]
            higher = resolve_suggester(f"{name}&threshold=0.7", description=TOY)
            assert higher.suggest(states_of(TREE)) == [()]
            assert server.count == len(TOY.goals)

    def test_a_model_that_refuses_log_probabilities_says_what_to_do(self, cache):
        refusal = Fault.error(
            400, "logprobs is not supported with this model.", kind="invalid_request_error"
        )
        with LLMServer("No", faults=[refusal] * 4) as server:
            name = named("llm-closed", server, cache)
            with pytest.raises(InvalidRequestError, match="use logprobs=False"):
                resolve_suggester(name, description=TOY).suggest(states_of(TREE))
            one = resolve_suggester(f'{name}&candidates=["rest"]', description=TOY)
            with pytest.raises(InvalidRequestError, match="use logprobs=False"):
                one.suggest(states_of(TREE))
            plain = resolve_suggester(f"{name}&logprobs=false", description=TOY)
            assert plain.suggest(states_of(TREE)) == [()]
            assert "logprobs" not in server.requests[-1]


def test_the_program_of_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("crafter")
    page = (Path(__file__).parents[2] / "docs" / "ellm.md").read_text()
    program, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with LLMServer("- chop tree\n- chop grass\n- move left") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", server.api_base)
        program = program.replace("states=500", "states=15").replace("1_000_000", "16")
        program = program.replace("n_steps=128", "n_steps=16, batch_size=16, n_epochs=1")
        names = {}
        exec(program, names)
        assert server.count == 15
    assert "15 states, 15 with suggestions" in capsys.readouterr().out
    stats = names["env"].all_stats()["SimilarityRewardWrapper"]
    assert stats["steps"] >= 16
    assert stats["suggester"]["texts"] >= 16
    assert stats["suggester"]["asked"] == 0
