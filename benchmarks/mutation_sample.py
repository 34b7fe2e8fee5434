"""How many small faults the tests notice, on a sample: `python benchmarks/mutation_sample.py`.

The tests of each area run once under coverage, in a copy of the tree, to know which test files
execute which lines. Then one line of the copy is changed at a time, and the files that execute it
run; a run that fails, or takes over ten minutes, kills the mutant. `--json FILE` keeps the mutants,
and `--mutants FILE` applies them again, each where its line stands now; if nowhere, it is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from coverage import CoverageData
from mutants import Mutant, mutants_of, sampled

from llm_wrappers.scores import format_table

# Area -> globs of modules, globs of tests; what matches nothing is left out.
AREAS = {
    "wrappers": ("wrappers/**/*.py trust.py", "wrappers/*.py"),
    "storage": ("storage/*.py llm/cache/*.py",
                "llm/test_*stor*.py llm/test_cache*.py guidance/test_*artefact*.py"),
    "budget": ("llm/ledger.py llm/usage.py llm/b[ru]*.py llm/provider/requests.py",
               "llm/test_[buw]*.py llm/test_client*.py llm/test_requests.py"),
    "sandbox": ("sandbox/**/*.py", "sandbox/*.py"),
    "parsing": ("llm/structured.py llm/_json_texts.py methods/_asking.py methods/*/wording.py "
                "methods/ultra/a*.py methods/ultra/episodes.py methods/sgrl/writing.py",
                "llm/test_structured*.py methods/*.py"),
    "guidance": ("guidance/consult.py guidance/goals.py guidance/planners.py guidance/masks.py "
                 "guidance/critical/table*.py guidance/critical/state_keys.py parts.py",
                 "guidance/*.py"),
}  # fmt: skip
RESULTS = ("killed", "survived", "not covered", "gone")


def run(copy: Path, arguments: list[str], limit: float | None = None) -> list[str]:
    """Run pytest in the copy and return what failed; under a limit, caches stay as they are."""
    # What is cached is not read again after a change that keeps size and second.
    settings = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1" if limit else ""}
    settings = {**os.environ, **settings, "COVERAGE_FILE": str(copy / ".cover")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    with open(copy / ".output", "w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, cwd=copy, env=settings, stdout=out, stderr=out, start_new_session=True
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            return ["over the limit of time"]
        finally:  # With all that it started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        lines = out.read().splitlines()
    failures = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return (failures or [f"exit code {process.returncode}"]) if process.returncode else []


def tried(mutant: Mutant, copy: Path, data: CoverageData, tests: list[str]) -> Mutant:
    """Change the line in the copy, run the test files that execute it, and change it back."""
    path = copy / mutant["file"]
    lines, (first, last) = data.contexts_by_lineno(str(path)), mutant["span"]
    here = [by for line, by in lines.items() if first <= line <= last]
    # What runs at import, as a default does, shows in all that use the module.
    for found in (here, lines.values()):
        files = Counter(test.partition("::")[0] for by in found for test in by if test)
        if files:
            tests = [*(each for each in tests if each[0] == "-"), *dict(files.most_common())]
            break
    text = path.read_text(encoding="utf-8")
    changed = text.splitlines()
    number = mutant["line"] - 1
    changed[number] = changed[number].replace(mutant["original"], mutant["mutated"])
    path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    failures = run(copy, ["-x", "--timeout=120", *tests], limit=600)
    path.write_text(text, encoding="utf-8")
    result = "killed" if failures else "survived" if here else "not covered"
    return {**mutant, "result": result, "by": failures}


def judged(area: str, copy: Path, old: list[Mutant], args: argparse.Namespace) -> Iterator[Mutant]:
    """Give the mutants of an area with what became of them."""
    package, (modules, tests) = copy / "llm_wrappers", AREAS[area]
    files = matching(copy / "tests", tests) + matching(package, modules)
    options = ["--cov=llm_wrappers", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
    failures = run(copy, [*options, *files])
    if not all(line.startswith("FAILED ") for line in failures):
        sys.exit(f"the tests of {area} do not run: {failures}")
    failing = [line.split(" ")[1] for line in failures]
    data = CoverageData(str(copy / ".cover"))
    data.read()
    # An old line that has left the area is found too.
    names = (matching(package, "**/*.py") if old else []) + matching(package, modules)
    here = [mutant for name in names for mutant in mutants_of(copy, name)]
    print(f"{area}: {len(here)} possible mutants; failing before: {failing}", flush=True)
    chosen = [mutant for mutant in old if mutant["area"] == area]
    for mutant in chosen or sampled(here, args.each, f"{args.seed} {area}"):
        # Best where function and file have their names of then.
        same = [e for e in here if all(e[k] == mutant[k] for k in ("original", "mutated"))]
        same.sort(key=lambda e: [e[k] == mutant[k] for k in ("function", "file")])
        done = {**mutant, "area": area, "result": "gone", "by": []}
        if same:
            done |= tried(same[-1], copy, data, [*(f"--deselect={n}" for n in failing), *files])
        yield done


def matching(root: Path, globs: str) -> list[str]:
    """Return the files of the globs, relative to the tree."""
    found = {path for glob in globs.split() for path in root.glob(glob)}
    return sorted(path.relative_to(root.parent).as_posix() for path in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--areas", nargs="+", default=list(AREAS), choices=list(AREAS))
    parser.add_argument("--each", type=int, default=12, help="mutants of each area")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutants", type=Path, help="apply these, kept with --json before")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    old = json.loads(args.mutants.read_text(encoding="utf-8")) if args.mutants else []
    done: list[Mutant] = []
    rows: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "tree"
        skipped = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "_build")
        shutil.copytree(Path(__file__).resolve().parents[1], copy, ignore=skipped)
        for mutant in (each for area in args.areas for each in judged(area, copy, old, args)):
            done.append(mutant)
            text = "{result}: {file}:{line}: {original} -> {mutated} {by}"
            print(text.format(**mutant), flush=True)
            if args.json:
                args.json.write_text(json.dumps(done, indent=1), encoding="utf-8")
    for area in args.areas:
        results = Counter(mutant["result"] for mutant in done if mutant["area"] == area)
        rows.append({"area": area, "mutants": results.total(), **{e: results[e] for e in RESULTS}})
    print(format_table(rows))


if __name__ == "__main__":
    main()
