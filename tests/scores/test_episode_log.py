"""Episode logs on disk, and result tables."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.scores import EpisodeLog, format_table, read_episodes

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

    def test_line_is_on_disk_before_the_log_is_closed(self, tmp_path):
        with EpisodeLog(tmp_path / "deep" / "stats.jsonl") as log:
            log.append(length=5, reward=np.float32(0.5), achievements={"a": np.int64(1)})
            assert len(read_episodes(log.path)) == 1

    def test_continues_an_existing_log(self, tmp_path):
        path = tmp_path / "stats.jsonl"
        write(path, 2)
        write(path, 1)
        assert [record["length"] for record in read_episodes(path)] == [1, 2, 1]

    def test_travels_to_another_process_with_its_file_open(self, tmp_path):
        with EpisodeLog(tmp_path / "stats.jsonl") as log:
            log.append(length=1, reward=0.0, achievements={})
            with pickle.loads(pickle.dumps(log)) as copy:
                copy.append(length=2, reward=0.0, achievements={})
        assert [record["length"] for record in read_episodes(log.path)] == [1, 2]

    def test_accepts_numpy_values_as_extra_keys(self, tmp_path):
        with EpisodeLog(tmp_path / "stats.jsonl") as log:
            extra = {"env_steps": np.int64(7), "seeds": np.arange(2)}
            log.append(length=1, reward=0.0, achievements={}, **extra)
        record = read_episodes(log.path)[0]
        assert (record["env_steps"], record["seeds"]) == (7, [0, 1])

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


class TestFormatTable:
    def test_blank_cells_and_chosen_columns(self):
        rows = [{"a": 1, "b": "x"}, {"a": None, "c": True}]
        assert format_table(rows, ["c", "a"]).splitlines() == [
            "| c    |   a |",
            "| ---- | --: |",
            "|      |   1 |",
            "| True |     |",
        ]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.012345, "0.0123"),
            (80.91, "80.9"),
            (1234.5, "1234"),
            (1e20, "1e+20"),
            (123456, "123456"),
            (math.nan, "nan"),
            (np.float32(0.5), "0.5"),
            ("a|b\nc", "a\\|b c"),
        ],
    )
    def test_cells(self, value, text):
        assert format_table([{"v": value}]).splitlines()[2].strip("| ") == text

    @examples
    @given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9)), max_size=5))
    def test_every_line_has_the_same_shape(self, rows):
        lines = format_table(rows).split("\n")
        assert len({len(line) for line in lines}) == 1
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1

    def test_no_columns_no_table(self):
        assert format_table([]) == ""
        assert format_table([{}]) == ""

    def test_header_alone(self):
        assert format_table([], ["a"]) == "| a   |\n| --- |"

    def test_json_of_an_episode_fits(self):
        assert "170" in format_table([json.loads('{"length": 170}')])
