"""`python -m llm_wrappers.cli` is the `llm-wrappers` command."""

from llm_wrappers.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
