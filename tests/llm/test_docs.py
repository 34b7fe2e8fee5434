"""The programs in docs/language-models.md run as they stand, against a server on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from llm_wrappers.llm import allow_requests
from llm_wrappers.testing import LLMServer

PAGE = (Path(__file__).parents[2] / "docs" / "language-models.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_the_programs_that_are_tested_here():
    assert len(PROGRAMS) == 3


def test_the_first_program(in_a_folder, monkeypatch, capsys):
    with LLMServer(answer='{"goals": ["eat"]}') as server, allow_requests(True):
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", server.api_base)
        names = {"prompts": ["a", "b", "a"], "prompt": "What now?"}
        exec(PROGRAMS[0], names)
        assert server.count == 3
    assert names["answer"].parsed.goals == ["eat"]
    assert [answer.text for answer in names["answers"]] == ['{"goals": ["eat"]}'] * 3
    assert "cache_hits" in capsys.readouterr().out
    assert (in_a_folder / "answers.sqlite").exists()


def test_the_fixture_for_a_test_suite_keeps_the_brake_on():
    names: dict[str, object] = {}
    exec(PROGRAMS[1], names)
    assert os.environ["LLM_WRAPPERS_ALLOW_REQUESTS"] == "0"
    assert "no_requests" in names


def test_the_doubles():
    names: dict[str, object] = {}
    exec(PROGRAMS[2], names)
    assert type(names["llm"]).__name__ == "LLM"
