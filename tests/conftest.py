"""What all tests share: hypothesis draws the same examples in every run, unless a long run asks for new ones."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# scikit-learn's checks of estimators go through all that they know only if SciPy was imported with this.
os.environ["SCIPY_ARRAY_API"] = "1"

settings.register_profile("graphgrad", derandomize="GRAPHGRAD_FUZZ_EXAMPLES" not in os.environ, deadline=None)
settings.load_profile("graphgrad")

# A shell that starts the tests in the background has ^C ignored, which what they start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
