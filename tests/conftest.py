"""What all tests share: hypothesis draws the same examples in every run, unless a long run asks for new ones."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("graphgrad", derandomize="GRAPHGRAD_FUZZ_EXAMPLES" not in os.environ, deadline=None)
settings.load_profile("graphgrad")
