"""Point 12: what outlives an episode can be saved and restored."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._rollout import AnyEnv, rollout
from llm_wrappers.testing._subject import Subject, added_layers, fail
from llm_wrappers.testing.conformance_error import ConformanceError, Point

__all__ = ["check_state"]


def check_state(subject: Subject) -> None:
    """`stats` is a dict of its own, and a state that is loaded gives the same stats and state."""
    layers = _new_layers(subject)
    if layers[0].has_wrapper_attr("set_progress"):
        layers[0].get_wrapper_attr("set_progress")(0.25)
    rollout(layers[0], subject.actions(), subject.seed)
    saved = [_Saved(layer) for layer in layers]
    # A state that is no copy would move on with the wrapper.
    rollout(layers[0], subject.actions(), subject.seed)
    for one, other in zip(saved, _new_layers(subject), strict=True):
        one.check(other)


def _new_layers(subject: Subject) -> list[AnyEnv]:
    base = subject.make_env()
    return list(added_layers(subject.factory(base), base))


class _Saved:
    """The stats and the state of one layer, where it has them, and copies from when they were."""

    def __init__(self, layer: AnyEnv) -> None:
        self._name = type(layer).__name__
        # Of the layer itself: has_wrapper_attr would also find what is further inside.
        methods = ("stats", "state_dict", "load_state_dict")
        self._offered = {name for name in methods if hasattr(type(layer), name)}
        if len(self._offered - {"stats"}) == 1:
            raise ConformanceError(
                Point.STATE,
                f"both state_dict and load_state_dict of {self._name}, or neither",
                got=f"only {(self._offered - {'stats'}).pop()}",
            )
        self._read = {name: _dict_of(layer, name) for name in methods[:2] if name in self._offered}
        self._copies = deepcopy(self._read)

    def check(self, other: Any) -> None:
        """Compare with another wrapper of the kind, once the state is loaded there."""
        for method, before in self._copies.items():
            found = difference(before, self._read[method], f"{self._name}.{method}()")
            if found is not None:
                raise fail(Point.STATE, "a copy, which stays as it is in later steps", found)
        if "state_dict" not in self._offered:
            return
        # As a checkpoint does it.
        other.load_state_dict(pickle.loads(pickle.dumps(self._read["state_dict"])))
        for method, before in self._copies.items():
            found = difference(before, getattr(other, method)(), f"{method}()")
            if found is not None:
                raise fail(Point.STATE, f"{self._name} to have the state that was loaded", found)


def _dict_of(layer: Any, method: str) -> dict[str, Any]:
    found = getattr(layer, method)()
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        name = f"{type(layer).__name__}.{method}()"
        raise ConformanceError(Point.STATE, f"{name} to return a dict with names", got=found)
    return found
