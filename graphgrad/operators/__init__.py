"""The vocabulary: every operator, a row each."""

from graphgrad.operators import (
    activations,
    choice,
    einsum,
    elementwise,
    functions,
    index,
    indexing,  # noqa: F401  it has no rows: it enters x[...] in SYNTAX
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
