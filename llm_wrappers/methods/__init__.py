"""One module per published method: how its wrappers are stacked."""

from llm_wrappers.methods import ellm, lmgt, sgrl

__all__ = ["ellm", "lmgt", "sgrl"]
