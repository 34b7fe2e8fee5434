"""Text to unit vectors."""

from llm_wrappers.embeddings.encoder import Encoder, resolve_encoder
from llm_wrappers.embeddings.hashing import HashingEncoder

__all__ = ["Encoder", "HashingEncoder", "resolve_encoder"]
