"""Functions that NumPy lacks. Generated code holds the source of those that it calls, so each stands alone on `np`.

Both are W. J. Cody's rational approximations (Rational Chebyshev approximation for the error function, Mathematics of
Computation 23, 1969), good to a few units in the last place of float64. Other dtypes are computed in float64 and rounded
once. Blocks keep the scratch memory small, whatever the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def erf(x: Any, out: Any = None) -> Any:
    """The error function, into `out`."""
    flags = ["external_loop", "buffered", "zerosize_ok"]
    operands = [["readonly"], ["writeonly", "allocate"]]
    blocks = np.nditer([x, out], flags, operands, [np.float64] * 2, casting="same_kind", buffersize=1024)
    with blocks, np.errstate(all="ignore"):
        for t, y in blocks:
            a = np.abs(t)
            # |x| < 0.46875: x·R(x²)
            s = np.square(np.minimum(a, 0.5))
            p = (((1.85777706184603153e-1 * s + 3.16112374387056560e0) * s + 1.13864154151050156e2) * s + 3.77485237685302021e2) * s
            q = (((s + 2.36012909523441209e1) * s + 2.44024637934444173e2) * s + 1.28261652607737228e3) * s
            near = t * (p + 3.20937758913846947e3) / (q + 2.84423683343917062e3)
            # |x| < 4: 1 - exp(-x²)·R(|x|); from 6 on it is 1
            s = np.minimum(a, 6.0)
            p = q = 0.0
            for c in (
                2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
                2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
            ):  # fmt: skip
                p = (p + c) * s
            for c in (
                1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
                1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
            ):  # fmt: skip
                q = (q + c) * s
            far = 1.0 - np.exp(-s * s) * ((p + 1.23033935479799725e3) / (q + 1.23033935480374942e3))
            y[...] = np.where(a < 0.46875, near, np.copysign(far, t))
        return blocks.operands[1]


def erfc(x: Any, out: Any = None) -> Any:
    """1 - erf(x) without cancellation, into `out`."""
    flags = ["external_loop", "buffered", "zerosize_ok"]
    operands = [["readonly"], ["writeonly", "allocate"]]
    blocks = np.nditer([x, out], flags, operands, [np.float64] * 2, casting="same_kind", buffersize=1024)
    with blocks, np.errstate(all="ignore"):
        for t, y in blocks:
            a = np.abs(t)
            # |x| < 0.46875: 1 - x·R(x²)
            s = np.square(np.minimum(a, 0.5))
            p = (((1.85777706184603153e-1 * s + 3.16112374387056560e0) * s + 1.13864154151050156e2) * s + 3.77485237685302021e2) * s
            q = (((s + 2.36012909523441209e1) * s + 2.44024637934444173e2) * s + 1.28261652607737228e3) * s
            near = 1.0 - t * (p + 3.20937758913846947e3) / (q + 2.84423683343917062e3)
            # |x| < 4: exp(-x²)·R(|x|)
            s = np.minimum(a, 4.0)
            p = q = 0.0
            for c in (
                2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
                2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
            ):  # fmt: skip
                p = (p + c) * s
            for c in (
                1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
                1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
            ):  # fmt: skip
                q = (q + c) * s
            middle = (p + 1.23033935479799725e3) / (q + 1.23033935480374942e3)
            # from 4 on: exp(-x²)/|x|·(1/√π - R(1/x²)/x²)
            s = np.clip(a, 4.0, 27.5)
            r = 1.0 / (s * s)
            p = (((1.63153871373020978e-2 * r + 3.05326634961232344e-1) * r + 3.60344899949804439e-1) * r + 1.25781726111229246e-1) * r
            p = ((p + 1.60837851487422766e-2) * r + 6.58749161529837803e-4) * r
            q = (((r + 2.56852019228982242e0) * r + 1.87295284992346725e0) * r + 5.27905102951428412e-1) * r
            q = (q + 6.05183413124413191e-2) * r + 2.33520497626869185e-3
            tail = (5.6418958354775628695e-1 - p / q) / s
            # exp(-x²) in two factors: the square of x rounded to sixteenths is exact
            s = np.minimum(a, 27.5)
            k = np.trunc(s * 16.0) / 16.0
            far = np.exp(-k * k) * np.exp((k - s) * (k + s)) * np.where(a < 4.0, middle, tail)
            y[...] = np.where(a < 0.46875, near, np.where(t < 0.0, 2.0 - far, far))
        return blocks.operands[1]
