"""One module per published method: how its wrappers are stacked."""

from llm_wrappers.methods import sgrl

__all__ = ["sgrl"]
