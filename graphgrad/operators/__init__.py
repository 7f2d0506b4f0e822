"""The vocabulary: every operator, a row each."""

from graphgrad.operators import elementwise, linear, reduce, shape

FAMILIES = (elementwise, linear, reduce, shape)
