"""The conformance kit for captioners: every world passes it, and each point catches a fault."""

from itertools import count

import ale_py
import gymnasium as gym
import minigrid
import numpy as np
import pytest

import llm_wrappers
from llm_wrappers import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing import ConformanceError, Point, check_captioner
from llm_wrappers.worlds.atari.captioner import AtariRam
from llm_wrappers.worlds.atari.pong_frames import PongFrames
from llm_wrappers.worlds.ellm_crafter.verb_noun import VerbNounActions

gym.register_envs(ale_py)
gym.register_envs(minigrid)


def crafter(env_id="llm_wrappers/Crafter-v1"):
    return gym.make(env_id, area=(16, 16), size=24)


def atari(game, **options):
    return gym.make(f"ALE/{game}-v5", **options)


# Environment, the action that does nothing where the world goes on by itself.
WORLDS = {
    "CartPole-v1": None, "MountainCar-v0": None, "MountainCarContinuous-v0": None,
    "Acrobot-v1": None, "Pendulum-v1": None, "Blackjack-v1": None, "FrozenLake-v1": None,
    "Hopper-v5": None, "Walker2d-v5": None, "Ant-v5": None, "MiniGrid-DoorKey-5x5-v0": None,
    "MiniGrid-Dynamic-Obstacles-5x5-v0": None, "BabyAI-GoToObj-v0": None,
    "llm_wrappers/Household-v0": None, "llm_wrappers/RecSimInterestEvolution-v0": None,
    "llm_wrappers/PocketWatch-v0": 1, "llm_wrappers/CraftaxClassic-v1": 0,
}  # fmt: skip
MADE = {
    "crafter": (crafter, 0),
    "ellm_crafter": (lambda: crafter("llm_wrappers/EllmCrafter-v1"), 0),
    "verb_noun": (lambda: VerbNounActions(crafter()), 0),
    "pong": (lambda: AtariRam(atari("Pong")), None),
    "pong_frames": (lambda: PongFrames(atari("Pong")), None),
    "pong_ram": (lambda: atari("Pong", obs_type="ram"), None),
    "pitfall": (lambda: AtariRam(atari("Pitfall")), None),
    "montezuma": (lambda: AtariRam(atari("MontezumaRevenge")), None),
    **{env_id: (lambda env_id=env_id: gym.make(env_id), idle) for env_id, idle in WORLDS.items()},
}
LEGAL = {
    "crafter", "MiniGrid-DoorKey-5x5-v0", "llm_wrappers/Household-v0",
    "llm_wrappers/PocketWatch-v0", "llm_wrappers/CraftaxClassic-v1",
}  # fmt: skip


@pytest.mark.parametrize(
    # Craftax is compiled first, and its captioner is the one of Crafter.
    "world",
    [pytest.param(w, marks=[pytest.mark.slow] * ("Craftax" in w)) for w in MADE],
)
def test_every_world_passes(world):
    make, idle = MADE[world]
    env = make()
    skipped = check_captioner(resolve_captioner(env), env, idle=idle, steps=24)
    if world in LEGAL:
        assert not skipped
    else:
        assert set(skipped) == {Point.CAPTIONER_LEGALITY}


class Counter(gym.Env):
    """Counts up to 9 with one action; the other one does nothing."""

    observation_space = gym.spaces.Dict({"n": gym.spaces.Discrete(10)})
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return {"n": self.n}, {"twice": np.array([self.n, self.n])}

    def step(self, action):
        self.n += int(action == 0 and self.n < 9)
        info = {"twice": np.array([self.n, self.n])}
        return {"n": self.n}, 0.0, self.n == 9, False, info


class Counted:
    description = EnvDescription(env_id="Counter", rules="Count.", action_names=("add", "rest"))
    transition_reads = ("n",)

    def facts(self, observations, infos):
        pairs = zip(observations["n"].tolist(), infos["twice"].tolist(), strict=True)
        return [{"n": n, "twice": str(twice)} for n, twice in pairs]

    def state_captions(self, facts):
        return [f"The count is {row['n']}." for row in facts]

    def transition_captions(self, before, actions, after):
        return [f"from {old['n']} to {new['n']}" for old, new in zip(before, after, strict=True)]

    def legal_actions(self, facts):
        return np.array([[row["n"] < 9, False] for row in facts]) | (np.arange(2) == 1) & [
            [row["n"] == 9] for row in facts
        ]


def broken(**methods):
    return type("Broken", (Counted,), methods)()


def grown(facts):
    return [{**row, "large": True} if row["n"] > 2 else row for row in facts]


CALLS = count()
BROKEN = [
    (Point.CAPTIONER_DESCRIPTION, "2 action_names, one per discrete action",
     {"description": EnvDescription(env_id="", rules="Count.")}),
    (Point.CAPTIONER_DESCRIPTION, "rules that a player could read",
     {"description": EnvDescription(env_id="", rules=" ", action_names=("add", "rest"))}),
    (Point.CAPTIONER_FACTS, r"the same facts in every state, got \['large'\]",
     {"facts": lambda self, o, i: grown(Counted.facts(self, o, i))}),
    (Point.CAPTIONER_FACTS, "got n=.* of int64 in state 0; make plain values",
     {"facts": lambda self, o, i: [{"n": n} for n in o["n"]]}),
    (Point.CAPTIONER_FACTS, "tuple of texts for each fact, got n=.* of list",
     {"facts": lambda self, o, i: [{"n": [n]} for n in o["n"].tolist()]}),
    (Point.CAPTIONER_BATCH, "of n states the facts of each",
     {"facts": lambda self, o, i: [{"n": int(o["n"].max())} for _ in o["n"]]}),
    (Point.CAPTIONER_BATCH, r"\d+ rows of facts, got 1",
     {"facts": lambda self, o, i: [{"n": int(o["n"][0])}]}),
    (Point.CAPTIONER_BATCH, "of n states the caption of each",
     {"state_captions": lambda self, facts: [f"One of {len(facts)}."] * len(facts)}),
    (Point.CAPTIONER_OBJECTS, "observations and infos left as they are",
     {"facts": lambda self, o, i: [{"n": i.pop("twice", None) is None} for _ in o["n"]]}),
    (Point.CAPTIONER_OBJECTS, "facts left as they are",
     {"state_captions": lambda self, facts: [row.pop("twice") + "." for row in facts]}),
    (Point.CAPTIONER_CAPTIONS, "state_captions that are sentences, got 'n is 0'",
     {"state_captions": lambda self, facts: [f"n is {row['n']}" for row in facts]}),
    (Point.CAPTIONER_CAPTIONS, "state_captions that are texts, got ''",
     {"state_captions": lambda self, facts: ["" for _ in facts]}),
    (Point.CAPTIONER_CAPTIONS, "state_captions, one for each, got 0",
     {"state_captions": lambda self, facts: []}),
    (Point.CAPTIONER_CAPTIONS, "prompt_captions that are sentences",
     {"prompt_captions": lambda self, facts: ["no" for _ in facts]}),
    (Point.CAPTIONER_CAPTIONS, "the same state_captions again",
     {"state_captions": lambda self, facts: [f"Call {next(CALLS)}." for _ in facts]}),
    (Point.CAPTIONER_CAPTIONS, "transition_captions of one line",
     {"transition_captions": lambda self, before, actions, after: ["a\nb"] * len(before)}),
    (Point.CAPTIONER_CAPTIONS, r"names of facts in transition_reads, got \['m'\]",
     {"transition_reads": ("m",)}),
    (Point.CAPTIONER_CAPTIONS, "read no fact but transition_reads, got 'n'",
     {"transition_reads": ("twice",)}),
    (Point.CAPTIONER_LEGALITY, "no effect of 'add', which legal_actions closes",
     {"legal_actions": lambda self, facts: np.array([[False, True]] * len(facts))}),
    (Point.CAPTIONER_LEGALITY, "an open action in every state",
     {"legal_actions": lambda self, facts: np.zeros((len(facts), 2), bool)}),
    (Point.CAPTIONER_LEGALITY, r"booleans of shape \(\d+, 2\), got int64",
     {"legal_actions": lambda self, facts: np.ones((len(facts), 2), int)}),
    (Point.CAPTIONER_COPIES, "a captioner that pickle copies",
     {"__reduce__": lambda self: (lambda: self, ())}),
    (Point.CAPTIONER_COPIES, "a copy by pickle that says the same",
     {"__reduce__": lambda self: (Counted, ()),
      "state_captions": lambda self, facts: [f"Now {row['n']}." for row in facts]}),
]  # fmt: skip


@pytest.mark.parametrize(("point", "message", "methods"), BROKEN)
def test_every_point_has_a_broken_captioner(point, message, methods):
    with pytest.raises(ConformanceError, match=message) as caught:
        check_captioner(broken(**methods), Counter(), points=[point])
    assert caught.value.point is point


def test_a_sound_one_passes():
    assert check_captioner(Counted(), Counter()) == {}


def test_what_cannot_be_checked_is_told():
    legality = Point.CAPTIONER_LEGALITY
    for answer, reason in ((True, "no action was closed in 60 steps"), (None, "does not know")):
        known = broken(
            legal_actions=lambda self, facts, answer=answer: (
                answer and np.ones((len(facts), 2), bool)
            )
        )
        assert reason in check_captioner(known, Counter(), points=[legality])[legality]
    env = Counter()
    env.fixed = (number for number in range(3))  # A generator cannot be copied.
    assert "cannot be copied" in check_captioner(Counted(), env)[legality]


def test_what_is_no_captioner_is_refused():
    with pytest.raises(InvalidOptionError, match="captioner must have the method facts"):
        check_captioner(object(), Counter())
    with pytest.raises(InvalidOptionError, match="steps must be a whole number >= 20, got 3"):
        check_captioner(Counted(), Counter(), steps=3)
    assert "check_captioner" in llm_wrappers.testing.__all__
