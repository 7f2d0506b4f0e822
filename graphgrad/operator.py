"""What an operator is: one record that holds all that is known of it, and the registry in which a graph looks it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphgrad.errors import GraphgradError
from graphgrad.types import Dim, Shape

if TYPE_CHECKING:
    from graphgrad.tensor import Tensor

#: One rule for each operand, from (adjoint of the output, *operands, output, **attributes) to what the operand's
#: adjoint receives; None where the output is constant in that operand (an index, a condition).
Rule: TypeAlias = Callable[..., Any] | None


class Inferred(NamedTuple):
    """What a shape rule answers."""

    shape: Shape
    dtype: str
    attributes: Mapping[str, Any] = {}  # in their canonical form: axes not negative, numbers of one type
    weak: bool | None = None  # None: weak if every operand is


@dataclass(frozen=True, eq=False)
class Operator:
    """One entry of the vocabulary of nodes. Called with tensors, it builds a node; with sympy expressions, a formula.

    A primitive has a spelling in each target (`numpy`); a composite has a `definition` in other operators, by which
    a target without a spelling of its own lowers it. Templates (`text`, `latex`, `numpy`) name operands and attributes.
    """

    name: str
    operands: tuple[str, ...]  # their names; ("*tensors",) takes a sequence
    infer: Callable[..., Inferred]  # the shape rule: operand nodes and attributes -> Inferred
    reference: Callable[..., Any]  # the oracle: operand arrays and attributes -> array
    defaults: Mapping[str, Any] = field(default_factory=dict)  # attributes; `REQUIRED` where none can be assumed
    pullback: tuple[Rule, ...] | Callable[..., Any] | None = None  # a plain function where operands are a sequence
    definition: Callable[..., Any] | None = None
    formula: str = ""  # what it means, in sympy's words and the operands' names
    text: str = ""
    latex: str = ""
    binding: int = 100  # of its notation: sums 10, products 20, powers 30, atoms 100
    numpy: Any = None  # statement template(s) with {out}, or a function from a statement to them
    scalar: str = ""  # an expression template for numbers
    plain: str = ""  # another for Python's own, where that is faster and, on what it is taken for, the same
    kind: str = ""  # "elementwise", "linear" (in all operands together), "multilinear", "view", "leaf"
    analytic: bool = False  # the reference takes complex arguments: the complex step proves the gradient
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # where a random test may go, by operand
    kinks: tuple[float, ...] = ()  # points where the derivative is decided by convention
    doc: str = ""
    #: From (node, *operand nodes): what named sizes must satisfy, as (dimension, its least value, whose need it is).
    requires: Callable[..., Sequence[tuple[Dim, int, str]]] | None = None
    over: bool = False  # its result may be written over its first operand, although it does not go by elements
    refuses: bool = False  # integers: a statement that gives such may raise for what it is given
    operand_defaults: Mapping[str, float] = field(default_factory=dict)  # operands that a call may leave out

    def __post_init__(self) -> None:
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__doc__", self.doc)

    @cached_property
    def variadic(self) -> bool:
        return self.operands[:1] != () and self.operands[0].startswith("*")

    def rule(self, position: int) -> Rule:
        """The pullback of one operand."""
        if callable(self.pullback):
            rule = self.pullback
            return lambda g, *rest, **attributes: rule(g, rest[:-1], rest[-1], position, **attributes)
        return None if self.pullback is None else self.pullback[position]

    @property
    def differentiable(self) -> bool:
        return self.pullback is not None or self.definition is not None

    def __call__(self, *args: Any, **attributes: Any) -> Tensor:
        operands, attributes = self._sort(args, attributes)
        for operand in operands:
            graph = getattr(operand, "graph", None)
            if graph is not None:
                return graph.apply(self, operands, attributes)  # type: ignore[no-any-return]
        if any(type(a).__module__.startswith("sympy") for a in operands):
            return self.symbolic(operands, attributes)  # type: ignore[no-any-return]
        raise GraphgradError(
            f"{self.name} builds a node of a graph, so at least one operand is a Tensor; "
            f"{', '.join(type(a).__name__ for a in operands) or 'nothing'} was given"
        )

    def _sort(self, args: Sequence[Any], attributes: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments as operands and attributes."""
        if self.variadic:
            if not args or not isinstance(args[0], (list, tuple)):
                raise GraphgradError(f"{self.name} takes a list of tensors, as in {self.name}([a, b])")
            operands, args = tuple(args[0]), args[1:]
        else:
            n = len(self.operands)
            if len(args) == n and attributes.keys() == self.defaults.keys():  # all is given, as passes do
                return tuple(args), {**self.defaults, **attributes}
            operands, args = tuple(args[:n]), args[n:]
            if len(operands) < n:
                given = {**self.operand_defaults, **attributes}
                names = self.operands[len(operands) :]
                if missing := [name for name in names if name not in given]:
                    raise GraphgradError(f"{self.signature} lacks {', '.join(missing)}")
                operands += tuple(given[name] for name in names)
                attributes = {name: value for name, value in attributes.items() if name not in names}
        if args or attributes or self.defaults:
            if len(args) > len(self.defaults):
                raise GraphgradError(f"{self.signature} was given {len(args) - len(self.defaults)} arguments too many")
            given = {**dict(zip(self.defaults, args, strict=False)), **attributes}
            if unknown := given.keys() - self.defaults.keys():
                raise GraphgradError(f"{self.signature} takes no {', '.join(sorted(unknown))}")
            attributes = {**self.defaults, **given}
            if missing := [name for name, value in attributes.items() if value is REQUIRED]:
                raise GraphgradError(f"{self.signature} lacks {', '.join(missing)}")
        return operands, attributes

    @cached_property
    def signature(self) -> str:
        """As a user calls it: leaky_relu(x, negative_slope=0.01)."""
        defaults = self.operand_defaults
        names = (
            [self.operands[0][1:]]
            if self.variadic
            else [f"{n}={defaults[n]!r}" if n in defaults else n for n in self.operands]
        )
        names += [name if value is REQUIRED else f"{name}={value!r}" for name, value in self.defaults.items()]
        return f"{self.name}({', '.join(names)})"

    def symbolic(self, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
        """The formula with sympy expressions in place of its operands."""
        import sympy

        if not self.formula:
            raise GraphgradError(f"{self.name} has no formula in scalars")
        values = {**dict(zip(self.operands, map(sympy.sympify, operands), strict=True)), **attributes}
        symbols = {name: sympy.Symbol(name, real=True) for name in values}
        formula = self._parsed(tuple(symbols))
        return formula.xreplace({symbols[n]: sympy.sympify(v) for n, v in values.items()})

    def _parsed(self, names: tuple[str, ...]) -> Any:
        import sympy

        cache = self.__dict__.setdefault("_formulas", {})
        if names not in cache:  # the text is the operator's own row, never a user's
            cache[names] = sympy.sympify(
                self.formula, locals={n: sympy.Symbol(n, real=True) for n in names}, evaluate=True
            )
        return cache[names]

    def __reduce__(self) -> Any:
        """Pickled, and deeply copied, by name: what comes back is the operator of the table itself."""
        if OPERATORS.get(self.name) is not self:
            raise GraphgradError(f"the operator {self.name} stands in no table, so it cannot be pickled")
        return registered, (self.name,)

    def __repr__(self) -> str:
        return f"<operator {self.signature}>"


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


#: The default of an attribute that has none.
REQUIRED = _Required()

#: Every operator by name: how a graph finds `+`, and how a stored graph is read.
OPERATORS: dict[str, Operator] = {}

#: What Tensor's syntax needs and is no single operator: indexing, `.T`. Filled by the floor above.
SYNTAX: dict[str, Callable[..., Any]] = {}


def registered(name: str) -> Operator:
    """The operator of a name."""
    return OPERATORS[name]


def register(operator: Operator) -> Operator:
    """Add an operator to the vocabulary. Two of one name are a mistake."""
    if operator.name in OPERATORS:
        raise GraphgradError(f"an operator named {operator.name} exists already")
    OPERATORS[operator.name] = operator
    return operator
