"""`python -m graphgrad` is the command `graphgrad`."""

import sys

from graphgrad.cli import main

sys.exit(main())
