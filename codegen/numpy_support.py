"""Functions that NumPy lacks. Generated code holds the source of those that it calls, so each stands alone on `np`."""

from __future__ import annotations

from typing import Any

import numpy as np


def erf(x: Any, out: Any = None, complement: bool = False) -> Any:
    """The error function, or 1 - erf(x) without cancellation, into `out`: within 4 units in the last place of float64.

    The rational approximations are those of fdlibm's s_erf.c (Sun Microsystems, 1993): by pieces of |x|, with numerator
    and denominator from the highest power down. Other dtypes are computed in float64 and rounded once; blocks keep the
    scratch memory small, whatever the size.
    """
    pieces: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
        (  # |x| < 0.84375: x + x·R(x²)
            (-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02, -3.25042107247001499370e-01,
             1.28379167095512558561e-01),
            (-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03, 6.50222499887672944485e-02,
             3.97917223959155352819e-01, 1.0),
        ),
        (  # |x| < 1.25: 0.845... + R(|x| - 1)
            (-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01, 3.18346619901161753674e-01,
             -3.72207876035701323847e-01, 4.14856118683748331666e-01, -2.36211856075265944077e-03),
            (1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01, 7.18286544141962662868e-02,
             5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0),
        ),
        (  # |x| < 1/0.35: 1 - exp(-x² - 0.5625 + R(1/x²))/|x|
            (-9.81432934416914548592e+00, -8.12874355063065934246e+01, -1.84605092906711035994e+02, -1.62396669462573470355e+02,
             -6.23753324503260060396e+01, -1.05586262253232909814e+01, -6.93858572707181764372e-01, -9.86494403484714822705e-03),
            (-6.04244152148580987438e-02, 6.57024977031928170135e+00, 1.08635005541779435134e+02, 4.29008140027567833386e+02,
             6.45387271733267880336e+02, 4.34565877475229228821e+02, 1.37657754143519042600e+02, 1.96512716674392571292e+01, 1.0),
        ),
        (  # beyond: likewise
            (-4.83519191608651397019e+02, -1.02509513161107724954e+03, -6.37566443368389627722e+02, -1.60636384855821916062e+02,
             -1.77579549177547519889e+01, -7.99283237680523006574e-01, -9.86494292470009928597e-03),
            (-2.24409524465858183362e+01, 4.74528541206955367215e+02, 2.55305040643316442583e+03, 3.19985821950859553908e+03,
             1.53672958608443695994e+03, 3.25792512996573918826e+02, 3.03380607434824582924e+01, 1.0),
        ),
    )  # fmt: skip
    flags, access = ["external_loop", "buffered", "zerosize_ok"], [["readonly"], ["writeonly", "allocate"]]
    blocks = np.nditer([x, out], flags, access, [np.float64, np.float64], casting="same_kind", buffersize=2048)  # type: ignore[call-overload]
    with blocks, np.errstate(all="ignore"):
        for t, y in blocks:
            a = np.minimum(np.abs(t), 28.0)
            piece = np.searchsorted((0.84375, 1.25, 1 / 0.35), a, side="right") * (a == a)
            for k in range(4):
                here = np.flatnonzero(piece == k)
                if not here.size:
                    continue
                u, v = t[here], a[here]
                s = v * v if k == 0 else v - 1.0 if k == 1 else 1.0 / (v * v)
                numerator, denominator = pieces[k]
                p, q = np.full_like(s, numerator[0]), np.full_like(s, denominator[0])
                for c in numerator[1:]:
                    p *= s
                    p += c
                for c in denominator[1:]:
                    q *= s
                    q += c
                p /= q
                if k == 0:
                    p *= u
                    y[here] = np.where(u < 0.25, 1.0 - (u + p), 0.5 - (p + (u - 0.5))) if complement else u + p
                elif k == 1:
                    total = 8.45062911510467529297e-01 + p
                    y[here] = np.where(u < 0.0, 1.0 + total, 1.54937088489532470703e-01 - p) if complement else np.copysign(total, u)
                else:
                    # The square of x rounded to 20 binary places is exact, so that little is lost in the exponent.
                    z = np.trunc(v * 1048576.0) / 1048576.0
                    p = np.exp(-z * z - 0.5625) * np.exp((z - v) * (z + v) + p) / v
                    y[here] = np.where(u < 0.0, 2.0 - p, p) if complement else np.copysign(1.0 - p, u)
        return blocks.operands[1]
