"""Timings with verdicts: `make bench`. Tests never depend on the clock."""
