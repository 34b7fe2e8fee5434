"""What `import llm_wrappers` gives and what it costs."""

import ast
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

import llm_wrappers
from llm_wrappers import errors
from llm_wrappers.worlds import register_envs

HEAVY = {
    "torch",
    "jax",
    "stable_baselines3",
    "sb3_contrib",
    "litellm",
    "sentence_transformers",
    "crafter",
    "craftax",
    "matplotlib",
}
PUBLIC = [
    "ActionBoundsWrapper",
    "ActionMaskWrapper",
    "CaptionObservationWrapper",
    "CriticalStateOverrideWrapper",
    "EnvDescription",
    "Goal",
    "GoalObservationWrapper",
    "MaskBank",
    "RewardShiftWrapper",
    "SimilarityRewardWrapper",
    "TrajectoryRecorder",
    "__version__",
    "errors",
    "llm",
    "load_guidance",
    "methods",
    "save_guidance",
    "sb3",
    "schedules",
    "testing",
    "wrappers",
]
_SCRIPTS = r"__main__|_monty_process|\.reference"
BUILTINS = {"Exception", "UserWarning"}
ROOT = Path(llm_wrappers.__file__).parents[1]
CHANGELOG, DOCS = ROOT / "CHANGELOG.md", ROOT / "docs"


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestImport:
    def test_loads_nothing_heavy(self):
        code = "import llm_wrappers, sys; print(*sys.modules)"
        loaded = {name.partition(".")[0] for name in run_python(code).split()}
        assert {"gymnasium", "numpy"} <= loaded
        assert not loaded & HEAVY

    def test_what_needs_no_extra_loads_nothing_heavy(self):
        code = (
            "import sys, llm_wrappers.worlds.crafter.captioner, llm_wrappers.guidance,"
            "llm_wrappers.embeddings, llm_wrappers.worlds.craftax, llm_wrappers.worlds.crafter,"
            "llm_wrappers.wrappers; print(*sys.modules)"
        )
        assert not {name.partition(".")[0] for name in run_python(code).split()} & HEAVY

    @pytest.mark.slow
    def test_any_module_may_be_the_first(self):
        """No circle of imports, which a lucky order hides."""
        walked = pkgutil.walk_packages(llm_wrappers.__path__, "llm_wrappers.")
        names = [module.name for module in walked]
        code = (
            "import importlib, sys\n"
            f"for name in {[name for name in names if not re.search(_SCRIPTS, name)]}:\n"
            "    for known in [k for k in sys.modules if k.startswith('llm_wrappers')]:\n"
            "        del sys.modules[known]\n"
            "    importlib.import_module(name)\n"
        )
        run_python(code)

    def test_registers_the_environments(self):
        code = "import llm_wrappers, gymnasium; print(*gymnasium.registry)"
        ids = run_python(code).split()
        assert "llm_wrappers/Crafter-v1" in ids
        assert "llm_wrappers/CraftaxClassic-v1" in ids

    def test_registering_again_changes_nothing(self):
        before = dict(gym.registry)
        register_envs()
        assert gym.registry == before


class TestPublicNames:
    def test_are_exactly_these_and_sorted(self):
        assert llm_wrappers.__all__ == PUBLIC
        assert dir(llm_wrappers) == PUBLIC == sorted(PUBLIC)

    @pytest.mark.parametrize("name", PUBLIC)
    def test_can_be_imported(self, name):
        assert getattr(llm_wrappers, name) is not None
        namespace = {}
        exec(f"from llm_wrappers import {name}", namespace)
        assert namespace[name] is getattr(llm_wrappers, name)

    def test_any_other_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match=r"'llm_wrappers' has no attribute 'Wrapper'"):
            _ = llm_wrappers.Wrapper

    @pytest.mark.parametrize(
        "module", ["captions", "embeddings", "errors", "guidance", "sb3", "worlds", "wrappers"]
    )
    def test_each_subpackage_lists_what_it_has(self, module):
        loaded = import_module(f"llm_wrappers.{module}")
        kinds = [(not name.isupper(), name) for name in loaded.__all__]
        assert kinds == sorted(kinds)
        assert all(hasattr(loaded, name) for name in loaded.__all__)


def drawn_tree():
    """Yield (class name, name of its parent, other base) from the drawing in the docstring."""
    path = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"( {4}[ |`-]*)(\w+)(?: +\((\w+)\))?", line)
        if match:
            prefix, name, other = match.groups()
            depth = len(prefix) // 4 - 1
            del path[depth:]
            yield name, path[-1] if path else None, other
            path.append(name)


class TestErrors:
    def test_the_drawn_tree_is_the_real_one(self):
        drawn = {
            name: [base for base in bases if base]
            for name, *bases in drawn_tree()
            if name not in BUILTINS
        }
        real = {
            name: [base.__name__ for base in value.__bases__]
            for name, value in vars(errors).items()
            if isinstance(value, type) and value.__module__ == errors.__name__
        }
        assert drawn == real

    def test_all_lists_them_with_the_one_of_gymnasium(self):
        drawn = {name for name, _, _ in drawn_tree()} - BUILTINS
        assert set(errors.__all__) == drawn | {"DependencyNotInstalled", "require"}
        assert errors.DependencyNotInstalled is gym.error.DependencyNotInstalled


class TestRequire:
    def test_returns_a_module_that_is_there(self):
        assert errors.require("os.path", extra="sb3") is import_module("os.path")

    def test_names_what_is_missing_and_the_extra_that_installs_it(self):
        with pytest.raises(errors.DependencyNotInstalled) as caught:
            errors.require("no_such_package.module", extra="craftax")
        assert str(caught.value) == (
            "'no_such_package' is not installed; run `pip install \"llm-wrappers[craftax]\"`"
        )

    def test_names_what_the_module_itself_is_missing(self, tmp_path, monkeypatch):
        (tmp_path / "half_installed.py").write_text("import no_such_package\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(errors.DependencyNotInstalled, match="'no_such_package' is not"):
            errors.require("half_installed", extra="craftax")


def test_the_changelog_begins_with_this_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", llm_wrappers.__version__)
    if CHANGELOG.exists():
        headings = re.findall(r"^## \[?([\w.]+)", CHANGELOG.read_text(), flags=re.MULTILINE)
        is_release = ".dev" not in llm_wrappers.__version__
        assert headings[0] == (llm_wrappers.__version__ if is_release else "Unreleased")


@pytest.mark.skipif(not DOCS.exists(), reason="the docs are not installed with the package")
@pytest.mark.parametrize(
    "page", [DOCS / "architecture.md", *sorted(DOCS.glob("decisions/*.md"))], ids=lambda p: p.name
)
def test_each_path_that_is_explained_is_in_the_tree(page):
    """Whole paths from the root or from the package, and the ends of those."""
    folders = [ROOT / name for name in ("llm_wrappers", "tests", "docs", "benchmarks", "examples")]
    tree = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    known = {f"/{p.relative_to(ROOT)}{'/' if p.is_dir() else ''}" for p in tree}
    named = re.findall(r"`([\w./-]+(?:\.py|/))`", page.read_text())
    lost = [name for name in named if not any(path.endswith(f"/{name}") for path in known)]
    assert lost == []


def test_no_private_module_is_imported_from_another_package():
    """Three who import it make it public; then it has a name without an underscore."""
    found = []
    for path in (ROOT / "llm_wrappers").rglob("*.py"):
        home = ".".join(path.relative_to(ROOT).parent.parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                owner, private, _ = node.module.partition("._")
                known = private and owner.startswith("llm_wrappers.")
                if known and not f"{home}.".startswith(f"{owner}."):
                    found.append(f"{home} imports {node.module}")
    assert found == []
