"""Mask distillation: closed actions become unlikely without masks, and PPO is not disturbed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3 import MaskDistillationCallback
from llm_wrappers.sb3.baselines.relaxed_masks import masked_mass_loss

ROOMS = np.eye(3, dtype=np.float32)
# Each action is open in one room and closed in another, except the last, which is never open.
MASKS = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [1, 0, 1, 1, 0]], dtype=bool)
PAID = (0, 2, 3)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


class Rooms(gym.Env):
    """A random walk through three rooms; in each another open action pays."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        self.room = int(self.np_random.integers(3))
        return ROOMS[self.room], {}

    def step(self, action: Any) -> Any:
        reward = float(action == PAID[self.room])
        self.steps += 1
        self.room = int(self.np_random.integers(3))
        return ROOMS[self.room], reward, False, self.steps >= 10, {}

    def action_masks(self) -> Any:
        return MASKS[self.room]


def make_model(**options: Any) -> MaskablePPO:
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 4, "learning_rate": 3e-3, "seed": 0}
    return MaskablePPO(
        "MlpPolicy", DummyVecEnv([Rooms] * 4), device="cpu", gamma=0.0, **{**settings, **options}
    )


def probabilities(model: MaskablePPO, masks: Any = None) -> Any:
    with th.no_grad():
        distribution = model.policy.get_distribution(th.tensor(ROOMS), action_masks=masks)
        return distribution.distribution.probs.numpy()


mixed_masks = (
    st.integers(2, 6).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)).filter(any)
)


@given(masks=st.lists(mixed_masks, min_size=1, max_size=1), data=st.data())
@settings(deadline=None)
def test_only_closed_logits_have_a_gradient(masks: list[list[bool]], data: Any) -> None:
    number = st.floats(-8, 8, width=32)
    size = len(masks[0])
    logits = th.tensor(
        [data.draw(st.lists(number, min_size=size, max_size=size))], requires_grad=True
    )
    open_ = th.tensor(masks)
    loss = masked_mass_loss(logits, open_)
    loss.backward()
    assert loss.item() >= 0
    assert (logits.grad[open_] == 0).all()
    assert (logits.grad[~open_] >= 0).all()  # so that gradient descent lowers them
    if not open_.all():
        assert logits.grad[~open_].max() > 0


def test_the_loss_is_the_surprise_of_the_open_actions() -> None:
    logits = th.tensor([[0.3, -1.0, 2.0], [1.0, 1.0, 1.0]])
    masks = th.tensor([[True, False, True], [False, True, False]])
    mass = (th.softmax(logits, 1) * masks).sum(1)
    th.testing.assert_close(masked_mass_loss(logits, masks), -mass.log().mean())


def test_nothing_to_learn_where_everything_is_open() -> None:
    logits = th.randn(4, 3, requires_grad=True)
    loss = masked_mass_loss(logits, th.ones(4, 3, dtype=th.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


def test_closed_actions_become_unlikely_without_masks() -> None:
    closed = {}
    for name, callback in (
        ("without", None),
        ("with", MaskDistillationCallback(learning_rate=3e-3, batch_size=64)),
    ):
        model = make_model()
        model.learn(4096, callback=callback)
        closed[name] = (probabilities(model) * ~MASKS).sum(axis=1)
        # What the masks leave is learned either way.
        masked = probabilities(model, MASKS)
        assert (masked[range(3), PAID] > 0.8).all()
    assert closed["without"].sum() > 0.5
    assert closed["with"].sum() < 0.4 * closed["without"].sum()
    assert closed["with"].max() < 0.2


def test_ppo_updates_the_policy_that_made_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    update = model.train
    compared = []

    def checked_update() -> None:
        for batch in model.rollout_buffer.get(64):
            with th.no_grad():
                _, log_prob, _ = model.policy.evaluate_actions(
                    batch.observations, batch.actions.long().flatten(), batch.action_masks
                )
            # Else PPO's ratio is not 1 before its first gradient step, and clips at random.
            th.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=1e-5)
            compared.append(len(log_prob))
        update()

    monkeypatch.setattr(model, "train", checked_update)
    model.learn(512, callback=MaskDistillationCallback(learning_rate=0.05, batch_size=32))
    assert sum(compared) == 512


class Snapshots(BaseCallback):
    """Keeps the last layer and the rest of the policy, at the moments around a distillation."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, th.Tensor]] = []

    def _on_rollout_start(self) -> None:
        self._keep()

    def _on_training_end(self) -> None:
        self._keep()

    def _keep(self) -> None:
        state = self.model.policy.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})

    def _on_step(self) -> bool:
        return True


def test_a_distillation_step_leaves_what_is_never_masked_alone() -> None:
    before, after = Snapshots(), Snapshots()
    model = make_model()
    model.learn(256, callback=[before, MaskDistillationCallback(learning_rate=0.01), after])
    assert len(before.weights) == 3
    changes = [
        {name for name in old if not th.equal(old[name], new[name])}
        for old, new in zip(before.weights, after.weights, strict=True)
    ]
    # Nothing to learn from before the first rollout; a step after each of the two.
    assert changes == [set(), *[{"action_net.weight", "action_net.bias"}] * 2]
    for old, new in zip(before.weights, after.weights, strict=True):
        assert (new["action_net.bias"] <= old["action_net.bias"]).all()


@pytest.mark.parametrize("shared", [True, False], ids=["shared features", "own features"])
def test_the_masked_policy_is_left_alone_where_masks_do_not_vary(shared: bool) -> None:
    class Same(Rooms):
        def action_masks(self) -> Any:
            return MASKS[0]

    model = MaskablePPO(
        "MlpPolicy",
        DummyVecEnv([Same] * 2),
        n_steps=32,
        batch_size=64,
        seed=0,
        device="cpu",
        policy_kwargs={"share_features_extractor": shared},
    )
    model.learn(64)
    free, masked = probabilities(model), probabilities(model, np.tile(MASKS[0], (3, 1)))
    # A learning rate of PPO of 0: what changes is the distillation's doing.
    model.lr_schedule = lambda _: 0.0
    model.learn(
        320, reset_num_timesteps=False, callback=MaskDistillationCallback(learning_rate=0.05)
    )
    np.testing.assert_allclose(
        probabilities(model, np.tile(MASKS[0], (3, 1))), masked, rtol=1e-5, atol=1e-6
    )
    closed = ~MASKS[0]
    assert (probabilities(model)[:, closed].sum(1) < 0.7 * free[:, closed].sum(1)).all()


def test_the_loss_is_logged_and_falls(tmp_path: Path) -> None:
    model = make_model()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(1280, callback=MaskDistillationCallback(learning_rate=0.01, batch_size=32))
    model.logger.close()
    rows = csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())
    losses = [row["guidance/masked_mass_loss"] for row in rows]
    assert losses[0] == ""  # nothing was learned before the first rollout
    assert float(losses[-1]) < 0.5 * float(losses[1])


def test_training_can_go_on() -> None:
    model, callback = make_model(), MaskDistillationCallback()
    for _ in range(2):
        model.learn(128, callback=callback, reset_num_timesteps=False)
    assert model.num_timesteps == 256


def test_a_rollout_that_was_cut_off_is_not_learned_from() -> None:
    class StopAt(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 10

    before, after = Snapshots(), Snapshots()
    make_model().learn(256, callback=[before, MaskDistillationCallback(), StopAt(), after])
    assert all(
        th.equal(before.weights[-1][name], after.weights[-1][name]) for name in before.weights[-1]
    )


@pytest.mark.parametrize(
    "options", [{"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"batch_size": 0}]
)
def test_options_that_are_not_positive(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="learning_rate and batch_size must be positive"):
        MaskDistillationCallback(**options)


def test_an_algorithm_without_masks_is_refused() -> None:
    model = PPO("MlpPolicy", Rooms(), n_steps=32, batch_size=32, device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="needs MaskablePPO and a Discrete"):
        model.learn(32, callback=MaskDistillationCallback())


@pytest.mark.parametrize("space", [gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiBinary(3)])
def test_other_action_spaces_are_refused(space: Any) -> None:
    class Other(Rooms):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = space

        def action_masks(self) -> Any:
            return np.ones(6 if isinstance(space, gym.spaces.MultiBinary) else 5, dtype=bool)

    model = MaskablePPO("MlpPolicy", Other(), n_steps=32, batch_size=32, device="cpu")
    with pytest.raises(IncompatibleEnvironmentError, match="needs MaskablePPO and a Discrete"):
        model.learn(32, callback=MaskDistillationCallback())
