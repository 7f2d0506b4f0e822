"""The vocabulary: every operator, a row each."""

from graphgrad.operators import (
    activations,
    choice,
    einsum,
    elementwise,
    functions,
    index,
    linear,
    losses,
    reduce,
    running,
    shape,
    slices,
    softmax,
)

FAMILIES = (
    elementwise,
    choice,
    functions,
    activations,
    linear,
    einsum,
    reduce,
    running,
    softmax,
    shape,
    slices,
    index,
    losses,
)
