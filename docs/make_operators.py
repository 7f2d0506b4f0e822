"""Writes operators.md beside this file, from the operators' own table: python docs/make_operators.py."""

import warnings
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType

import graphgrad as gg
from graphgrad.operator import Operator
from graphgrad.operators import FAMILIES
from graphgrad.tensor import Tensor

HEAD = """\
# Operators

This page is generated from the table of operators by `python docs/make_operators.py`.

Names and arguments are NumPy's; what NumPy lacks has those of `torch.nn.functional`, with `axis` for `dim`. All of them
are functions of `graphgrad` itself: `gg.tanh(x)`, `gg.sum(x, axis=0)`. Python's `+`, `-`, `*`, `/`, `**`, `@`, the
comparisons, `&`, `|`, `~`, indexing and `.T` build the same nodes.

The derivative is what each operand's adjoint receives, written with a bar: x̄ from the adjoint ȳ of the result
y (z̄ of z, where y is an operand). Where operands were broadcast, the sum over the broadcast axes follows.
"""


def page() -> str:
    """The whole text."""
    return "\n".join([HEAD, *(family_text(family) for family in FAMILIES)]).rstrip() + "\n"


def family_text(family: ModuleType) -> str:
    title = (family.__doc__ or family.__name__).split("\n")[0].split(": ")[0].split(". ")[0].rstrip(".")
    lines = [f"## {title}", ""]
    for name in getattr(family, "__all__", None) or [n for n in vars(family) if not n.startswith("_")]:
        member = vars(family)[name]
        if isinstance(member, Operator):
            lines += operator_text(member)
        elif callable(member) and getattr(member, "__module__", "") == family.__name__ and member.__doc__:
            arguments = ", ".join(str(p).split(":")[0] + default(p) for p in signature(member).parameters.values())
            lines += [f"### {name}", "", f"`{name}({arguments})`", "", summary(member.__doc__), ""]
    return "\n".join(lines)


def default(parameter: Parameter) -> str:
    return "" if parameter.default is Parameter.empty else f"={parameter.default!r}"


def summary(text: str) -> str:
    """The first paragraph in one line."""
    return " ".join(text.split("\n\n")[0].split())


def operator_text(operator: Operator) -> list[str]:
    lines = [f"### {operator.name}", "", f"`{operator.signature}`", "", summary(operator.doc), ""]
    rules = derivative(operator)
    if rules:
        lines += ["", *(f"- `{rule}`" for rule in rules), ""]
    elif not operator.differentiable:
        lines += ["No derivative.", ""]
    return [line for k, line in enumerate(lines) if line or (k and lines[k - 1])]


def derivative(operator: Operator) -> list[str]:
    """The rules of an elementwise operator, as a derivation of its own tells them."""
    if operator.kind != "elementwise" or not operator.differentiable or operator.name == "cast":
        return []
    graph = gg.Graph()
    operands: list[Tensor] = []
    for name in operator.operands:
        dtype = "bool" if name == "condition" else "float64"
        operands.append(graph.input(name, ("N",), dtype))
    result = operator(*operands, **operator.defaults).named("z" if "y" in operator.operands else "y")
    if result.dtype not in ("float32", "float64"):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        derivation = gg.derive(gg.sum(result), wrt=[t for t in operands if t.dtype == "float64"])
    return [str(step) for step in derivation.steps if step.forward.id == result.id and step.operand is not None]


if __name__ == "__main__":
    Path(__file__).with_name("operators.md").write_text(page(), encoding="utf-8", newline="\n")
