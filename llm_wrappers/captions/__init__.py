"""How an environment speaks: facts, state captions, transition captions and its description."""

from llm_wrappers.captions.captioner import Captioner, Facts, FactValue, batch_infos
from llm_wrappers.captions.description import EnvDescription

__all__ = ["Captioner", "EnvDescription", "FactValue", "Facts", "batch_infos"]
