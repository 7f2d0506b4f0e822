"""Where arrays lie: on lines of the cache, together on huge pages, none over another, and given back."""

from __future__ import annotations

import threading
import weakref
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import graphgrad as gg
from graphgrad.codegen import pages
from graphgrad.codegen.pages import HUGE_PAGE, LINE, SHARED, aligned, aligned_copy

SIZES = [0, 1, 100, SHARED.start - 1, SHARED.start, 70_001, SHARED.stop - 1, SHARED.stop, HUGE_PAGE, 5_000_000]


def span(array: Any) -> tuple[int, int]:
    return array.ctypes.data, array.ctypes.data + array.nbytes


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=12), st.booleans())
def test_arrays_keep_to_their_own_bytes(sizes: list[int], zeros: bool) -> None:
    made = [aligned(np.zeros if zeros else np.empty, (size,), np.uint8) for size in sizes]
    for k, array in enumerate(made):
        assert not array.size or array.ctypes.data % (HUGE_PAGE if array.nbytes >= SHARED.stop else LINE) == 0
        assert not zeros or not array.any()
        array.fill(k + 1)
    for k, array in enumerate(made):
        assert (array == k + 1).all()
        if array.nbytes in SHARED:  # it does not leave its page
            start, stop = span(array)
            assert start // HUGE_PAGE == (stop - 1) // HUGE_PAGE


def test_zeros_are_zeros_where_others_have_written() -> None:
    for _ in range(60):
        array = aligned(np.zeros, (100, 101), np.float64)
        assert not array.any()
        array.fill(np.nan)


@pytest.mark.parametrize("size", [100, SHARED.start, SHARED.stop])
def test_what_is_not_shared_is_the_base_of_its_views_alone(size: int) -> None:
    a, b = (aligned(np.empty, (size,), np.uint8, shared=False) for _ in range(2))
    assert a[3:].base is not b[3:].base


def test_a_page_goes_with_the_last_array_on_it() -> None:
    def full() -> Any:
        """A page, and two arrays that fill it."""
        halves = [aligned(np.empty, (SHARED.stop - 1,), np.uint8) for _ in range(3)]
        return [h for h in halves if h.base is halves[-1].base] + [aligned(np.empty, (SHARED.stop - 1,), np.uint8)]

    first, *others = full()
    page = weakref.ref(first.base)
    del others
    aligned(np.empty, (SHARED.stop - 1,), np.uint8)
    aligned(np.empty, (SHARED.stop - 1,), np.uint8)  # another page is begun
    assert page() is not None
    del first
    assert page() is None


@pytest.mark.parametrize("make", [np.empty, np.zeros])
def test_without_huge_pages_arrays_are_as_numpy_makes_them(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise OSError("no memory")

    for unfit in (
        lambda: monkeypatch.setattr(pages.mmap, "mmap", refuses),
        lambda: monkeypatch.delattr(pages.mmap, "MADV_HUGEPAGE", raising=False),
    ):
        unfit()
        array = aligned(make, (SHARED.stop,), np.uint8)
        assert array.nbytes == SHARED.stop
        assert array.ctypes.data % HUGE_PAGE == 0
        assert make is np.empty or not array.any()
        array.fill(1)
    with pytest.raises(MemoryError):
        aligned(make, (1 << 60,), np.uint8)


def test_memory_goes_back_with_the_last_view() -> None:
    array = aligned(np.empty, (SHARED.stop,), np.uint8)
    memory = weakref.ref(array.base)
    view = array[5:]
    del array
    view.fill(1)
    assert memory() is not None
    del view
    assert memory() is None


def test_copies_are_of_any_layout() -> None:
    for array in (np.arange(40_000.0).reshape(200, 200)[::-1].T, np.array(3.5), np.empty((0, 4))):
        copy = aligned_copy(array)
        np.testing.assert_array_equal(copy, array)
        assert copy.dtype == array.dtype


def test_threads_get_different_bytes() -> None:
    made: list[Any] = []

    def make() -> None:
        made.extend([aligned(np.empty, (SHARED.start,), np.uint8) for _ in range(200)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    spans = sorted(span(a) for a in made)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))


def test_what_is_kept_between_calls_does_not_lock_what_lies_beside_it() -> None:
    """Values that the first call computes for good are read-only; a state on the same page is not."""
    g = gg.Graph()
    x, w = g.input("x", ("N",), "float32"), g.state("w", (20_000,), "float32")
    kept = gg.tanh(g.constant(np.linspace(0, 1, 20_000, dtype="float32")) * gg.cast(gg.size(x, 0), "float32"))
    f = gg.compile([gg.sum(x)], {w: w + kept})
    for k in range(1, 3):
        f(x=np.ones(4, np.float32))
        np.testing.assert_allclose(f.state["w"], k * np.tanh(np.linspace(0, 4, 20_000)), rtol=1e-5)
    assert pages.SHARED.start <= 80_000 < pages.SHARED.stop
