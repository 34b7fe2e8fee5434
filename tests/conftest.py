"""The whole suite runs with the brake on, so that no test asks a model by accident.

It is set while pytest starts, before anything is collected: doctests, the workers of xdist and the
processes that tests start have it as well. A test that talks to a server on this machine says
`with allow_requests(True):`.
"""

import os
import signal
from contextlib import ExitStack

from hypothesis import settings

from llm_wrappers.llm.brake import allow_requests

# A quarter of hypothesis' own number keeps the suite short; `make test-slow` tries more.
settings.register_profile("short", max_examples=25)
settings.register_profile("thorough", max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


def pytest_configure(config):
    # Before anything imports torch: workers with several threads each only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    brake = ExitStack()
    brake.enter_context(allow_requests(False))
    config.add_cleanup(brake.close)
    # Begun in the background of a shell, this process and its children would ignore Ctrl-C, which
    # some tests send.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
