"""Saving and loading a guidance artefact."""

import json
import re
from tempfile import TemporaryDirectory

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import llm_wrappers
from llm_wrappers import MaskBank
from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.guidance import GuidanceArtefact, Provenance, load_artefact, save_artefact
from llm_wrappers.guidance.artefact import load_masks

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BY_HAND = Provenance(author="hand", environment="CartPole-v1")
SOURCE = "class OptimizedGoalGenerator:\n    def generate(self, facts):\n        return []\n"
EXPLOSIVE = "raise AssertionError('executed')\n"

texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
artefacts = st.builds(
    GuidanceArtefact,
    provenance=st.builds(
        Provenance,
        author=texts,
        environment=texts,
        notes=texts,
        prompt_sha256=st.dictionaries(texts, texts, max_size=3),
        usage=st.dictionaries(texts, numbers, max_size=3),
        library_version=texts,
    ),
    planner_source=st.none() | texts | st.sampled_from(["a = 1\r\nb = 2\r", "\ufeff# \u2028\n"]),
    masks=st.none()
    | st.dictionaries(
        texts,
        st.lists(st.integers(-(2**70), 2**70) | texts, max_size=4)
        | st.lists(st.booleans(), max_size=4),
        max_size=3,
    ),
)


def same_types(a, b):
    return a == b and json.dumps(a.model_dump()) == json.dumps(b.model_dump())


@given(artefacts, artefacts)
@settings(examples, max_examples=60)
def test_what_was_saved_is_loaded_whatever_was_in_the_folder(earlier, artefact):
    with TemporaryDirectory() as folder:
        save_artefact(earlier, folder)
        save_artefact(artefact, folder)
        assert same_types(load_artefact(folder), artefact)


def test_saving_writes_plain_files_into_a_new_folder(tmp_path):
    artefact = GuidanceArtefact(provenance=BY_HAND, planner_source=SOURCE, masks={"go left": [0]})
    folder = save_artefact(artefact, tmp_path / "deep" / "folder")
    assert folder == tmp_path / "deep" / "folder"
    assert (folder / "planner.py").read_text() == SOURCE
    assert json.loads((folder / "masks.json").read_text()) == {"go left": [0]}
    manifest = json.loads((folder / "artefact.json").read_text())
    assert manifest["format"] == 1
    assert manifest["provenance"]["library_version"] == llm_wrappers.__version__
    assert load_artefact(str(folder)).planner().sha256 == manifest["planner_sha256"]


def test_boolean_masks_stay_boolean(tmp_path):
    masks = {"go left": [True, False], "rest": [1, 0]}
    save_artefact(GuidanceArtefact(provenance=BY_HAND, masks=masks), tmp_path)
    for loaded in (load_artefact(tmp_path).masks, load_masks(tmp_path / "masks.json")):
        matrix = MaskBank(loaded, gym.spaces.Discrete(2)).matrix(["go left", "rest"])
        np.testing.assert_array_equal(matrix, [[True, False], [True, True]])


@pytest.mark.parametrize("record", [None, {"sha256": "0" * 64, "states": 9, "when": "2026-01-01"}])
def test_the_validation_record_of_an_older_version_is_passed_over(record, tmp_path):
    artefact = GuidanceArtefact(provenance=BY_HAND, planner_source=SOURCE)
    path = save_artefact(artefact, tmp_path) / "artefact.json"
    manifest = json.loads(path.read_text())
    assert "validation" not in manifest
    path.write_text(json.dumps({**manifest, "validation": record}))
    assert load_artefact(tmp_path) == artefact


class TestPlanner:
    def test_without_one(self):
        with pytest.raises(GuidanceFileError, match=r"has no planner\.py"):
            GuidanceArtefact(provenance=BY_HAND).planner()

    def test_is_executed_only_when_it_is_asked_for(self, tmp_path):
        artefact = GuidanceArtefact(provenance=BY_HAND, planner_source=EXPLOSIVE, masks={"go": [0]})
        loaded = load_artefact(save_artefact(artefact, tmp_path))
        assert loaded.masks == {"go": [0]}
        with pytest.raises(GuidanceFileError, match=r"planner\.py: cannot be executed"):
            loaded.planner("trusted")

    def test_another_one_than_was_saved_is_refused_and_not_executed(self, tmp_path, capsys):
        artefact = GuidanceArtefact(provenance=BY_HAND, planner_source=SOURCE)
        save_artefact(artefact, tmp_path)
        (tmp_path / "planner.py").write_text("print('executed')\n" + SOURCE)
        with pytest.raises(GuidanceFileError) as caught:
            load_artefact(tmp_path)
        assert f'"file:{tmp_path / "planner.py"}"' in str(caught.value)
        assert capsys.readouterr().out == ""

    def test_a_manifest_without_a_hash_takes_any(self, tmp_path):
        save_artefact(GuidanceArtefact(provenance=BY_HAND), tmp_path)
        (tmp_path / "planner.py").write_text(SOURCE)
        assert load_artefact(tmp_path).planner_source == SOURCE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"format": 0}, "format"),
        ({"author": "hand"}, "author"),
        ({"provenance": {"author": "hand"}}, "environment"),
        ({"provenance": {"author": "hand", "environment": "x", "model": "y"}}, "model"),
        ({"planner_sha256": 3}, "planner_sha256"),
    ],
    ids=str,
)
def test_a_manifest_of_another_form_is_refused(tmp_path, change, message):
    save_artefact(GuidanceArtefact(provenance=BY_HAND), tmp_path)
    path = tmp_path / "artefact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(
        GuidanceFileError, match=rf"(?s)artefact\.json is not a manifest: .*{message}"
    ):
        load_artefact(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{'format': 1}", b"\xff"])
def test_what_is_not_json_is_refused(tmp_path, content):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "artefact.json").write_bytes(content)
    message = f"{tmp_path / 'artefact.json'} is not valid JSON"
    with pytest.raises(GuidanceFileError, match=re.escape(message)):
        load_artefact(tmp_path)


def test_a_missing_folder_is_a_file_error(tmp_path):
    with pytest.raises(GuidanceFileError, match=r"cannot read .*nowhere.*artefact\.json") as caught:
        load_artefact(tmp_path / "nowhere")
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("content", ["[]", '{"go": 1}', '{"go": [1.5]}', '{"go": [null]}', "3"])
def test_a_mask_file_of_another_form_is_refused(tmp_path, content):
    save_artefact(GuidanceArtefact(provenance=BY_HAND), tmp_path)
    path = tmp_path / "masks.json"
    path.write_text(content)
    for load in (lambda: load_masks(path), lambda: load_artefact(tmp_path)):
        with pytest.raises(GuidanceFileError, match=r"expected a JSON object of goal -> list of a"):
            load()


@pytest.mark.parametrize("unknown", ["planer_source", "mask"])
def test_unknown_keys_are_refused(unknown):
    with pytest.raises(ValidationError, match=unknown):
        GuidanceArtefact(provenance=BY_HAND, **{unknown: None})
