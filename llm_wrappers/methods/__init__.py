"""One module per published method: how its wrappers are stacked."""

from llm_wrappers.methods import ellm, lmgt, sgrl, ultra

__all__ = ["ellm", "lmgt", "sgrl", "ultra"]
