"""Many trainings, each in a process of its own, that go on where they were stopped.

Shared by the benchmarks that train; a script is started again with ``--one`` for each training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERRUPTED = 130


@dataclass(frozen=True)
class Run:
    """One arm with one seed, and the folder of what it leaves behind.

    Args:
        arm: The name of the arm.
        seed: The seed.
        folder: Where it writes.
        asked: What makes a result on disk the one that is wanted, as JSON values.
    """

    arm: str
    seed: int
    folder: Path
    asked: Any

    def result(self) -> dict[str, Any] | None:
        """Return what the complete run noted, None if there is none like it on disk."""
        path = self.folder / "result.json"
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return record if record.get("asked") == json.loads(json.dumps(self.asked)) else None

    def forget(self) -> None:
        """Remove the note of an earlier run, which what follows makes untrue."""
        (self.folder / "result.json").unlink(missing_ok=True)

    def finish(self, **noted: Any) -> None:
        """Note that the run is complete; half a note is never seen."""
        temporary = self.folder / "result.tmp"
        temporary.write_text(json.dumps({"asked": self.asked, **noted}), encoding="utf-8")
        temporary.replace(self.folder / "result.json")


class Trainings:
    """Runs, as many at the same time as there are processes.

    Args:
        runs: All that are wanted, in the order of the table.
        command: The command that trains one of them.
        processes: How many train at the same time.
    """

    def __init__(
        self, runs: Sequence[Run], *, command: Callable[[Run], list[str]], processes: int
    ) -> None:
        self._runs = list(runs)
        self._command = command
        self._processes = processes
        self._living: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def missing(self) -> list[Run]:
        """Return the runs that are not complete, seed by seed."""
        return sorted((run for run in self._runs if run.result() is None), key=lambda r: r.seed)

    def complete(self) -> list[Run]:
        """Return the runs that are."""
        return [run for run in self._runs if run.result() is not None]

    def train_missing(self) -> list[str]:
        """Train what is missing, and return what went wrong; Ctrl-C ends the processes."""
        missing, failures = self.missing(), []
        if len(missing) < len(self._runs):
            say(f"{len(self._runs) - len(missing)} of {len(self._runs)} runs are complete")
        started = time.perf_counter()
        with ThreadPoolExecutor(self._processes) as pool:
            try:
                futures = {pool.submit(self._train, run): run for run in missing}
                for done, future in enumerate(as_completed(futures), start=1):
                    run, error = futures[future], future.exception()
                    if error:
                        failures.append(f"{run.arm}, seed {run.seed}: {error}")
                    left = (time.perf_counter() - started) / done * (len(missing) - done)
                    say(
                        f"[{done}/{len(missing)}] {run.arm}, seed {run.seed}: "
                        f"{error or 'done'}; about {left / 60:.0f} minutes left"
                    )
            except KeyboardInterrupt:
                self._stop(pool)
                raise
        return failures

    def _train(self, run: Run) -> None:
        with self._lock:
            if self._stopped:
                return
            process = subprocess.Popen(
                self._command(run),
                # One thread each: two small networks on two threads only wait for each other.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                # Ctrl-C in a terminal reaches a whole group, and once is enough.
                start_new_session=True,
            )
            self._living.add(process)
        status = process.wait()
        with self._lock:
            self._living.discard(process)
        if status:
            raise RuntimeError(f"training ended with status {status}")

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._stopped = True
            for process in self._living:
                process.terminate()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
