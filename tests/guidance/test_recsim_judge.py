"""The reference judge of slates, played on RecSim itself."""

import importlib.util
import sys
from itertools import permutations
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_wrappers as lw
from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.worlds.recsim.captioner import interest_evolution
from llm_wrappers.worlds.recsim.session import recsim_module

ENV_ID = "llm_wrappers/RecSimInterestEvolution-v0"


def offers(*documents):
    facts = {"candidates": len(documents)}
    for number, (interest, quality) in enumerate(documents):
        facts[f"document {number} interest"] = interest
        facts[f"document {number} quality"] = quality
    return facts


documents = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-3, 3)), min_size=2, max_size=10, unique=True
)


def mean_return(judge, *, episodes, tries=10):
    """Return the mean return of the best judged of some random slates, ties to the first."""
    env = gym.make(ENV_ID)
    captioner = resolve_captioner(env)
    judge = resolve_judge(judge, description=captioner.description)
    total = 0.0
    for seed in range(episodes):
        (observation, info), over = env.reset(seed=seed), False
        generator = np.random.default_rng(seed)
        while not over:
            facts = captioner.facts(
                batch_of_one(env.observation_space, observation), batch_infos(info)
            )
            slates = list(generator.integers(10, size=(tries, 3)))
            judged = judge.judge(States(facts * tries, captioner.state_captions), slates)
            slate = slates[int(np.argmax(judged))]
            observation, reward, over, _, info = env.step(slate)
            total += reward
    return total / episodes


class TestRule:
    def test_quality_that_is_watched_decides(self):
        facts = offers((0.5, -2.0), (0.5, 2.0), (0.5, 0.2), (-1.0, 3.0))
        assert interest_evolution(facts, [1]) == 1
        assert interest_evolution(facts, [0]) == -1
        assert interest_evolution(facts, [2]) == 0

    def test_interest_decides_what_a_slate_is_worth(self):
        """The same qualities: once the good one is what the user would watch, once the bad one."""
        rest = [(0.0, 0.0)] * 8
        assert interest_evolution(offers((-0.9, -3.0), (0.9, 3.0), *rest), [0, 1]) == 1
        assert interest_evolution(offers((0.9, -3.0), (-0.9, 3.0), *rest), [0, 1]) == -1

    @given(documents)
    def test_the_best_documents_are_never_disapproved(self, drawn):
        best = sorted(range(len(drawn)), key=lambda k: -drawn[k][1])[:2]
        assert interest_evolution(offers(*drawn), best) >= 0

    @given(documents, st.randoms(use_true_random=False))
    def test_order_and_repetition_do_not_matter(self, drawn, random):
        slate = [random.randrange(len(drawn)) for _ in range(3)]
        facts = offers(*drawn)
        shuffled = random.sample(slate, 3)
        assert interest_evolution(facts, slate) == interest_evolution(facts, np.array(shuffled))
        assert interest_evolution(facts, slate) == interest_evolution(facts, [*slate, slate[0]])

    def test_where_nothing_can_be_chosen_it_is_neutral(self):
        assert interest_evolution(offers((0.3, 1.0), (0.8, -2.0)), [0, 1]) == 0
        assert interest_evolution(offers((0.3, 1.0), (0.8, 1.0)), [1]) == 0

    def test_a_user_who_detests_all_of_it_breaks_nothing(self):
        facts = offers((-1.0, 3.0), (-1.0, -3.0), (-1.0, 0.0))
        assert [interest_evolution(facts, [k]) for k in range(3)] == [1, -1, 0]


class TestPlay:
    def test_what_it_approves_of_holds_users_longer(self):
        """Far outside the spread of means of 3 sessions, which is about 10 minutes."""
        random = mean_return("none", episodes=3)
        assert mean_return("reference", episodes=3) > random + 25
        assert mean_return("anti-oracle", episodes=3) < random - 10

    def test_shifts_the_reward_and_agrees_with_itself(self):
        env = lw.RewardShiftWrapper(gym.make(ENV_ID), judge="reference", audit_against="oracle")
        env.reset(seed=0)
        env.action_space.seed(0)
        over, seen = False, set()
        while not over:
            _, reward, over, _, info = env.step(env.action_space.sample())
            assert reward == info["extrinsic_reward"] + info["judgement"]
            seen.add(info["judgement"])
        assert seen == {-1, 0, 1}
        assert env.audit()["agreement"] == 1.0

    def test_the_vector_twin_judges_alike(self):
        sub_environments = 2
        envs = lw.wrappers.vector.RewardShiftWrapper(
            gym.make_vec(ENV_ID, num_envs=sub_environments, vectorization_mode="sync"),
            judge="reference",
        )
        singles = [
            lw.RewardShiftWrapper(gym.make(ENV_ID), judge="reference")
            for _ in range(sub_environments)
        ]
        envs.reset(seed=[0, 1])
        for seed, env in enumerate(singles):
            env.reset(seed=seed)
        generator = np.random.default_rng(0)
        for _ in range(20):
            slates = generator.integers(10, size=(sub_environments, 3))
            _, rewards, _, _, infos = envs.step(slates)
            stepped = [env.step(slate) for env, slate in zip(singles, slates, strict=True)]
            assert rewards.tolist() == [step[1] for step in stepped]
            assert infos["judgement"].tolist() == [step[4]["judgement"] for step in stepped]


@pytest.fixture(scope="module")
def learner():
    path = Path(__file__).parents[2] / "benchmarks" / "slate_learner.py"
    spec = importlib.util.spec_from_file_location("slate_learner_tested", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class TestSlateLearner:
    """The learner of `make bench-lmgt` plays by what RecSim's users really do."""

    def test_the_best_slate_is_best_under_the_choices_of_recsim(self, learner):
        rules = recsim_module("environments.interest_evolution")
        model = recsim_module("choice_model").MultinomialProportionalChoiceModel(
            {"min_normalizer": -1.0, "no_click_mass": 1.0}
        )
        observation, _ = gym.make(ENV_ID, num_candidates=5).reset(seed=0)
        small = learner.SlateLearner(candidates=5, slate_size=2)
        small.values[:] = np.random.default_rng(0).normal(size=21)

        def value(slate):
            shown = observation["documents"][list(slate)]
            model.score_documents(rules.IEvUserState(observation["user"]), shown)
            weights = np.append(model.scores, model.score_no_click)
            worth = np.append(small.values[shown.argmax(axis=1)], small.values[-1])
            return float(np.average(worth, weights=weights))

        slate, best = small.best(observation)
        assert value(slate) == pytest.approx(best, rel=1e-5)
        assert best == pytest.approx(max(map(value, permutations(range(5), 2))), rel=1e-5)

    def test_what_is_watched_is_what_is_learnt_about(self, learner):
        env, small = gym.make(ENV_ID), learner.SlateLearner()
        env.reset(seed=0)
        for _ in range(30):
            before = small.values.copy()
            after, reward, over, _, _ = env.step(np.array([0, 1, 2]))
            small.learn(float(reward), after, over)
            (changed,) = np.flatnonzero(small.values != before).tolist() or [None]
            if reward:
                assert changed == after["shown"][after["clicked"].argmax()].argmax()
            else:
                assert changed in (None, 20)

    def test_a_good_judge_teaches_more_than_its_opposite(self, learner):
        returns = {
            judge: learner.mean_return(
                learner.learn(
                    lw.RewardShiftWrapper(gym.make(ENV_ID), judge=judge), episodes=5, seed=0
                ),
                episodes=4,
                seed=100,
            )
            for judge in ("reference", "anti-oracle")
        }
        assert returns["reference"] > returns["anti-oracle"] + 10
