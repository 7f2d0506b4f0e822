"""Timings, printed: `make bench`. Tests never depend on the clock."""
