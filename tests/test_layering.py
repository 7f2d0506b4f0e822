"""A module imports only from floors below it, and the core imports without its heavy parts."""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The house from the ground up, without the leading "graphgrad."; a package's own name is its __init__.py.
# Modules on one line are neighbours and don't import each other; only the rooms of a package (operators.*) do.
FLOORS = """
errors interrupts collector
types files
operator
node tensor
graph
notation
operators.rows
operators.*
operators
rewrite derivation
evaluate derive factors
rules
simplify
custom forms
lowering
symbolic
storage transforms scalarize check
codegen.names codegen.numpy_support codegen.literals codegen.module_lines codegen.costs codegen.pages codegen.turn
codegen.program
codegen.biases codegen.labels codegen.masks codegen.linear_state codegen.growing codegen.flush codegen.sides
codegen.layout
codegen.blocks codegen.plain_numbers codegen.shortcuts
codegen.schedule codegen.memory codegen.prepare
codegen.late
codegen.printed codegen.state codegen.pieces
codegen.listing
codegen.number_printer
codegen.templates
codegen.numpy_target codegen.workspace
codegen.lines codegen.source codegen.profile
codegen.loader codegen.module_writer
codegen.compiler
codegen
delimited
table
schedules data columns arrays sources
preprocessing
initial
networks optimizers
objective shorthand
theta loading interchange
step
samples metrics
reports
evaluation dataset model_file finite parallel
render.*
render
trainer
run
progress
loop
sklearn_callbacks training
export
page.*
page
demo fitting drawing estimator
commands sklearn
cli
__main__
"""
HEIGHT = {pattern: height for height, line in enumerate(FLOORS.split("\n")) for pattern in line.split()}

# Never, though it stands below: (who, what).
APART = [
    ("codegen*", "derivation derive lowering custom symbolic storage transforms scalarize check"),
    ("trainer run loop training", "render*"),
]


def fits(module: str, patterns: str) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns.split())


def place(module: str) -> str:
    """The first entry of FLOORS that the module fits."""
    for pattern in HEIGHT:
        if fits(module, pattern):
            return pattern
    raise LookupError(f"graphgrad.{module} stands on no floor: add it to FLOORS in {Path(__file__).name}")


def may_import(module: str, other: str) -> bool:
    if any(fits(module, who) and fits(other, whom) for who, whom in APART):
        return False
    if "" in (module, other):  # graphgrad/__init__.py is the roof: it lists what a user imports
        return module == ""
    here, there = place(module), place(other)
    return HEIGHT[there] < HEIGHT[here] or (here == there and here.endswith("*"))


def imports(module: str, modules: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Line and module of each import from graphgrad at any depth, save those that only a type checker follows."""
    home = ["graphgrad", *module.split(".")] if module else ["graphgrad"]
    if not any(name.startswith(f"{module}.") for name in modules) and module:
        home.pop()  # a module's dot is the package around it, a package's dot is itself
    waiting: list[ast.AST] = [ast.parse(modules[module])]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            origin = ".".join([*base, node.module] if node.module else base)
            # "from graphgrad import graph" asks for a module, "from graphgrad import Graph" for the package's __init__
            inner = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("graphgrad.") in modules else origin for name in inner]
        else:
            continue
        for name in names:
            if name == "graphgrad" or name.startswith("graphgrad."):
                yield node.lineno, name[len("graphgrad.") :]


def violations(modules: dict[str, str]) -> list[str]:
    return [
        f"{f'graphgrad.{module}'.rstrip('.')}, line {line}: imports {f'graphgrad.{other}'.rstrip('.')}"
        for module in modules
        for line, other in sorted(imports(module, modules))
        if not may_import(module, other)
    ]


def written_modules() -> dict[str, str]:
    """The source of every module of the package, by name without the leading "graphgrad."."""
    files = {path.relative_to(ROOT / "graphgrad"): path for path in (ROOT / "graphgrad").rglob("*.py")}
    files |= {path.relative_to(ROOT): path for path in (ROOT / "codegen").rglob("*.py")}
    parts = {name.parent.parts if name.stem == "__init__" else name.with_suffix("").parts: name for name in files}
    return {".".join(part): files[name].read_text(encoding="utf-8") for part, name in sorted(parts.items())}


def test_every_module_stands_on_a_floor() -> None:
    modules = written_modules()
    assert {"", "graph", "operators", "operators.elementwise", "codegen.program"} <= modules.keys()
    for module in modules.keys() - {""}:
        place(module)


def test_every_entry_of_the_floors_is_of_modules() -> None:
    modules = written_modules()
    assert [pattern for pattern in HEIGHT if not any(fits(module, pattern) for module in modules)] == []


def test_the_floors_of_the_documentation_are_these() -> None:
    """Each module stands in one row of the table in docs/architecture.md, and above all those of the rows before."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told: list[set[str]] = []
    for cell in re.findall(r"^\| \d+ \| (`.*?) \|", text, re.MULTILINE):
        package, colon, rest = cell.partition("/`:")
        names = re.findall(r"`([\w/]+)`", rest if colon else cell)
        told.append({f"{package.lstrip('`')}.{name}" if colon else name for name in names})
    modules = written_modules().keys() - {""}
    packages = {name.rstrip("/") for names in told for name in names if name.endswith("/")}
    rooms = {m for m in modules if m.partition(".")[0] in packages}
    listed = [name for names in told for name in names if not name.endswith("/")]
    assert sorted(listed) == sorted(modules - rooms - {"codegen"})
    floors = [{m for m in modules for n in names if m == n or m.startswith(n.rstrip("/") + ".")} for names in told]
    heights = [[HEIGHT[place(m)] for m in floor] for floor in floors]
    assert all(max(below) < min(above) for below, above in itertools.pairwise(heights))


def test_a_module_imports_only_from_floors_below() -> None:
    assert violations(written_modules()) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("graph", "from graphgrad.derive import derive", "graphgrad.derive"),
        ("graph", "def f():\n    if True:\n        import graphgrad.derive", "graphgrad.derive"),
        ("graph", "from graphgrad import derive", "graphgrad.derive"),
        ("graph", "from . import derive", "graphgrad.derive"),
        ("graph", "from graphgrad import Graph", "graphgrad"),
        ("graph", "import graphgrad as gg", "graphgrad"),
        ("graph", "import numpy, graphgrad_extras", None),
        ("operators.linear", "from ..derive import derive", "graphgrad.derive"),
        ("operators.linear", "from . import elementwise", None),
        ("operators.linear", "from graphgrad.operators import relu", "graphgrad.operators"),
        ("operators.rows", "from graphgrad.operators.linear import matmul", "graphgrad.operators.linear"),
        ("operators", "from .linear import *", None),
        ("evaluate", "from graphgrad.derive import derive", "graphgrad.derive"),
        ("codegen.program", "from graphgrad.derive import derive", "graphgrad.derive"),
        ("codegen.program", "from .linear_state import scale_states", "graphgrad.codegen.linear_state"),
        ("codegen.linear_state", "from .program import Program", None),
        ("codegen.loader", "from graphgrad.training import train", "graphgrad.training"),
        ("render.svg", "from graphgrad.training import train", "graphgrad.training"),
        ("training", "from graphgrad.render.svg import svg", "graphgrad.render.svg"),
        ("training", "import graphgrad.codegen", None),
        ("operator", "if TYPE_CHECKING:\n    from graphgrad.graph import Tensor", None),
        ("operator", "if TYPE_CHECKING:\n    pass\nelse:\n    from graphgrad.graph import Tensor", "graphgrad.graph"),
    ],
)
def test_a_bad_import_is_found(module: str, source: str, found: str | None) -> None:
    others = (
        "graph derive operators operators.linear operators.elementwise render.svg training codegen codegen.linear_state"
    )
    modules = dict.fromkeys(["", "codegen.program", *others.split()], "") | {module: source}
    line = source.count("\n") + 1
    assert violations(modules) == ([f"graphgrad.{module}, line {line}: imports {found}"] if found else [])


def test_a_module_on_no_floor_is_told() -> None:
    message = r"^graphgrad\.attic stands on no floor: add it to FLOORS in test_layering\.py$"
    with pytest.raises(LookupError, match=message):
        violations({"attic": "", "graph": "import graphgrad.attic"})


def test_the_core_imports_without_its_heavy_parts() -> None:
    heavy = ["sympy", "matplotlib", "sklearn", "scipy", "pygraphviz", "onnx"]
    code = f"import graphgrad, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
