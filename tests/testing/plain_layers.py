"""A layer without a fault, and one whose fault both kits have to catch."""

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

Env = gym.Env[Any, Any]


class Plain(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A wrapper without a fault, from which the broken ones differ in one thing each."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)


class Showing(Plain):
    """It makes something of each observation and of each info."""

    def observed(self, observation: Any) -> Any:
        return observation

    def informed(self, info: Any) -> Any:
        return info

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return self.observed(observation), self.informed(info)

    def step(self, action: Any) -> Any:
        observation, *rest, info = self.env.step(action)
        return (self.observed(observation), *rest, self.informed(info))


class LosesItsState(Plain):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._count = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_count": 0}

    def reset(self, **kwargs: Any) -> Any:
        self._count = 0
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "count": 0}

    def step(self, action: Any) -> Any:
        self._count += 1
        *rest, info = self.env.step(action)
        return (*rest, {**info, "count": self._count})
