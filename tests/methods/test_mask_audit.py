"""The audit of masks: counted by hand, and in real play."""

from __future__ import annotations

import json

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.methods.sgrl.mask_audit import MaskAudit, audit_masks
from llm_wrappers.methods.sgrl.play import Episode, record_episodes

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
REFERENCE = "reference:minigrid-doorkey"
GOALS = ("walk", "eat", "rest")
ACTIONS = ("step", "bite", "wait")


class Speaker:
    """A captioner whose facts say themselves what the next action did and could do."""

    description = EnvDescription(env_id="Toy-v0", rules="", action_names=ACTIONS, goals=GOALS)

    def facts(self, observations, infos):
        raise NotImplementedError

    def state_captions(self, facts):
        return ["" for _ in facts]

    def transition_captions(self, before, actions, after):
        return [row["did"] for row in before]


class Lawyer(Speaker):
    """Knows which actions can have an effect, too."""

    def legal_actions(self, facts):
        return np.array([row["legal"] for row in facts], dtype=bool).reshape(-1, len(ACTIONS))


class Toy(gym.Env):
    action_space = gym.spaces.Discrete(3)
    observation_space = gym.spaces.Discrete(2)


def state(did="", legal=(1, 1, 1), plan=("walk",)):
    return {"did": did, "legal": tuple(map(bool, legal)), "plan": plan}


def planner(rows):
    return [[(goal, 1.0) for goal in row["plan"]] for row in rows]


MASKS = {"walk": ["step"], "eat": ["bite", "step"]}


def audit(states, actions, *, captioner=None, masks=MASKS, **more):
    episode = Episode([*states, state()], list(actions), **more)
    return audit_masks(
        masks, [episode], env=Toy(), planner=planner, captioner=captioner or Lawyer()
    )


class TestOverStrict:
    def test_counts_what_reached_a_goal_by_a_forbidden_action(self):
        found = audit(
            [state("walk"), state("walk"), state("eat"), state("walk"), state("hop")],
            [0, 1, 2, 0, 1],
        )
        assert (found.goals["walk"].reached, found.goals["walk"].forbidden) == (3, 1)
        assert (found.goals["eat"].reached, found.goals["eat"].forbidden) == (1, 1)
        assert found.goals["walk"].over_strict == pytest.approx(1 / 3)
        assert found.over_strict == 0.5
        assert found.goals["rest"].over_strict is None

    def test_two_goals_in_one_caption(self):
        found = audit([state("walk and eat")], [0])
        assert (found.goals["walk"].reached, found.goals["eat"].reached) == (1, 1)

    def test_what_happens_whatever_is_done_was_not_reached_by_the_action(self):
        states = [state("walk", legal=(1, 0, 0)), state("walk", legal=(1, 0, 0))]
        found = audit(states, [1, 0])
        assert (found.goals["walk"].reached, found.goals["walk"].forbidden) == (1, 0)
        unknown = audit(states, [1, 0], captioner=Speaker())
        assert (unknown.goals["walk"].reached, unknown.goals["walk"].forbidden) == (2, 1)

    def test_a_goal_without_a_mask_forbids_nothing(self):
        found = audit([state("rest")], [2])
        assert (found.goals["rest"].reached, found.goals["rest"].forbidden) == (1, 0)
        assert found.over_strict is None


class TestOverLoose:
    def test_counts_allowed_pairs_without_effect_where_the_goal_is_planned(self):
        found = audit(
            [
                state(legal=(1, 0, 1), plan=("walk", "eat")),
                state(legal=(0, 1, 1), plan=("eat",)),
                state(legal=(0, 0, 1), plan=("rest",)),
            ],
            [0, 1, 2],
        )
        walk, eat, rest = (found.goals[goal] for goal in GOALS)
        assert (walk.planned, walk.allowed, walk.idle) == (1, 1, 0)
        assert (eat.planned, eat.allowed, eat.idle) == (2, 4, 2)
        assert (rest.planned, rest.allowed, rest.idle) == (1, None, None)
        assert found.over_loose == pytest.approx(2 / 5)
        assert eat.over_loose == 0.5

    def test_contradictions_are_those_of_the_current_goal(self):
        found = audit(
            [
                state(legal=(0, 1, 1), plan=("walk", "eat")),
                state(legal=(0, 1, 1), plan=("walk", "eat")),
                state(legal=(0, 1, 1), plan=("eat", "walk")),
                state(legal=(1, 0, 0), plan=("walk",)),
            ],
            [1, 1, 1, 0],
        )
        assert found.contradictions == 2

    def test_nobody_knows_what_has_an_effect(self):
        found = audit([state("walk")], [0], captioner=Speaker())
        assert (found.over_loose, found.contradictions) == (None, None)
        assert found.goals["walk"].allowed is None
        assert "over-loose: n/a" in str(found)
        assert "contradictions: n/a" in str(found)

    def test_the_environments_own_masks_come_first(self):
        own = np.array([[False, True, True]])
        found = audit([state(legal=(1, 1, 1))], [1], legal=own)
        assert found.contradictions == 1
        assert found.goals["walk"].idle == 1

    def test_what_the_planner_failed_on_is_counted_and_guides_nothing(self):
        found = audit([state(plan=("fly",)), state()], [0, 0])
        assert found.fallbacks == 1
        assert found.goals["walk"].planned == 1


class TestReach:
    def test_never_proposed_and_never_reached(self):
        found = audit([state("walk", plan=("walk", "eat")), state("rest")], [0, 2])
        assert found.never_proposed == ("rest",)
        assert found.never_reached == ("eat",)


class TestForm:
    def test_survives_json(self):
        found = audit([state("walk", legal=(0, 1, 1)), state("eat")], [1, 2])
        data = json.loads(json.dumps(found.as_dict()))
        assert MaskAudit.from_dict(data) == found
        assert data["goals"]["eat"]["over_strict"] == 1.0
        assert data["over_strict"] == found.over_strict

    @pytest.mark.parametrize(
        "data", [{}, {"goals": 3}, {"goals": {"walk": {}}}, {"goals": {"walk": 1}}],
        ids=["empty", "number", "no-counts", "no-dict"],
    )  # fmt: skip
    def test_something_else_is_refused(self, data):
        with pytest.raises(InvalidOptionError, match=r"MaskAudit\.as_dict"):
            MaskAudit.from_dict(data)

    def test_reads_well(self):
        text = str(audit([state("walk"), state("walk"), state("eat")], [0, 1, 2]))
        assert "over-strict: 2 of 3 (66.7%)" in text
        assert "walk  over-strict 1 of 2 (50.0%)" in text
        assert "rest" not in text

    def test_of_nothing_is_not_known(self):
        found = audit_masks(MASKS, [], env=Toy(), planner=planner, captioner=Lawyer())
        assert (found.transitions, found.over_strict, found.over_loose) == (0, None, None)
        assert "n/a" in str(found)

    def test_actions_must_be_discrete(self):
        with pytest.raises(IncompatibleEnvironmentError, match="expected Discrete"):
            audit_masks({}, [], env=gym.make("Pendulum-v1"), planner=planner, goals=["swing"])


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["", *GOALS]),
            st.lists(st.booleans(), min_size=3, max_size=3),
            st.lists(st.sampled_from(GOALS), min_size=1, max_size=3, unique=True),
            st.integers(0, 2),
        ),
        max_size=12,
    )
)
def test_rates_are_shares_and_open_masks_are_never_over_strict(steps):
    states = [state(did, legal, tuple(plan)) for did, legal, plan, _ in steps]
    actions = [action for *_, action in steps]
    found = audit(states, actions)
    for goal in found.goals.values():
        assert 0 <= goal.forbidden <= goal.reached
        assert goal.idle is None or 0 <= goal.idle <= goal.allowed
    everything = audit(states, actions, masks={goal: list(ACTIONS) for goal in GOALS})
    assert not everything.over_strict
    assert everything.over_strict is None or found.over_strict is None or (
        found.over_strict >= everything.over_strict
    )  # fmt: skip


@pytest.fixture(scope="module")
def played():
    env = gym.make(DOOR_KEY, disable_env_checker=True)
    return env, record_episodes(env, steps=2500, guided_by=REFERENCE)


class TestRealPlay:
    def test_the_reference_masks_of_door_key(self, played):
        env, episodes = played
        found = audit_masks(REFERENCE, episodes, env=env, planner=REFERENCE)
        assert found.over_strict == 0.0
        assert found.goals["pick up the key"].reached >= 3
        assert found.goals["pick up the key"].over_loose == 0.0
        assert found.over_loose is not None
        assert 0 < found.over_loose < 0.3
        assert (found.contradictions, found.fallbacks) == (0, 0)
        # No single action makes a thing be found; captions do not say so.
        assert "find the key" in found.never_reached

    def test_shuffled_and_random_masks_are_found_out(self, played):
        env, episodes = played
        good, shuffled, at_random = (
            audit_masks(masks, episodes, env=env, planner=REFERENCE)
            for masks in (REFERENCE, "shuffled", "random")
        )
        assert shuffled.over_strict > 0.5 > good.over_strict
        assert shuffled.contradictions > good.contradictions
        assert at_random.over_loose > good.over_loose
