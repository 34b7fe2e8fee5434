"""Text to unit vectors."""

from llm_wrappers.embeddings.cached import CachedEncoder
from llm_wrappers.embeddings.calibration import Calibration, Separation, calibrate
from llm_wrappers.embeddings.encoder import Encoder
from llm_wrappers.embeddings.hashing import HashingEncoder
from llm_wrappers.embeddings.resolve import resolve_encoder
from llm_wrappers.embeddings.sentence_transformer import SentenceTransformerEncoder

__all__ = [
    "CachedEncoder",
    "Calibration",
    "Encoder",
    "HashingEncoder",
    "SentenceTransformerEncoder",
    "Separation",
    "calibrate",
    "resolve_encoder",
]
