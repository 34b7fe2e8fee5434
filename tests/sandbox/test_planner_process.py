"""The processes behind the runtimes: when they start, what they see, and that they end."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from llm_wrappers import sandbox as runtime_module
from llm_wrappers.errors import UserError
from llm_wrappers.sandbox import MontyRuntime
from llm_wrappers.sandbox._monty_process import read_frame, write_frame
from llm_wrappers.sandbox.process import Worker, WorkerLostError

SOURCE = """\
class OptimizedGoalGenerator:
    def generate(self, facts):
        while facts["n"] == 13:
            pass
        return [("eat cow", facts["n"])]
"""
ANSWER = [[("eat cow", 1)]]
HEAD = f"""
import gc, os, signal, sys, threading, time
from llm_wrappers.sandbox import MontyRuntime
runtime = MontyRuntime({SOURCE!r})
plan = lambda n=1: runtime.plan([{{"n": n}}])
pid = lambda: runtime._conversation.pid
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


def script(text, *, code=0):
    """Run a script in a process where every warning is an error; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", HEAD + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout.split()


def alive(pid):
    """Return whether a process exists and is no zombie; one with threads that still end is none."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    return False


def family(pid):
    """Return a process and those it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def gone(pids, *, seconds=10.0):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


@pytest.fixture
def runtime():
    with MontyRuntime(SOURCE) as made:
        yield made


class TestLife:
    def test_it_starts_at_the_first_question_serves_all_and_ends_when_closed(self, runtime):
        runtime.plan([])
        assert runtime._conversation.pid is None
        assert runtime.plan([{"n": 1}]) == ANSWER
        pids = family(runtime._conversation.pid)
        assert len(pids) >= 2
        assert all(map(alive, pids))
        runtime.plan([{"n": 2}])
        assert runtime._conversation.pid == pids[0]
        runtime.close()
        assert gone(pids)
        assert runtime._conversation.pid is None

    def test_a_process_that_was_killed_is_replaced(self, runtime):
        runtime.plan([{"n": 1}])
        first = runtime._conversation.pid
        os.killpg(first, signal.SIGKILL)
        assert gone([first])
        assert runtime.plan([{"n": 1}]) == ANSWER
        second, monty = family(runtime._conversation.pid)[:2]
        assert second != first
        # Monty alone, which is found out only over the next question.
        os.kill(monty, signal.SIGKILL)
        assert runtime.plan([{"n": 1}, {"n": 2}]) == [*ANSWER, [("eat cow", 2)]]

    def test_a_fork_has_a_process_of_its_own_and_both_end_with_their_interpreters(self):
        mine, its, its_answer, my_answer, still_mine, loaded = script("""
            plan()
            print(pid(), flush=True)
            child = os.fork()
            if child == 0:
                answer = plan(2)
                print(pid(), answer[0][0][1], flush=True)
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(plan(3)[0][0][1], pid())
            # Nothing of Monty is loaded here.
            print([name for name in sys.modules if "monty" in name and "llm_wrappers" not in name])
        """)
        assert its != mine == still_mine
        assert (its_answer, my_answer, loaded) == ("2", "3", "[]")
        assert gone([int(mine), int(its)])

    @pytest.mark.slow
    def test_it_ends_with_its_runtime_and_warns_of_nothing(self):
        printed = script("""
            plan()
            print(pid())
            del runtime
            gc.collect()
        """)
        assert gone(map(int, printed), seconds=0)

    @pytest.mark.slow
    def test_it_ends_when_its_parent_is_killed(self):
        parent = subprocess.Popen(
            [sys.executable, "-c", HEAD + "plan(); print(pid(), flush=True); time.sleep(60)"],
            stdout=subprocess.PIPE,
            text=True,
        )
        with parent:
            pids = family(int(parent.stdout.readline()))
            parent.kill()
        assert gone(pids)

    @pytest.mark.slow
    def test_after_an_interrupt_the_next_answer_is_the_right_one(self):
        assert script("""
            plan()
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                plan(13)
            except KeyboardInterrupt:
                print("interrupted", *plan(2)[0][0])
        """) == ["interrupted", "eat", "cow", "2"]  # fmt: skip


@pytest.mark.slow
class TestForks:
    @pytest.mark.parametrize("end", ["del runtime; gc.collect(); os._exit(0)", "sys.exit(0)", "1"])
    def test_a_fork_that_ends_leaves_its_parent_the_process(self, end):
        before, after, answer = script(f"""
            plan()
            before = pid()
            child = os.fork()
            if child == 0:
                {end}
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            answer = plan(3)
            print(before, pid(), answer[0][0][1])
        """)
        assert (before, answer) == (after, "3")

    def test_a_fork_during_a_question_of_another_thread(self):
        assert script("""
            plan()
            thread = threading.Thread(target=plan, args=(13,))
            thread.start()
            time.sleep(0.1)
            import warnings
            warnings.simplefilter("ignore")
            child = os.fork()
            if child == 0:
                print(plan(2)[0][0][1], flush=True)
                runtime.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            thread.join()
            print(plan(3)[0][0][1])
        """) == ["2", "3"]  # fmt: skip

    def test_the_workers_of_vector_environments(self):
        assert script("""
            import multiprocessing
            plan()
            def work(queue):
                queue.put(plan(5)[0][0][1])
                runtime.close()
            context = multiprocessing.get_context("fork")
            queue = context.SimpleQueue()
            worker = context.Process(target=work, args=(queue,), daemon=True)
            worker.start()
            print(queue.get())
            worker.join()
            print(plan(6)[0][0][1])
        """) == ["5", "6"]  # fmt: skip


def test_it_sees_no_variable_of_the_environment_and_can_write_no_file(runtime, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-4711")
    runtime.plan([{"n": 1}])
    for pid in family(runtime._conversation.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"sk-canary" not in environment
        assert len(environment.split(b"\0")) < 8
        limits = Path(f"/proc/{pid}/limits").read_text()
        (size,) = [line for line in limits.splitlines() if line.startswith("Max file size")]
        assert size.split()[3:5] == ["0", "0"]


FOLDER = Path(runtime_module.__file__).parent
HANGS = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
from _monty_process import begin
pipes, options = begin()
sum_of_much = lambda: sum(range(10**13))
def answer(what, rows):
    return {{"what": what}} if what == "quick" else sum_of_much()
pipes.serve(answer, seconds=0.5)
"""


class TestWorker:
    def test_a_script_that_cannot_begin_says_why(self):
        # Monty's own script, without what it needs.
        with pytest.raises(UserError, match=r"cannot start: KeyError: 'seconds'"):
            Worker(FOLDER / "_monty_process.py", {})

    def test_without_a_python_to_start_it_says_so(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(UserError, match=r"cannot start /no/such/python for planner code"):
            Worker(FOLDER / "_monty_process.py", {})

    def test_without_the_binary_of_monty_it_says_so_once(self, monkeypatch, runtime):
        monkeypatch.setenv("MONTY_BIN", "/no/such/monty")
        with pytest.raises(UserError, match="cannot start: "):
            runtime.plan([{"n": 1}])
        (failure,) = runtime.plan([{"n": 1}])
        assert (failure.kind, "cannot start: " in failure.message) == ("load", True)

    def test_a_script_that_dies_is_lost(self, tmp_path):
        with pytest.raises(WorkerLostError, match="ended"):
            Worker(tmp_path / "no_such_script.py", {})

    def test_a_script_that_hangs_in_c_code_is_lost_in_time(self, tmp_path):
        (tmp_path / "hangs.py").write_text(HANGS)
        worker = Worker(tmp_path / "hangs.py", {})
        assert worker.ask("quick", []) == {"what": "quick"}
        time.sleep(0.6)  # The time of a reply is not that of the silence before it.
        assert worker.ask("quick", []) == {"what": "quick"}
        with pytest.raises(WorkerLostError, match="did not answer in time"):
            worker.ask("slow", [])
        assert not worker.is_open
        with pytest.raises(WorkerLostError):
            worker.ask("quick", [])

    def test_frames_are_whole_or_absent_and_not_read_where_they_are_too_long(self, tmp_path):
        path = tmp_path / "pipe"
        with path.open("wb", buffering=0) as pipe:
            write_frame(pipe, b"one")
            write_frame(pipe, b"")
            pipe.write(b"\0\0\0\5half")
        with path.open("rb", buffering=0) as pipe:
            assert [read_frame(pipe) for _ in range(3)] == [b"one", b"", None]
        path.write_bytes(b"\xff\xff\xff\xff")
        with path.open("rb", buffering=0) as pipe, pytest.raises(ValueError, match="at most 10"):
            read_frame(pipe, most=10)
