"""The vocabulary: every operator, a row each."""

from graphgrad.operators import activations, einsum, elementwise, functions, index, linear, losses, reduce, shape, slices, softmax

FAMILIES = (elementwise, functions, activations, linear, einsum, reduce, softmax, shape, slices, index, losses)
