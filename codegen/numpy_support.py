"""Functions that NumPy lacks. Generated code holds the source of those that it calls, so each stands alone on `np`."""

from __future__ import annotations

import numpy as np


def erf(x: object, out: object = None, complement: bool = False) -> object:
    """The error function, or 1 - erf(x) without cancellation, into `out`: within 4 units in the last place of float64.

    The rational approximations are those of fdlibm's s_erf.c (Sun Microsystems, 1993): by pieces of |x|, with numerator
    and denominator from the highest power down. Other dtypes are computed in float64 and rounded once. For float32 one
    rational function is enough: x·R(x²), within 2e-8 of erf(x) up to 3.925, from where float32 knows only 1; and
    exp(-x²)·R(|x|), within 6e-9 of all of 1 - erf(|x|). Blocks keep the scratch memory small, whatever the size.
    """
    single = (
        (2.045990034860408e-06, 0.0002848422922494604, 0.0037725881974236234, 0.05276940265204087, 0.19059492722738489,
         1.1283791457678523),
        (3.8047324249134273e-05, 0.0011638632202103005, 0.014983273668997599, 0.11418316052451832, 0.50224308682152,
         1.0),
    )  # fmt: skip
    rest = (
        (0.03288493991943662, 0.22963965216997914, 0.7324865817343942, 1.239252396291423, 1.0000000058497116),
        (0.05828635372485495, 0.40705168338917697, 1.3270159577896898, 2.404063878584103, 2.3676321525192203, 1.0),
    )
    pieces = (
        (  # |x| < 0.84375: x + x·R(x²)
            (-2.3763016656650163e-05, -0.005770270296489442, -0.02848174957559851, -0.3250421072470015,
             0.12837916709551256),
            (-3.960228278775368e-06, 0.00013249473800432164, 0.005081306281875766, 0.0650222499887673,
             0.39791722395915535, 1.0),
        ),
        (  # |x| < 1.25: 0.845... + R(|x| - 1)
            (-0.002166375594868791, 0.035478304325618236, -0.11089469428239668, 0.31834661990116175,
             -0.3722078760357013, 0.41485611868374833, -0.0023621185607526594),
            (0.011984499846799107, 0.01363708391202905, 0.12617121980876164, 0.07182865441419627,
             0.540397917702171, 0.10642088040084423, 1.0),
        ),
        (  # |x| < 1/0.35: 1 - exp(-x² - 0.5625 + R(1/x²))/|x|
            (-9.814329344169145, -81.2874355063066, -184.60509290671104, -162.39666946257347,
             -62.375332450326006, -10.558626225323291, -0.6938585727071818, -0.009864944034847148),
            (-0.0604244152148581, 6.570249770319282, 108.63500554177944, 429.00814002756783,
             645.3872717332679, 434.56587747522923, 137.65775414351904, 19.651271667439257,
             1.0),
        ),
        (  # beyond: likewise
            (-483.5191916086514, -1025.0951316110772, -637.5664433683896, -160.63638485582192,
             -17.757954917754752, -0.799283237680523, -0.0098649429247001),
            (-22.44095244658582, 474.52854120695537, 2553.0504064331644, 3199.8582195085955,
             1536.729586084437, 325.7925129965739, 30.33806074348246, 1.0),
        ),
    )  # fmt: skip
    flags, access = ["external_loop", "buffered", "zerosize_ok"], [["readonly"], ["writeonly", "allocate"]]
    blocks = np.nditer([x, out], flags, access, [np.float64, np.float64], casting="same_kind", buffersize=3072)  # type: ignore[call-overload]
    short = np.asarray(x).dtype == np.float32
    top, bottom = rest if complement else single
    with blocks, np.errstate(all="ignore"):
        for t, y in blocks:
            if short:
                a = np.minimum(np.abs(t), 10.2) if complement else np.minimum(np.maximum(t, -3.925), 3.925)
                s = a if complement else a * a
                p, q = top[0] * s, bottom[0] * s
                for c in top[1:-1]:
                    p += c
                    p *= s
                for c in bottom[1:-1]:
                    q += c
                    q *= s
                p += top[-1]
                q += bottom[-1]
                p /= q
                if complement:
                    a *= -a
                    p *= np.exp(a, a)
                    np.copyto(y, np.where(t < 0.0, 2.0 - p, p))
                else:
                    np.multiply(a, p, y)
                continue
            a = np.minimum(np.abs(t), 28.0)
            piece = (a >= 0.84375).view(np.int8) + (a >= 1.25) + (a >= 1 / 0.35)
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
                    total = 0.8450629115104675 + p
                    y[here] = (
                        np.where(u < 0.0, 1.0 + total, 0.15493708848953247 - p) if complement else np.copysign(total, u)
                    )
                else:
                    # The square of x rounded to 20 binary places is exact, so that little is lost in the exponent.
                    z = np.trunc(v * 1048576.0) / 1048576.0
                    p = np.exp(-z * z - 0.5625) * np.exp((z - v) * (z + v) + p) / v
                    y[here] = np.where(u < 0.0, 2.0 - p, p) if complement else np.copysign(1.0 - p, u)
        return blocks.operands[1]


def recurrence(factors: object, terms: object, axis: int, reverse: bool, out: object) -> None:
    """r_1 = 0, r_{i+1} = factors_i · r_i + terms_i along an axis, or from its end, into `out`."""
    a, b, r = (np.moveaxis(np.asarray(v), axis, 0)[:: -1 if reverse else 1] for v in (factors, terms, out))
    r[:1] = 0
    for k in range(1, len(r)):
        np.multiply(a[k - 1], r[k - 1], out=r[k, ...])
        r[k] += b[k - 1]
