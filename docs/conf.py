"""Configuration of the documentation."""

from llm_wrappers import __version__

project = "llm_wrappers"
author = "The llm_wrappers authors"
copyright = "2026, the llm_wrappers authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "code"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"llm_wrappers {release}"
