"""Episode logs on disk."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.scores import EpisodeLog, read_episodes

# Training runs share the machine, so the time of one example says nothing.
examples = settings(deadline=None)

achievement_counts = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(0, 99))
logged = st.lists(
    st.fixed_dictionaries(
        {
            "length": st.integers(1, 10_000),
            "reward": st.floats(-0.9, 22.1),
            "achievements": achievement_counts,
            "env_steps": st.integers(0, 10**9),
        }
    ),
    max_size=6,
)


def write(path, count):
    with EpisodeLog(path) as log:
        for length in range(1, count + 1):
            log.append(length=length, reward=length / 3, achievements={"eat_cow": 1})


class TestEpisodeLog:
    @examples
    @given(logged)
    def test_reads_back_what_was_written(self, tmp_path_factory, episodes):
        path = tmp_path_factory.mktemp("log") / "stats.jsonl"
        path.touch()
        with EpisodeLog(path) as log:
            for record in episodes:
                log.append(**record)
        for written, read in zip(episodes, read_episodes(path), strict=True):
            counts = {f"achievement_{k}": v for k, v in written["achievements"].items()}
            reward = round(written["reward"], 1)
            expected = {"length": written["length"], "reward": reward, **counts}
            assert read == expected | {"env_steps": written["env_steps"]}
            assert list(read)[:2] == ["length", "reward"]

    def test_line_equals_the_official_recorder(self, tmp_path):
        recorder = pytest.importorskip("crafter.recorder")

        class OneStep:
            def reset(self):
                return 0

            def step(self, action):
                info = {"reward": 1.1, "achievements": {"collect_wood": 3, "eat_cow": 0}}
                return 0, 0.0, True, info

        official = recorder.StatsRecorder(OneStep(), tmp_path)
        official.reset()
        official.step(0)
        official._file.close()
        with EpisodeLog(tmp_path / "ours.jsonl") as log:
            log.append(length=1, reward=1.1, achievements={"collect_wood": 3, "eat_cow": 0})
        assert (tmp_path / "ours.jsonl").read_text() == (tmp_path / "stats.jsonl").read_text()

    def test_line_is_on_disk_at_once_and_goes_behind_those_that_are_there(self, tmp_path):
        path = tmp_path / "deep" / "stats.jsonl"
        write(path, 2)
        with EpisodeLog(path) as log:
            extra = {"env_steps": np.int64(7), "seeds": np.arange(2)}
            log.append(length=5, reward=np.float32(0.5), achievements={"a": np.int64(1)}, **extra)
            *_, record = read_episodes(path)
        assert [record["length"] for record in read_episodes(path)] == [1, 2, 5]
        assert (record["reward"], record["achievement_a"]) == (0.5, 1)
        assert (record["env_steps"], record["seeds"]) == (7, [0, 1])

    def test_travels_to_another_process_with_its_file_open(self, tmp_path):
        with EpisodeLog(tmp_path / "stats.jsonl") as log:
            log.append(length=1, reward=0.0, achievements={})
            with pickle.loads(pickle.dumps(log)) as copy:
                copy.append(length=2, reward=0.0, achievements={})
        assert [record["length"] for record in read_episodes(log.path)] == [1, 2]

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ({"achievement_a": 1}, "pass 'achievement_a' in achievements"),
            ({"x": {1}}, "JSON values"),
        ],
    )
    def test_refuses_bad_extra_keys_and_writes_nothing(self, tmp_path, extra, message):
        log = EpisodeLog(tmp_path / "stats.jsonl")
        with pytest.raises(InvalidOptionError, match=message):
            log.append(length=1, reward=0.0, achievements={}, **extra)
        assert not log.path.exists()


class TestTornLines:
    @examples
    @given(cut=st.integers(1, 60))
    def test_unfinished_last_line_is_dropped_and_repaired(self, tmp_path_factory, cut):
        path = tmp_path_factory.mktemp("log") / "stats.jsonl"
        write(path, 3)
        size = path.stat().st_size
        last = len(path.read_bytes().splitlines()[-1]) + 1
        path.write_bytes(path.read_bytes()[: size - min(cut, last)])
        # Losing the line break alone loses nothing.
        lengths = [1, 2, 3] if cut == 1 else [1, 2]
        assert [record["length"] for record in read_episodes(path)] == lengths
        write(path, 1)
        assert [record["length"] for record in read_episodes(path)] == [*lengths, 1]

    def test_log_that_is_one_torn_line_starts_anew(self, tmp_path):
        path = tmp_path / "stats.jsonl"
        path.write_text('{"length": 1')
        assert read_episodes(path) == []
        write(path, 1)
        assert len(read_episodes(path)) == 1

    @pytest.mark.parametrize("line", ['{"length": 1', "[1]", "\x00\x00"])
    def test_broken_line_in_the_middle_is_an_error(self, tmp_path, line):
        path = tmp_path / "stats.jsonl"
        path.write_text(f'{{"length": 1}}\n{line}\n{{"length": 2}}\n')
        with pytest.raises(GuidanceFileError, match="line 2: expected one JSON object"):
            read_episodes(path)

    def test_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(GuidanceFileError, match=r"cannot read .*No such file"):
            read_episodes(tmp_path / "none.jsonl")
