"""Trajectories on disk: one file per episode, which is whole or not there at all."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, overload

from numpy.lib import format as npy_format
from numpy.typing import NDArray

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.storage.whole_file import replacing
from llm_wrappers.trajectories.trajectory import Trajectory, rebuilt

__all__ = [
    "TrajectoryFiles",
    "append_trajectory",
    "load_trajectory",
    "open_trajectories",
    "save_trajectory",
]

_VERSION = 1
_RECORD = "trajectory.json"
_NUMBERED = re.compile(r"(\d+)-[0-9a-f]+\.npz")


class TrajectoryFiles(Sequence[Trajectory]):
    """Trajectories that stay on disk; each is read when it is looked at.

    Args:
        paths: The files, in order.

    >>> from tempfile import mkdtemp
    >>> import numpy as np
    >>> folder = mkdtemp()
    >>> episode = Trajectory(np.zeros(3), np.ones(2), [1, 2], terminated=True, truncated=False)
    >>> path = append_trajectory(episode, folder)
    >>> found = open_trajectories(folder)
    >>> len(found), found[0].returns
    (1, array([3., 2.]))
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self.paths: tuple[Path, ...] = tuple(Path(path) for path in paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> TrajectoryFiles: ...
    def __getitem__(self, index: int | slice) -> Trajectory | TrajectoryFiles:
        if isinstance(index, slice):
            return TrajectoryFiles(self.paths[index])
        return load_trajectory(self.paths[index])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} files)"

    def intact(self) -> Iterator[Trajectory]:
        """Yield the trajectories that can be read, with a warning that names each other file."""
        for path in self.paths:
            try:
                trajectory = load_trajectory(path)
            except GuidanceFileError as error:
                warnings.warn(f"skipped: {error}", UserWarning, stacklevel=2)
            else:
                yield trajectory


def open_trajectories(folder: str | Path) -> TrajectoryFiles:
    """Return the trajectories of a folder, in the order in which they were appended.

    Files of writers that were stopped in the middle are hidden and are passed over. Processes that
    write at the same time are interleaved.

    Args:
        folder: Where `append_trajectory` or a `TrajectoryRecorder` wrote.

    Raises:
        GuidanceFileError: If there is no such folder.
    """
    place = Path(folder).expanduser()
    try:
        names = _names(place)
    except OSError as error:
        raise GuidanceFileError(
            f"expected a folder of trajectories at {place}, got: {error.strerror}"
        ) from error
    return TrajectoryFiles(place / name for name in sorted(names, key=_order))


def append_trajectory(trajectory: Trajectory, folder: str | Path) -> Path:
    """Save a trajectory behind those that are in a folder, and return its path.

    Several processes may append to one folder.

    Args:
        trajectory: What to save.
        folder: Created where it is missing.

    Raises:
        GuidanceFileError: If it cannot be written.
    """
    place = make_folder(folder)
    number = 1 + max((_order(name)[0] for name in _names(place)), default=-1)
    # The second half keeps apart what two processes write at once.
    path = place / f"{number:06d}-{secrets.token_hex(4)}.npz"
    save_trajectory(trajectory, path)
    return path


def save_trajectory(trajectory: Trajectory, path: str | Path) -> None:
    """Save a trajectory to one file, which appears when it is whole.

    The file is a compressed ``.npz`` with ``trajectory.json`` beside the arrays. It is written
    beside its place and moved there, so that a process that is killed leaves either the old file or
    the new one.

    Args:
        trajectory: What to save.
        path: Ends with ``.npz``; missing folders are made, and a file that is there is replaced.

    Raises:
        InvalidOptionError: If the path does not end with ``.npz``.
        GuidanceFileError: If it cannot be written.
    """
    target = Path(path).expanduser()
    if target.suffix != ".npz":
        raise InvalidOptionError(f"path must end with .npz, got {target}")
    try:
        with replacing(target) as file:
            _write(trajectory, file)
    except OSError as error:
        raise GuidanceFileError(
            f"cannot write the trajectory {target}: {error.strerror}; free the disk or name "
            "another place"
        ) from error


def load_trajectory(path: str | Path) -> Trajectory:
    """Return a trajectory from its file. No code of the file is ever run.

    Args:
        path: A file that `save_trajectory` wrote.

    Raises:
        GuidanceFileError: If the file is missing, damaged or of another kind.
    """
    source = Path(path).expanduser()
    try:
        with zipfile.ZipFile(source) as archive:
            return _read(archive)
    except OSError as error:
        raise GuidanceFileError(
            f"cannot read the trajectory {source}: {error.strerror or error}"
        ) from error
    except Exception as error:
        # A damaged archive can fail in any way, down to a header that asks for too much memory.
        raise GuidanceFileError(
            f"{source} is no trajectory, or is damaged ({type(error).__name__}: {error}); remove "
            "it, or read the others with open_trajectories(folder).intact()"
        ) from error


def make_folder(folder: str | Path) -> Path:
    """Return a folder that exists.

    Raises:
        GuidanceFileError: If it cannot be made.
    """
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GuidanceFileError(
            f"cannot make the folder {place} for trajectories: {error.strerror}; name another"
        ) from error
    return place


def _names(folder: Path) -> list[str]:
    # As texts, because this runs for each episode and paths are slow to make.
    return [name for name in os.listdir(folder) if name.endswith(".npz") and name[0] != "."]


def _order(name: str) -> tuple[int, str]:
    found = _NUMBERED.fullmatch(name)
    return (int(found[1]) if found else -1, name)


def _write(trajectory: Trajectory, file: Any) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        text = f'{{"version": {_VERSION}, {trajectory.text()[1:]}'
        archive.writestr(_RECORD, text)
        for name, array in trajectory.arrays().items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy_format.write_array(member, array, allow_pickle=False)


def _read(archive: zipfile.ZipFile) -> Trajectory:
    record = json.loads(archive.read(_RECORD))
    version = record.pop("version")
    if version != _VERSION:
        raise ValueError(f"expected version {_VERSION} of the format, got {version!r}")
    rewards = _array(archive, "rewards")
    if record.pop("steps") != len(rewards):
        raise ValueError("its record and its arrays are of different lengths")
    trees: dict[str, Any] = {
        name: rebuilt(record.pop(name), (_array(archive, f"{name}.{i}") for i in count()))
        for name in ("observations", "actions")
    }
    return Trajectory(rewards=rewards, **trees, **record)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    # Reading the whole member is what compares its checksum.
    member = io.BytesIO(archive.read(f"{name}.npy"))
    array: NDArray[Any] = npy_format.read_array(member, allow_pickle=False)
    return array
