"""How Sphinx turns these pages into a site: `sphinx-build -W docs docs/_build`."""

from garage_ai import __version__

project = "Garage AI"
author = "The Garage AI contributors"
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build", "generate"]
myst_heading_anchors = 3  # links to headings work here as they do where the files are read raw

html_theme = "furo"
html_title = "Garage AI"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
