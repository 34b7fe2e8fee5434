"""Trajectories on disk come back bit for bit, and damage is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.trajectories.files import (
    TrajectoryFiles,
    append_trajectory,
    load_trajectory,
    open_trajectories,
    save_trajectory,
)
from llm_wrappers.trajectories.trajectory import Trajectory, check_space, stacked


def played(number: int, steps: int = 3) -> Trajectory:
    numbers = np.arange(steps, dtype=np.float32) + number
    return Trajectory(np.append(numbers, 0), numbers, numbers, True, False, seed=number)


BOXES = st.builds(
    lambda kind, shape: spaces.Box(0, 1 if kind == "float16" else 9, shape, np.dtype(kind).type),
    st.sampled_from(["float16", "float32", "float64", "uint8", "int16"]),
    st.sampled_from([(), (1,), (2, 3), (0,)]),
)
LEAVES = st.one_of(
    BOXES,
    st.builds(spaces.Discrete, st.integers(1, 5), start=st.integers(-3, 3)),
    st.just(spaces.MultiDiscrete([2, 3])),
    st.just(spaces.MultiBinary(4)),
    st.just(spaces.Text(5, min_length=0, charset="abé ☃")),
)
# Keys that would be paths, in an archive that took them as names.
KEYS = st.sampled_from(["a", "b/c", "../d", "rewards", "é", "0"])
SPACES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=4,
)
TEXTS = st.text(max_size=6)
FACTS = st.dictionaries(
    TEXTS,
    st.one_of(
        st.booleans(), st.integers(), st.floats(), TEXTS, st.none(), st.lists(TEXTS).map(tuple)
    ),
    max_size=3,
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    steps = draw(st.integers(1, 4))
    trees = []
    for length in (steps + 1, steps):
        space: gym.Space[Any] = draw(SPACES)
        check_space(space, "values")
        space.seed(draw(st.integers(0, 99)))
        trees.append(stacked(space, [space.sample() for _ in range(length)]))
    told = draw(st.booleans())

    def row(strategy: Any, length: int) -> Any:
        return draw(st.lists(strategy, min_size=length, max_size=length)) if told else None

    return Trajectory(
        *trees,
        rewards=draw(st.lists(st.floats(), min_size=steps, max_size=steps)),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        captions=row(TEXTS, steps + 1),
        transition_captions=row(TEXTS, steps),
        facts=row(FACTS, steps + 1),
        seed=draw(st.one_of(st.none(), st.integers(0, 2**70))),
        metadata=draw(st.dictionaries(TEXTS, st.integers(), max_size=2)),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(trajectories())
def test_every_bit_of_every_space_comes_back(tmp_path_factory: Any, trajectory: Trajectory) -> None:
    path = tmp_path_factory.getbasetemp() / "one.npz"
    save_trajectory(trajectory, path)
    found = load_trajectory(path)
    assert found == trajectory
    assert type(found.observations) is type(trajectory.observations)


def test_numpy_and_a_person_can_read_the_file(tmp_path: Path) -> None:
    save_trajectory(played(4), tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        assert arrays["rewards"].tolist() == [4.0, 5.0, 6.0]
        assert arrays["observations.0"].shape == (4,)
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert archive.read("trajectory.json").startswith(b'{"version": 1, "steps": 3')


def test_a_folder_grows_in_order_and_is_read_when_it_is_looked_at(tmp_path: Path) -> None:
    paths = [append_trajectory(played(number), tmp_path / "new" / "runs") for number in range(12)]
    found = open_trajectories(tmp_path / "new" / "runs")
    assert list(found.paths) == paths
    assert [each.seed for each in found] == list(range(12))
    assert found[-1] == played(11)
    some = found[2:4]
    assert isinstance(some, TrajectoryFiles)
    assert [each.seed for each in some] == [2, 3]
    paths[0].unlink()
    assert len(found) == 12
    with pytest.raises(GuidanceFileError, match="No such file"):
        _ = found[0]
    assert append_trajectory(played(12), tmp_path / "new" / "runs").name.startswith("000012-")


def test_files_with_other_names_come_first_and_other_files_do_not_count(tmp_path: Path) -> None:
    append_trajectory(played(0), tmp_path)
    save_trajectory(played(7), tmp_path / "best.npz")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".000001-aa.npz.bb.tmp").write_bytes(b"half")
    assert [each.seed for each in open_trajectories(tmp_path)] == [7, 0]


def _append_some(folder: str, first: int) -> None:
    for number in range(first, first + 10):
        append_trajectory(played(number), folder)


@pytest.mark.slow
def test_processes_may_append_to_one_folder(tmp_path: Path) -> None:
    context = get_context("fork")
    workers = [context.Process(target=_append_some, args=(str(tmp_path), 10 * i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(each.seed or 0 for each in open_trajectories(tmp_path)) == list(range(30))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_is_told_and_never_believed(
    tmp_path_factory: Any, place: float, bit: int, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    save_trajectory(played(1, steps=40), path)
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    # Only what is no data, such as the time of the archive, can differ unnoticed.
    with suppress(GuidanceFileError):
        assert load_trajectory(path) == played(1, steps=40)


def _written(path: Path, record: bytes) -> Path:
    save_trajectory(played(1), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, "trajectory.json": record}.items():
            archive.writestr(name, part)
    return path


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"{}", "KeyError: 'version'"),
        (b'{"version": 2}', "expected version 1 of the format, got 2"),
        (b'{"version": 1, "steps": 9}', "are of different lengths"),
        (b"[" * 100_000, "RecursionError"),
        (b'{"version": 1, "steps": 3, "observations": null, "actions": [], "terminated": true, '
         b'"truncated": false}', "actions must have at least one array"),
        (b'{"version": 1, "steps": 3, "observations": null, "actions": null, "terminated": true, '
         b'"truncated": false, "more": 1}', "unexpected keyword argument 'more'"),
    ],
    ids=["empty", "newer", "lengths", "deep", "no actions", "unknown"],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_refused(tmp_path: Path, record: bytes, message: str) -> None:
    with pytest.raises(GuidanceFileError, match=message):
        load_trajectory(_written(tmp_path / "one.npz", record))


def test_a_pickle_in_the_file_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    save_trajectory(played(1), path)
    np.save(tmp_path / "evil.npy", np.array([Path], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        record = archive.read("trajectory.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("trajectory.json", record)
        archive.write(tmp_path / "evil.npy", "rewards.npy")
    with pytest.raises(GuidanceFileError, match="allow_pickle=False"):
        load_trajectory(path)


def test_a_damaged_file_is_named_and_the_others_can_be_read(tmp_path: Path) -> None:
    paths = [append_trajectory(played(number), tmp_path) for number in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    found = open_trajectories(tmp_path)
    with pytest.raises(GuidanceFileError, match=f"{paths[1].name} is no trajectory, or is damaged"):
        list(found)
    with pytest.warns(UserWarning, match=f"skipped: .*{paths[1].name}"):
        assert [each.seed for each in found.intact()] == [0, 2]


def test_places_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GuidanceFileError, match=r"expected a folder of trajectories at .*none"):
        open_trajectories(tmp_path / "none")
    with pytest.raises(InvalidOptionError, match=r"path must end with \.npz, got .*one\.zip"):
        save_trajectory(played(0), tmp_path / "one.zip")
    (tmp_path / "file").write_text("")
    with pytest.raises(GuidanceFileError, match=r"cannot make the folder .*file/deep"):
        append_trajectory(played(0), tmp_path / "file" / "deep")
    with pytest.raises(GuidanceFileError, match=r"cannot write the trajectory .*free the disk"):
        save_trajectory(played(0), tmp_path / "file" / "one.npz")


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_is_told_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: Any, fails: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    save_trajectory(played(0), tmp_path / "one.npz")
    monkeypatch.setattr(os, fails, full)
    with pytest.raises(GuidanceFileError, match="No space left on device"):
        save_trajectory(played(1), tmp_path / "one.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["one.npz"]
    assert load_trajectory(tmp_path / "one.npz").seed == 0


@pytest.mark.parametrize(
    "space",
    [
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Dict(a=spaces.Graph(spaces.Box(0, 1), None)),
    ],
    ids=["sequence", "graph"],
)
def test_spaces_without_one_shape_are_refused(space: gym.Space[Any]) -> None:
    with pytest.raises(IncompatibleEnvironmentError, match="expected observations of Box, Disc"):
        check_space(space, "observations")


WRITER = textwrap.dedent(
    """
    import sys
    import numpy as np
    from llm_wrappers.trajectories.trajectory import Trajectory
    from llm_wrappers.trajectories.files import append_trajectory

    noise = np.random.default_rng(0).random((2001, 100))
    number = 0
    while True:
        append_trajectory(
            Trajectory(noise, noise[1:], noise[1:, 0], True, False, seed=number), sys.argv[1]
        )
        number += 1
        print(number, flush=True)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_writer_that_is_stopped_leaves_whole_files_only(tmp_path: Path, kind: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(3)]
    # In the middle of the next file, which takes about 100 ms.
    _wait_for_half_a_file(tmp_path)
    writer.send_signal(kind)
    rest, errors = writer.communicate(timeout=20)
    said += [int(line) for line in rest.split()]
    assert writer.returncode != 0
    found = open_trajectories(tmp_path)
    assert [each.seed for each in found] == list(range(len(found)))
    assert said[-1] <= len(found) <= said[-1] + 1
    left = [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    if kind == signal.SIGINT:
        assert "KeyboardInterrupt" in errors
        assert not left
    append_trajectory(found[0], tmp_path)
    assert open_trajectories(tmp_path)[-1].seed == 0


def _wait_for_half_a_file(folder: Path) -> None:
    for _ in range(100_000):
        if any(path.suffix == ".tmp" for path in folder.iterdir()):
            return
    raise AssertionError("the writer wrote nothing")
