"""A network that learns to predict another one, and what it has not learned yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import nn

__all__ = ["Distillation"]

# What the convolutions need; both numbers are those of the common "Nature" network.
_SMALLEST_PICTURE = 36
_CLIP = 5.0
_BATCH = 256


class Distillation:
    """The two networks of random network distillation (Burda et al. 2018, arXiv 1810.12894).

    A fixed random network maps observations to features, and a predictor is trained to give the
    same: its error is large for observations unlike those it was trained with. Observations are
    normalised by their running mean and deviation and clipped to [-5, 5], as in section 2.4.
    Pictures of at least 36 x 36 are seen by convolutions, everything else is flattened.
    """

    def __init__(
        self,
        space: spaces.Box,
        *,
        features: int,
        hidden: int,
        learning_rate: float,
        seed: int,
        device: str,
    ) -> None:
        self._device = th.device(device)
        self._is_picture = is_image_space(space) and sorted(space.shape)[1] >= _SMALLEST_PICTURE
        self._to_front = self._is_picture and not is_image_space_channels_first(space)
        # A stream of its own: neither does it disturb that of the algorithm, nor the reverse.
        with th.random.fork_rng(devices=[]):
            th.manual_seed(seed)
            self._target = self._network(space, hidden, features, extra_layers=0)
            self._predictor = self._network(space, hidden, features, extra_layers=1)
        self._target.requires_grad_(False)
        self._optimizer = th.optim.Adam(self._predictor.parameters(), lr=learning_rate)
        self._generator = th.Generator().manual_seed(seed)
        self._statistics = RunningMeanStd(shape=space.shape)

    def observe(self, observations: NDArray[Any]) -> None:
        """Let observations of shape (n, ...) count in the running mean and deviation."""
        self._statistics.update(np.asarray(observations, dtype=np.float64))

    def errors(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean squared error of each of n predictions, shape (n,)."""
        with th.no_grad():
            batch = self._normalised(observations)
            squares = (self._predictor(batch) - self._target(batch)).square().mean(dim=1)
        errors: NDArray[np.float64] = squares.cpu().numpy().astype(np.float64)
        return errors

    def chosen(self, n: int, share: float) -> NDArray[np.bool_]:
        """Return which of n observations to train with, each with the same probability."""
        return (th.rand(n, generator=self._generator) < share).numpy()

    def learn(self, observations: NDArray[Any], *, epochs: int) -> float:
        """Train the predictor with observations of shape (n, ...), and return its mean loss."""
        inputs, losses = self._normalised(observations), []
        with th.no_grad():
            wanted = self._target(inputs)
        for _ in range(epochs):
            order = th.randperm(len(inputs), generator=self._generator)
            for rows in th.split(order, _BATCH):
                loss = nn.functional.mse_loss(self._predictor(inputs[rows]), wanted[rows])
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                losses.append(loss.item())
        return sum(losses) / len(losses)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was drawn or learned, as tensors and plain values."""
        return {
            "target": self._target.state_dict(),
            "predictor": self._predictor.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "mean": th.as_tensor(self._statistics.mean),
            "var": th.as_tensor(self._statistics.var),
            "count": float(self._statistics.count),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; a RuntimeError if it is of other networks."""
        self._target.load_state_dict(state["target"])
        self._predictor.load_state_dict(state["predictor"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self._statistics.mean = state["mean"].numpy().copy()
        self._statistics.var = state["var"].numpy().copy()
        self._statistics.count = state["count"]

    def _normalised(self, observations: NDArray[Any]) -> th.Tensor:
        scale = np.sqrt(self._statistics.var + 1e-8)
        scaled = np.clip((observations - self._statistics.mean) / scale, -_CLIP, _CLIP)
        batch = th.as_tensor(scaled, dtype=th.float32, device=self._device)
        return batch.permute(0, 3, 1, 2) if self._to_front else batch

    def _network(
        self, space: spaces.Box, hidden: int, features: int, *, extra_layers: int
    ) -> nn.Sequential:
        if self._is_picture:
            channels = space.shape[2] if self._to_front else space.shape[0]
            layers: list[nn.Module] = [
                nn.Conv2d(channels, 32, 8, stride=4), nn.LeakyReLU(),
                nn.Conv2d(32, 64, 4, stride=2), nn.LeakyReLU(),
                nn.Conv2d(64, 64, 3), nn.LeakyReLU(),
                nn.Flatten(),
            ]  # fmt: skip
        else:
            layers = [nn.Flatten()]
        example = np.zeros(space.shape, dtype=np.float32)[None]
        pictured = th.as_tensor(example).permute(0, 3, 1, 2) if self._to_front else example
        with th.no_grad():
            width = nn.Sequential(*layers)(th.as_tensor(pictured)).shape[1]
        for _ in range(1 + extra_layers):
            layers += [nn.Linear(width, hidden), nn.LeakyReLU()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, features)).to(self._device)
