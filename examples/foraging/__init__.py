"""A world of one's own, complete: pick berries, eat them, and keep away from the wolf."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import EnvDescription
from llm_wrappers.worlds import Environment, World, register_world

ENV_ID = "examples/Foraging-v0"
SIZE, LENGTH = 7, 100
MOVES = {"north": (0, -1), "south": (0, 1), "west": (-1, 0), "east": (1, 0)}
ACTIONS = (*MOVES, "pick", "eat", "wait")


class ForagingEnv(gym.Env[np.ndarray, np.int64]):
    """A meadow with one bush and a wolf; a berry that is picked and eaten earns 1.

    The observation is where the agent stands, whether it carries a berry, and how far east and
    south the bush and the wolf are. A picked bush grows elsewhere. In one step of four the
    wolf comes one place nearer; it ends the episode where it meets the agent.
    """

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-SIZE, SIZE, (7,), np.float32)
        self.action_space = gym.spaces.Discrete(len(ACTIONS))
        self.captioner = ForagingCaptioner()

    def reset(self, *, seed=None, options=None):
        """Put the agent, the bush and the wolf into different places."""
        super().reset(seed=seed)
        places = self.np_random.choice(SIZE**2, 3, replace=False)
        self.agent, self.bush, self.wolf = (np.array(divmod(int(p), SIZE)) for p in places)
        self.carries, self.step_count = False, 0
        return self._observed(), {}

    def step(self, action):
        """Act, then let the wolf move."""
        name, reward = ACTIONS[int(action)], 0.0
        if name in MOVES:
            self.agent = np.clip(self.agent + MOVES[name], 0, SIZE - 1)
        elif name == "pick" and not self.carries and (self.agent == self.bush).all():
            self.carries = True
            self.bush = self.np_random.integers(SIZE, size=2)
        elif name == "eat" and self.carries:
            self.carries, reward = False, 1.0
        way = self.agent - self.wolf
        if self.np_random.random() < 0.25:
            axis = int(np.abs(way).argmax())
            self.wolf[axis] += np.sign(way[axis])
        self.step_count += 1
        caught = bool((self.agent == self.wolf).all())
        return self._observed(), reward, caught, self.step_count >= LENGTH, {}

    def _observed(self):
        ways = [*(self.bush - self.agent), *(self.wolf - self.agent)]
        return np.array([*self.agent, self.carries, *ways], np.float32)


class ForagingCaptioner:
    """How the meadow speaks, and which actions have an effect there."""

    no_effect = frozenset({"nothing happens"})

    description = EnvDescription(
        env_id=ENV_ID,
        rules=(
            "You stand in a meadow of 7 x 7 places. Pick a berry at the bush, which then grows "
            "elsewhere, and eat it: that earns 1. You carry one berry at most. In one step of "
            "four a wolf comes nearer; if it meets you the episode ends."
        ),
        action_names=ACTIONS,
        goals=("eat the berry", "pick a berry", "walk to the bush", "flee from the wolf"),
        facts="bush_east and bush_south are the steps to the bush, negative to the west and north.",
    )

    def facts(self, observations, infos):
        """Return what is so, from a batch of observations of shape (n, 7)."""
        return [self._facts(*row) for row in np.asarray(observations).astype(int).tolist()]

    def _facts(self, x, y, carries, bush_x, bush_y, wolf_x, wolf_y):
        edges = {"north": y == 0, "south": y == SIZE - 1, "west": x == 0, "east": x == SIZE - 1}
        return {
            "carries_berry": bool(carries),
            "at_bush": bush_x == bush_y == 0,
            "bush_east": bush_x,
            "bush_south": bush_y,
            "wolf_east": wolf_x,
            "wolf_south": wolf_y,
            "wolf_is_near": abs(wolf_x) + abs(wolf_y) <= 2,
            "edges": tuple(name for name, is_edge in edges.items() if is_edge),
        }

    def legal_actions(self, facts):
        """Return which actions do more than waiting, shape (n, 7)."""
        return np.array(
            [
                [name not in row["edges"] for name in MOVES]
                + [row["at_bush"] and not row["carries_berry"], row["carries_berry"], True]
                for row in facts
            ]
        )

    def state_captions(self, facts):
        """Return two sentences about each state."""
        return [
            f"The bush is {row['bush_east']} east and {row['bush_south']} south, the wolf "
            f"{row['wolf_east']} east and {row['wolf_south']} south. You carry "
            f"{'a berry' if row['carries_berry'] else 'nothing'}."
            for row in facts
        ]

    def transition_captions(self, before, actions, after):
        """Return what each action did."""
        return [self._deed(*row) for row in zip(before, actions, after, strict=True)]

    def _deed(self, old, action, new):
        name = ACTIONS[int(action)]
        if name in MOVES:
            return "nothing happens" if name in old["edges"] else f"walk {name}"
        if old["carries_berry"] == new["carries_berry"]:
            return "nothing happens"
        return "pick a berry" if new["carries_berry"] else "eat the berry"


def judgement(facts: dict[str, Any], action: Any) -> int:
    """Judge an action: +1 for what leads to a berry, -1 for a step towards a wolf that is near."""
    name = ACTIONS[int(action)]
    if name in MOVES:
        east, south = MOVES[name]
        if facts["wolf_is_near"]:
            return -1 if east * facts["wolf_east"] + south * facts["wolf_south"] > 0 else 0
        return 1 if east * facts["bush_east"] + south * facts["bush_south"] > 0 else 0
    useful = {
        "pick": facts["at_bush"] and not facts["carries_berry"],
        "eat": facts["carries_berry"],
    }
    return int(useful.get(name, False))


def register() -> None:
    """Tell llm_wrappers what is known of this world."""
    meadow = Environment(
        env_id=ENV_ID,
        entry_point=f"{__name__}:ForagingEnv",
        judge=f"{__name__}:judgement",
        guidance="foraging",
    )
    register_world(
        World(
            name="foraging",
            environments=(meadow,),
            guidance={"foraging": f"{__name__}:reference"},
        )
    )
