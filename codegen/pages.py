"""Where the arrays of compiled functions lie: on lines of the cache, and together on huge pages.

Small pages lie anywhere in physical memory. By chance more of them may ask for the same sets of the L2 cache than these
have room for, and then products whose operands would just fit take up to half as long again, in each step of a run. A
huge page is one run of physical memory, which fills all sets alike, and has one address to translate.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from graphgrad.types import Array

LINE = 64  # bytes
HUGE_PAGE = 1 << 21
#: Arrays that share a huge page: smaller ones are no matter, and larger ones have their own.
SHARED = range(1 << 14, HUGE_PAGE // 2 + 1)

_lock = threading.Lock()
_page: Array = np.empty(0, np.uint8)  # the one that arrays are put on now
_used = 0  # bytes of it


def aligned(make: Callable[..., Array], shape: tuple[int, ...], dtype: DTypeLike, *, shared: bool = True) -> Array:
    """An array by np.empty or np.zeros that begins where a line of the cache does: on it NumPy's loops are faster.

    What is not to be `shared` is the base of its views alone.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if shared and size in SHARED:
        memory = _shared(size)
        if make is np.zeros:
            memory.fill(0)
    else:
        memory = _on_huge_pages(make, size) if size >= SHARED.stop else _from(make(size + LINE, np.uint8), LINE, size)
    return memory.view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    copy = aligned(np.empty, array.shape, array.dtype)
    copy[...] = array
    return copy


def _shared(size: int) -> Array:
    """So many bytes behind those that were given away last; a page goes when all arrays on it are gone."""
    global _page, _used
    with _lock:
        if _used + size > len(_page):
            _page, _used = _on_huge_pages(np.empty, HUGE_PAGE), 0
        memory = _page[_used : _used + size]
        _used += -(-size // LINE) * LINE
        return memory


def _on_huge_pages(make: Callable[..., Array], size: int) -> Array:
    """So many bytes, zeros, from the system itself where it can be asked for huge pages; by NumPy elsewhere.

    NumPy asks for them too, for all that it allocates in 4 MB or more, but what it gets may be memory that was in use
    before, on the small pages that it had then.
    """
    whole = -(-size // HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            found = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            found.madvise(mmap.MADV_HUGEPAGE)
            return _from(np.frombuffer(found, np.uint8), HUGE_PAGE, size)
        except OSError:  # a kernel without them, or no more memory, of which NumPy tells
            pass
    return _from(make(whole, np.uint8), HUGE_PAGE, size)


def _from(raw: Array, alignment: int, size: int) -> Array:
    start = -raw.ctypes.data % alignment
    return raw[start : start + size]
