"""Where the arrays of compiled functions lie: on lines of the cache, and together on huge pages.

Small pages lie anywhere in physical memory. By chance more of them may ask for the same sets of the L2 cache than these
have room for, and then products whose operands would just fit take up to half as long again, in each step of a run. A
huge page is one run of physical memory, which fills all sets alike, and has one address to translate.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from graphgrad.types import Array

LINE = 64  # bytes
HUGE_PAGE = 1 << 21
#: What NumPy allocates in one piece it asks the system for on huge pages from 4 MB on.
ASKED = 1 << 22
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
        alignment = HUGE_PAGE if size >= SHARED.stop else LINE
        raw = make(max(size + alignment, ASKED if alignment == HUGE_PAGE else 0), np.uint8)
        start = -raw.ctypes.data % alignment
        memory = raw[start : start + size]
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
            raw = np.empty(ASKED, np.uint8)
            start = -raw.ctypes.data % HUGE_PAGE
            _page, _used = raw[start : start + HUGE_PAGE], 0
        memory = _page[_used : _used + size]
        _used += -(-size // LINE) * LINE
        return memory
