"""The vocabulary: every operator, a row each."""

from graphgrad.operators import activations, elementwise, functions, index, linear, losses, reduce, shape, slices, softmax

FAMILIES = (elementwise, functions, activations, linear, reduce, softmax, shape, slices, index, losses)
