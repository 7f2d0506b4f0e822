"""Sphinx's settings: make docs."""

project = "graphgrad"
author = "graphgrad contributors"
copyright = author
extensions = ["myst_nb"]
nb_execution_mode = "off"  # the code on the pages is run by the tests
myst_heading_anchors = 3
html_theme = "furo"
html_title = "graphgrad"
exclude_patterns = ["_build"]
