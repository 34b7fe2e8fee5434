"""What each method asks, to the letter: a changed key makes every recorded cache miss."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import AuthoringError, GuidanceWarning
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.states import States
from llm_wrappers.methods import ellm, lmgt, sgrl, ultra
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.trajectory import Trajectory

GOLDEN = Path(__file__).parent / "golden"
METHODS = ("sgrl", "ellm", "lmgt", "ultra")
TOY = EnvDescription(
    env_id="Toy-v0",
    rules="You live in a small world.\nTrees give wood.",
    action_names=("stay put", "chop tree", "eat cow"),
    goals=("chop tree", "eat cow", "sleep"),
    facts="`wood` is what you carry.",
)
NAMELESS = EnvDescription(env_id="Bare-v0", rules="Move.")
CAPTIONS = ["You see a tree.\nIt is  near.", "You see a cow.", "You see nothing."]
STATES = States([{"place": i, "frame": f"iVBORw0K{i}"} for i in range(3)], lambda facts: CAPTIONS)
EXAMPLES = [("You see a bed.", "sleep", 1), ("You see lava.", "stay put", -1), ("Dark.", "go", 0)]
FACTS = [
    {"wood": i, "facing": ["tree", "cow"][i % 2], "day": bool(i % 3), "health": i / 2, "near": (i,)}
    for i in range(12)
]
REPORT = sgrl.UnlockReport(2_000_000, 50, {"chop tree": 0.914, "eat cow": 0.0}, {"eat cow": 1.25})
SPACES = {
    "named": gym.spaces.Discrete(3),
    "numbered": gym.spaces.Discrete(3, start=1),
    "box": gym.spaces.Box(-2, 2, (2,)),
    "boxes": gym.spaces.Box(
        np.float32([[-1.0, 0.0], [0.5, -3.0]]), np.full((2, 2), 9.0, np.float32)
    ),
    "multi discrete": gym.spaces.MultiDiscrete([3, 5]),
    "multi binary": gym.spaces.MultiBinary(4),
}


def reply(request):
    """Answer anything with something that can be read."""
    schema = request.answer_schema or {}
    return json.dumps({name: FILLED[name] for name in schema.get("properties", {})} or "none")


FILLED = {"masks": [], "factors": [], "case_analysis": "It waits.", "states": [], "corrections": []}


def answering(script=reply):
    return ScriptedLLM(script, model="openai/gpt-5-mini", temperature=0.5)


def played(space, length=30):
    """Return an episode of a space's actions, with stretches of equal rewards."""
    shape = (length, *space.shape)
    numbers = [-1.5, 0.25, 1 / 3, 2, -0.0] if isinstance(space, gym.spaces.Box) else [0, 1, 1, 0, 1]
    return Trajectory(
        np.arange(length + 1.0)[:, None],
        np.resize(numbers, shape).astype(space.dtype) + getattr(space, "start", 0),
        [float(step in (4, 5, 20)) for step in range(length)],
        True,
        False,
        captions=[f"Step {i} is\nquiet." for i in range(length + 1)],
    )


def masks(llm, per_goal):
    sgrl.write_masks(llm, TOY, per_goal=per_goal)


def planner(llm):
    with pytest.raises(AuthoringError):
        sgrl.write_planner(llm, TOY, FACTS, repairs=1)


def reweigh(llm):
    sgrl.LLMReweigher(llm, TOY).factors(REPORT)


def suggest(llm, **options):
    ellm.LLMSuggester(llm, TOY, on_miss="block", **options).suggest(STATES)


def choose(llm, **options):
    ellm.ClosedFormSuggester(llm, TOY, on_miss="block", **options).suggest(STATES)


def judge(llm, actions=(0, 1, 2), description=TOY, **options):
    found = lmgt.LLMJudge(llm, description, on_miss="block", **options)
    found.judge(STATES, actions)
    found.prefill(STATES, actions[::-1])


def look(llm, **options):
    lmgt.VisionJudge(llm, TOY, on_miss="block", **options).judge(STATES, [0, 1, 2])


def value(llm, **options):
    lmgt.LLMPotential(llm, TOY, on_miss="block", **options).values(STATES)


def identify(llm, space=SPACES["named"], lengths=(30,), **options):
    episodes = [played(space, length) for length in lengths]
    ultra.LLMSelector(llm, TOY, action_space=space, **options).select(episodes, per_episode=3)


def correct(llm, space, description=NAMELESS, analyses=(), **options):
    moments = [CriticalMoment(0, 4, 0.9, "It\npays."), CriticalMoment(0, 20), CriticalMoment(0, 29)]
    corrector = ultra.LLMCorrector(llm, description, space, **options)
    corrector.correct([played(space)], moments, analyses=analyses)


CASES = {
    "sgrl planner": planner,
    "sgrl masks": lambda llm: masks(llm, False),
    "sgrl masks per goal": lambda llm: masks(llm, True),
    "sgrl reweigh": reweigh,
    "ellm open": suggest,
    "ellm open goals": lambda llm: suggest(llm, prompt="ellm/open-goals"),
    "ellm closed": choose,
    "ellm closed without logprobs": lambda llm: choose(llm, logprobs=False, candidates=["rest"]),
    "lmgt baseline": lambda llm: judge(llm, prompt="baseline"),
    "lmgt zero-shot": judge,
    "lmgt zero-shot with rules": lambda llm: judge(llm, knowledge=True),
    "lmgt few-shot": lambda llm: judge(llm, prompt="few-shot", examples=EXAMPLES),
    "lmgt chain-of-thought": lambda llm: judge(llm, prompt="chain-of-thought", knowledge="Run."),
    "lmgt role": lambda llm: judge(llm, prompt="role"),
    "lmgt numbers": lambda llm: judge(
        llm, [np.array([0.12345, -1.0], np.float32), 7, "wait  here"], NAMELESS
    ),
    "lmgt vision": look,
    "lmgt vision few-shot": lambda llm: look(llm, prompt="few-shot", examples=EXAMPLES),
    "lmgt vision in words": lambda llm: look(llm, mode="caption", knowledge=True),
    "lmgt potential": value,
    "lmgt potential with rules": lambda llm: value(llm, knowledge=True),
    "ultra identify": identify,
    "ultra identify box": lambda llm: identify(llm, SPACES["box"]),
    "ultra identify in parts": lambda llm: identify(
        llm, lengths=(60, 12), prompt_tokens=900, show_every=4, overlap=2, instructions="Hurry."
    ),
    "ultra identify together": lambda llm: identify(
        llm, lengths=(12, 9, 14), episodes_per_question=2
    ),
    **{
        f"ultra correct {name}": lambda llm, space=space: correct(llm, space)
        for name, space in SPACES.items()
    },
    "ultra correct by name": lambda llm: correct(llm, SPACES["named"], TOY),
    "ultra correct together": lambda llm: correct(
        llm, SPACES["named"], TOY, ["It waits."], batch=3, context_steps=2, instructions="Hurry."
    ),
}


def asked(case):
    """Return the requests of a case by key; many are asked at once, so their order is no matter."""
    llm = answering()
    with warnings.catch_warnings():
        # The answers are not what the methods hope for; only the questions count here.
        warnings.simplefilter("ignore", GuidanceWarning)
        CASES[case](llm)
    return {request.key: request for request in sorted(llm.requests, key=lambda r: r.text)}


def wording(method):
    """Return one prompt of each case of a method, for people to read."""
    last = {case: list(asked(case).values())[-1] for case in CASES if case.startswith(method)}
    return "".join(f"===== {case}\n{text_of(request)}\n" for case, request in last.items())


def text_of(request):
    contents = [message["content"] for message in request.messages]
    return "\n----- \n".join(
        content if isinstance(content, str) else json.dumps(content, indent=1).replace("\\n", "\n")
        for content in contents
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_wording_is_what_it_always_was(method):
    assert wording(method) == (GOLDEN / f"{method}.txt").read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_request_has_the_key_it_always_had(case):
    assert sorted(asked(case)) == json.loads((GOLDEN / "request-keys.json").read_text())[case]


if __name__ == "__main__":
    # Only for a wording that is meant to change: the answers that were recorded are lost with it.
    GOLDEN.mkdir(exist_ok=True)
    keys = {case: sorted(asked(case)) for case in CASES}
    (GOLDEN / "request-keys.json").write_text(json.dumps(keys, indent=1) + "\n")
    for method in METHODS:
        (GOLDEN / f"{method}.txt").write_text(wording(method))
