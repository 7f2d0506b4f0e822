"""The vocabulary: every operator, a row each."""

from graphgrad.operators import activations, elementwise, functions, index, linear, reduce, shape, slices

FAMILIES = (elementwise, functions, activations, linear, reduce, shape, slices, index)
