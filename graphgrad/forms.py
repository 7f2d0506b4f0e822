"""How a sympy expression is written in graphgrad's operators: stable ones where the expression's own form is not.

1/(1 + exp(-u))        sigmoid(u)            log(1 + exp(u))      softplus(u)
exp(u) - 1             expm1(u)              log(1 + u)           log1p(u)
1 - 2/(1 + exp(2u))    tanh(u)               log(exp(p) + exp(q)) p + softplus(q - p)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, TypeAlias

from graphgrad.errors import GraphgradError

#: ("sigmoid", u), nested, with sympy expressions and numbers as leaves;
#: ("chain", (("", a), ("add", b), ("subtract", c))) is a + b - c.
Form: TypeAlias = Any


def number(e: Any) -> int | float:
    """A number of sympy's as Python's."""
    if e.is_Integer and abs(int(e)) < 2**63:
        return int(e)
    value = complex(e.evalf(20))
    if value.imag:
        raise GraphgradError(f"{e} is no real number")
    return value.real


def sum_form(e: Any) -> Form:
    import sympy as sp

    constant, terms = e.as_coeff_Add()
    if constant != 0:
        for k, term in enumerate(terms_of := list(sp.Add.make_args(terms))):
            if (paired := _with_constant(constant, term)) is not None:
                rest = terms_of[:k] + terms_of[k + 1 :]
                return ("chain", (("", paired), *(_signed(t) for t in rest)))
    parts = [*sp.Add.make_args(terms), *([constant] if constant != 0 else [])]
    parts.sort(key=lambda t: bool(t.as_coeff_Mul()[0] < 0))  # a - b rather than -b + a
    first, *rest = parts
    return ("chain", (("", first), *(_signed(t) for t in rest)))


def _signed(term: Any) -> tuple[str, Any]:
    return ("subtract", -term) if term.as_coeff_Mul()[0] < 0 else ("add", term)


def _with_constant(c: Any, term: Any) -> Form | None:
    """c and one more term where together they are stabler: c·expm1(u), c·tanh(u/2), c·sigmoid(u)."""
    import sympy as sp

    factor, rest = term.as_coeff_Mul()
    if isinstance(rest, sp.exp) and factor == -c:
        return _times(factor, ("expm1", rest.args[0]))
    base, exponent = rest.as_base_exp()
    logistic = _two_exponentials(base) if exponent == -1 else None
    if logistic is not None:
        (a, p), (b, q) = logistic
        if p == 0 and a > 0 and b > 0:
            w = q + sp.log(b / a)
            if factor == -2 * c * a:
                return _times(*((-c, ("tanh", -w / 2)) if w.as_coeff_Mul()[0] < 0 else (c, ("tanh", w / 2))))
            if factor == -c * a:
                return _times(c, ("sigmoid", w))
    return None


def _times(factor: Any, form: Form) -> Form:
    return form if factor == 1 else ("negative", form) if factor == -1 else ("multiply", number(factor), form)


def _two_exponentials(e: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]] | None:
    """a·exp(p) + b·exp(q) as ((a, p), (b, q)), a constant first (p = 0); None for all else."""
    import sympy as sp

    if isinstance(e, (sp.cosh, sp.sinh)):
        half = sp.Rational(1, 2)
        return (half, e.args[0]), (half if isinstance(e, sp.cosh) else -half, -e.args[0])
    if not isinstance(e, sp.Add) or len(e.args) != 2:
        return None
    found = []
    for term in e.args:
        factor, rest = term.as_coeff_Mul()
        if not factor.is_real or not (rest == 1 or isinstance(rest, sp.exp)):
            return None
        found.append((factor, sp.S.Zero if rest == 1 else rest.args[0]))
    found.sort(key=lambda pair: pair[1] != 0)
    return found[0], found[1]


def _exponentials(e: Any) -> list[tuple[Any, Any]] | None:
    """A sum of three positive multiples of exponentials or more, a constant first, likewise."""
    import sympy as sp

    found = []
    for term in sp.Add.make_args(e):
        factor, rest = term.as_coeff_Mul()
        if not (factor.is_real and factor > 0) or not (rest == 1 or isinstance(rest, sp.exp)):
            return None
        found.append((factor, sp.S.Zero if rest == 1 else rest.args[0]))
    return sorted(found, key=lambda pair: pair[1] != 0) if len(found) > 2 else None


def _log_of_sum(a: Any, p: Any, b: Any, q: Any) -> Form:
    """log(a·exp(p) + b·exp(q)) = p + log a + softplus(q - p + log(b/a))."""
    import sympy as sp

    form: Form = ("softplus", q - p + sp.log(b / a))
    start = p + sp.log(a)
    return form if start == 0 else ("add", start, form)


def logarithm_form(argument: Any) -> Form:
    import sympy as sp

    base, exponent = argument.as_base_exp()
    two = _two_exponentials(base)
    if two is not None and two[0][0] > 0 and two[1][0] > 0 and exponent.is_number:
        (a, p), (b, q) = two
        if exponent == -1 and p == 0 and a == 1:
            return ("logsigmoid", -(q + sp.log(b)))
        return _times(exponent, _log_of_sum(a, p, b, q))
    if (several := _exponentials(argument)) is not None:
        *others, (b, q) = several
        rest = sp.log(sp.Add(*[a * sp.exp(p) for a, p in others]))  # r: the whole is log(exp(r) + b·exp(q))
        return ("add", rest, ("softplus", ("subtract", q + sp.log(b), rest)))
    constant, rest = argument.as_coeff_Add()
    return ("log1p", rest) if constant == 1 else ("log", argument)


def power_form(base: Any, exponent: Any, varies: Callable[[Any], bool]) -> Form:
    import sympy as sp

    if not varies(exponent) and number(exponent) < 0:
        return product_form(sp.Pow(base, exponent), varies)
    if isinstance(base, sp.exp):
        return ("exp", base.args[0] * exponent)
    if exponent == 2:
        return ("square", base)
    if exponent == sp.Rational(1, 2):
        return ("sqrt", base)
    return ("power", base, exponent)


def product_form(e: Any, varies: Callable[[Any], bool]) -> Form:
    import sympy as sp

    factor, rest = e.as_coeff_Mul()
    over: list[Form] = []
    under: list[Form] = []
    logistic: list[Any] = []
    exponent = sp.S.Zero
    factors = list(sp.Mul.make_args(rest))
    factor *= sp.Mul(*[f for f in factors if not varies(f)])  # sqrt(2)/2 is one number
    factors = [f for f in factors if varies(f)]
    if not factor.is_Rational:
        factor = sp.Float(number(factor), 17)
    factor, factors = _hyperbolic_tangents(factor, factors, over)
    for f in factors:
        if isinstance(f, sp.exp):
            exponent += f.args[0]
            continue
        base, power = f.as_base_exp()
        if not varies(power) and number(power) < 0:
            two = _two_exponentials(base)
            if two is not None and two[0][0] > 0 and two[1][0] > 0:
                logistic.append((two, -power))
            else:
                under.append(base if power == -1 else base**-power)
        else:
            over.append(f)
    factor = _logistics(factor, exponent, logistic, over)
    sign, factor = (-1, -factor) if factor < 0 else (1, factor)
    top, bottom = (factor.p, factor.q) if factor.is_Rational and factor.q & (factor.q - 1) else (number(factor), 1)
    if top != 1 or not over:
        over.insert(0, top)
    if bottom != 1:
        under.append(bottom)
    if sign < 0:
        over[0] = -over[0] if isinstance(over[0], (int, float)) else ("negative", over[0])
    return ("chain", (("", over[0]), *(("multiply", f) for f in over[1:]), *(("divide", f) for f in under)))


def _hyperbolic_tangents(factor: Any, factors: list[Any], over: list[Form]) -> tuple[Any, list[Any]]:
    """(exp(p) - exp(q)) / (exp(p) + exp(q)) is tanh((p - q)/2)."""
    differences = {f: two for f in factors if (two := _two_exponentials(f)) is not None}
    for f, found in differences.items():
        (a, p), (b, q) = sorted(found, key=lambda pair: bool(pair[0] < 0))
        for g in factors:
            base, power = g.as_base_exp()
            two = _two_exponentials(base) if power == -1 else None
            if two is None:
                continue
            (c, r), (d, s) = two
            if {p, q} != {r, s} or c != d or c <= 0 or a != -b:
                continue
            over.append(("tanh", (p - q) / 2))
            return factor * a / c, [h for h in factors if h not in (f, g)]
    return factor, factors


def _logistics(factor: Any, exponent: Any, logistic: list[Any], over: list[Form]) -> Any:
    """exp(E) / (a·exp(p) + b·exp(q))ⁿ: with E = i·p + j·q and i + j = n a product of sigmoids, else one exp."""
    import sympy as sp

    for attempt in ("with exp", "alone"):
        for item in list(logistic):
            ((a, p), (b, q)), n = item
            given = exponent if attempt == "with exp" else sp.S.Zero
            if (attempt == "with exp") == (exponent == 0) or not n.is_Integer or n > 16:
                continue
            i = next((i for i in range(int(n), -1, -1) if sp.expand(given - i * p - (n - i) * q) == 0), None)
            if i is None:
                continue
            for sigmoid, times in ((p - q + sp.log(a / b), i), (q - p + sp.log(b / a), n - i)):
                if times:
                    form: Form = ("sigmoid", sigmoid)
                    over.append(form if times == 1 else ("square", form) if times == 2 else ("power", form, int(times)))
            factor = factor / (a**i * b ** (n - i))
            logistic.remove(item)
            if attempt == "with exp":
                exponent = sp.S.Zero
    merged: list[tuple[str, Form]] = [("", exponent)] if exponent != 0 else []
    for ((a, p), (b, q)), n in logistic:
        merged.append(("subtract", _times(n, _log_of_sum(a, p, b, q))))
    if merged and merged[0][0] == "subtract":
        merged[0] = ("", ("negative", merged[0][1]))
    if merged:
        over.append(("exp", ("chain", tuple(merged))))
    return factor


def written_form(name: str, x: Any, e: Any) -> Form:
    """Functions that are written by others."""
    import sympy as sp

    if name == "Heaviside":
        return ("where", sp.Gt(x, 0), 1.0, ("where", sp.Eq(x, 0), number(e.args[1]), 0.0))
    if name == "ITE":
        return ("where", *e.args)
    if name in ("Mod", "frac"):  # with the sign of the divisor, as Python's %
        by = e.args[1] if name == "Mod" else sp.S.One
        return ("subtract", x, ("multiply", by, ("floor", x / by)))
    if name == "ceiling":
        return ("negative", ("floor", ("negative", x)))
    if name == "erfc":
        return ("subtract", 1, ("erf", x))
    if name == "sech":
        return product_form(1 / sp.cosh(x), lambda part: bool(part.free_symbols))
    inverse = {"csch": "sinh", "coth": "tanh", "sec": "cos", "csc": "sin", "cot": "tan"}[name]
    return ("divide", 1, (inverse, x))


def safe_point(branch: Any, variables: list[Any]) -> dict[Any, float] | None:
    """Values at which the branch and its derivatives are finite; None where none are found or needed."""
    if not variables:
        return None
    candidates = [dict.fromkeys(variables, v) for v in (1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.0)]
    if len(variables) <= 3:
        candidates += [
            dict(zip(variables, v, strict=True)) for v in product((1.0, -1.0, 0.5, 2.0), repeat=len(variables))
        ]
    others = {s: 0.7 for s in branch.free_symbols if s not in variables}
    derivatives = [branch, *(branch.diff(v) for v in variables)]
    for candidate in candidates:
        values = [d.subs({**others, **candidate}) for d in derivatives]
        if all(v.is_number and v.is_finite and v.is_real for v in values):
            return candidate
    return None
