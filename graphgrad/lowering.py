"""From a sympy expression to steps in graphgrad's operators.

How one expression is written in terms of its parts, sums and products say in `graphgrad.forms`; here is the order, and
what a choice of pieces needs so that no piece is looked at where it is not taken. An expression may be deep: nothing
here recurses over it.
"""

from __future__ import annotations

from typing import Any

from graphgrad.custom import Step, Steps
from graphgrad.errors import GraphgradError
from graphgrad.forms import (
    Form,
    logarithm_form,
    number,
    power_form,
    product_form,
    safe_point,
    sum_form,
    written_form,
)
from graphgrad.operator import OPERATORS

#: sympy's name and the operator's, where an operator takes the same arguments.
FUNCTIONS = {
    "exp": "exp", "log": "log", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "atan2": "arctan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "erf": "erf", "Abs": "abs",
    "sign": "sign", "floor": "floor", "Mod": "remainder", "expm1": "expm1", "log1p": "log1p",
    "StrictGreaterThan": "greater", "GreaterThan": "greater_equal", "StrictLessThan": "less", "LessThan": "less_equal",
    "Equality": "equal", "Unequality": "not_equal", "Not": "logical_not",
}  # fmt: skip
#: Associative ones, of any number of arguments.
CHAINS = {"Max": "maximum", "Min": "minimum", "And": "logical_and", "Or": "logical_or"}
#: Written by others.
WRITTEN = (
    "Add",
    "Mul",
    "Pow",
    "Piecewise",
    "Heaviside",
    "ceiling",
    "erfc",
    "Mod",
    "frac",
    "ITE",
    "sech",
    "csch",
    "coth",
    "sec",
    "csc",
    "cot",
)

#: Functions that are infinite, or steep without bound, somewhere: a branch with one gets a safe argument elsewhere.
SINGULAR = {"exp", "log", "tan", "asin", "acos", "sinh", "cosh", "sec", "csc", "cot", "csch", "coth", "atan2"}


def lower(expression: Any) -> Steps:
    """The steps that compute a sympy expression; the last is its value. Raises GraphgradError where none does."""
    import sympy as sp

    if not isinstance(expression, sp.Basic):
        try:
            expression = sp.sympify(expression, strict=True)  # numbers, never text
        except sp.SympifyError:
            raise GraphgradError(f"a sympy expression is wanted, but {type(expression).__name__} was given") from None
    if not isinstance(expression, (sp.Expr, sp.logic.boolalg.Boolean)):
        raise GraphgradError(f"a sympy expression of numbers is wanted, but {type(expression).__name__} was given")
    try:
        return _Lowering().steps_of(expression)
    except RecursionError:
        raise GraphgradError("the expression is nested too deeply for sympy") from None


class _Lowering:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.positions: dict[str, int] = {}  # equal steps are one
        self.done: dict[Any, int] = {}  # by sympy expression
        self.varying: dict[Any, bool] = {}
        self.guarded: dict[
            Any, Form
        ] = {}  # dummies that stand for a variable with a safe value where it is not looked at

    def steps_of(self, expression: Any) -> Steps:
        plans: dict[Any, Form] = {}
        stack = [expression]
        while stack:
            top = stack[-1]
            if top in self.done:
                stack.pop()
                continue
            if top not in plans:
                plans[top] = self.plan(top)
            waiting = [leaf for leaf in leaves(plans[top]) if leaf not in self.done]
            if waiting:
                stack += waiting
            else:
                self.done[stack.pop()] = self.emit(plans[top])
        return tuple(self.steps)

    def emit(self, form: Form) -> int:
        if not isinstance(form, tuple):
            return self.append(("number", form)) if isinstance(form, (bool, int, float)) else self.done[form]
        head, *rest = form
        if head in ("operand", "number"):
            return self.append(form)
        if head == "chain":
            result = self.emit(rest[0][0][1])
            for operator, item in rest[0][1:]:
                result = self.append((operator, result, self.emit(item)))
            return result
        return self.append((head, *[self.emit(part) for part in rest]))

    def append(self, step: Step) -> int:
        if step[0] not in ("operand", "number") and step[0] not in OPERATORS:
            raise GraphgradError(f"there is no operator {step[0]}")
        key = repr(step)
        if key not in self.positions:
            self.positions[key] = len(self.steps)
            self.steps.append(step)
        return self.positions[key]

    def varies(self, expression: Any) -> bool:
        """Whether there is a symbol in an expression (sympy's own free_symbols recurses)."""
        stack = [expression]
        while stack:
            top = stack[-1]
            waiting = [a for a in top.args if a not in self.varying]
            if waiting and top not in self.varying:
                stack += waiting
            else:
                self.varying[stack.pop()] = any(self.varying[a] for a in top.args) or (
                    not top.args and bool(top.free_symbols)
                )
        return self.varying[expression]

    # -- one expression: its form in terms of its parts ---------------------------------------------------------------

    def plan(self, e: Any) -> Form:
        import sympy as sp

        if e in self.guarded:
            return self.guarded[e]
        if isinstance(e, sp.Symbol):
            return ("operand", e.name)
        if e in (sp.true, sp.false):
            return ("number", bool(e))
        if not self.varies(e) and e.is_number:
            return ("number", number(e))
        if isinstance(e, sp.Add):
            return sum_form(e)
        if isinstance(e, sp.Mul):
            return product_form(e, self.varies)
        if isinstance(e, sp.Pow) and e.func is sp.Pow:
            base, exponent = e.as_base_exp()
            return power_form(base, exponent, self.varies)
        if isinstance(e, sp.Piecewise):
            return self.piecewise(e)
        name = type(e).__name__
        if name == "log" and len(e.args) == 1:
            return logarithm_form(e.args[0])
        if name in FUNCTIONS:
            return (FUNCTIONS[name], *e.args)
        if name in CHAINS:
            zero = [a for a in e.args if a == 0]
            if name == "Max" and zero and len(e.args) == 2:
                return ("relu", next(a for a in e.args if a != 0))
            items = sorted(e.args, key=lambda a: not self.varies(a))
            return ("chain", (("", items[0]), *((CHAINS[name], a) for a in items[1:])))
        if name in WRITTEN and len(e.args) in (1, 2, 3):
            return written_form(name, e.args[0], e)
        known = ", ".join(sorted({*FUNCTIONS, *CHAINS, *WRITTEN}, key=str.lower))
        raise GraphgradError(f"{name} has no operator; there are: {known}")

    def piecewise(self, e: Any) -> Form:
        """Nested choices. A branch that could be singular has safe variables where it is not taken (two wheres)."""
        import sympy as sp

        pieces = [(branch, condition) for branch, condition in e.args]
        if pieces[-1][1] is not sp.true and sp.Or(*[c for _, c in pieces]) == sp.true:
            pieces[-1] = (pieces[-1][0], sp.true)
        result: Form | None = None if pieces[-1][1] == sp.true else float("nan")
        for k in reversed(range(len(pieces))):
            branch, condition = pieces[k]
            before = sp.Or(*[c for _, c in pieces[:k]])
            safe = self.guard(branch, condition, before) if self.varies(branch) else float(number(branch))
            result = safe if result is None else ("where", condition, safe, result)
        return result if isinstance(result, tuple) else ("chain", (("", result),))

    def guard(self, branch: Any, condition: Any, before: Any) -> Any:
        """The branch with each variable that makes it singular replaced by one that is safe where it is not taken."""
        import sympy as sp

        risky: set[Any] = set()
        for part in sp.preorder_traversal(branch):
            power = isinstance(part, sp.Pow) and not (part.exp.is_Integer and part.exp > 0)
            if power or type(part).__name__ in SINGULAR:
                risky |= part.free_symbols
        variables = sorted(risky, key=lambda s: s.name)
        safe = safe_point(branch, variables)
        if safe is None:
            return branch
        dummies = {}
        for v, value in safe.items():
            dummy = sp.Dummy(v.name, **v.assumptions0)
            # A NaN must stay one: the last branch looks at "before", not at its negation.
            inner = v if condition == sp.true else ("where", condition, v, value)
            self.guarded[dummy] = inner if before == sp.false else ("where", before, value, inner)
            dummies[v] = dummy
        return branch.xreplace(dummies)


def leaves(form: Form) -> list[Any]:
    """The sympy expressions that a form is made of."""
    found, stack = [], [form]
    while stack:
        top = stack.pop()
        if isinstance(top, tuple):
            if top[0] not in ("operand", "number"):
                stack += [item for _, item in top[1]] if top[0] == "chain" else top[1:]
        elif not isinstance(top, (bool, int, float)):
            found.append(top)
    return found
