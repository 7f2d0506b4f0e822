"""graphgrad: a compiler for derivation graphs.

A network is an explicit graph, its backward pass is derived as more graph, and both are drawn, compiled and trained:

>>> import graphgrad as gg
>>> g = gg.Graph()
>>> x, w = g.input("x", ("N",)), g.parameter("w")
>>> loss = gg.mean((w * x - 1) ** 2)
>>> d = gg.derive(loss)
>>> f = gg.compile([loss, d[w]])
>>> f(x=[1.0, 3.0], w=0.5)
[array(0.25), array(1.)]
"""

import copyreg
from typing import TYPE_CHECKING, Any

from graphgrad import operators, schedules
from graphgrad.check import check
from graphgrad.codegen.compiler import compile
from graphgrad.codegen.loader import Function
from graphgrad.derivation import Derivation, Step
from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate
from graphgrad.graph import Graph
from graphgrad.networks import Network, feedforward
from graphgrad.node import Node
from graphgrad.operators.activations import *  # noqa: F403
from graphgrad.operators.choice import *  # noqa: F403
from graphgrad.operators.einsum import *  # noqa: F403
from graphgrad.operators.elementwise import *  # noqa: F403
from graphgrad.operators.functions import *  # noqa: F403
from graphgrad.operators.index import *  # noqa: F403
from graphgrad.operators.linear import *  # noqa: F403
from graphgrad.operators.losses import *  # noqa: F403
from graphgrad.operators.reduce import *  # noqa: F403
from graphgrad.operators.running import *  # noqa: F403
from graphgrad.operators.shape import *  # noqa: F403
from graphgrad.operators.slices import *  # noqa: F403
from graphgrad.operators.softmax import *  # noqa: F403
from graphgrad.optimizers import SGD, Adam, Groups, Momentum, Optimizer
from graphgrad.scalarize import scalarize
from graphgrad.tensor import Tensor
from graphgrad.trainer import Trainer

if TYPE_CHECKING:
    from graphgrad.export import write_module
    from graphgrad.interchange import parameters_from, save_parameters, to_sklearn, to_state_dict
    from graphgrad.metrics import EarlyStopping
    from graphgrad.page import Page, explain
    from graphgrad.render.draw import draw
    from graphgrad.render.picture import Picture
    from graphgrad.run import Run, load
    from graphgrad.storage import from_json, load_graph, save_graph, to_json
    from graphgrad.symbolic import elementwise, from_sympy, to_sympy
    from graphgrad.training import train
    from graphgrad.transforms import hessian, hvp, jacobian, jvp, per_sample_gradients

#: What loads when it is first asked for: few programs need all of it, and all start sooner.
_LATER = {
    "EarlyStopping": "graphgrad.metrics",
    "Page": "graphgrad.page",
    "Picture": "graphgrad.render.picture",
    "Run": "graphgrad.run",
    "draw": "graphgrad.render.draw",
    "elementwise": "graphgrad.symbolic",
    "explain": "graphgrad.page",
    "from_json": "graphgrad.storage",
    "from_sympy": "graphgrad.symbolic",
    "hessian": "graphgrad.transforms",
    "hvp": "graphgrad.transforms",
    "jacobian": "graphgrad.transforms",
    "jvp": "graphgrad.transforms",
    "load": "graphgrad.run",
    "load_graph": "graphgrad.storage",
    "parameters_from": "graphgrad.interchange",
    "per_sample_gradients": "graphgrad.transforms",
    "save_graph": "graphgrad.storage",
    "save_parameters": "graphgrad.interchange",
    "to_json": "graphgrad.storage",
    "to_sklearn": "graphgrad.interchange",
    "to_state_dict": "graphgrad.interchange",
    "to_sympy": "graphgrad.symbolic",
    "train": "graphgrad.training",
    "write_module": "graphgrad.export",
}


#: Modules that are part of what a user sees: gg.data.read_table.
_MODULES = ("data", "sklearn")


def _as_json(graph: Graph) -> Any:
    from graphgrad.storage import from_json, to_json

    return from_json, (to_json(graph),)


copyreg.pickle(Graph, _as_json)  # pickle, and copy.deepcopy, take a graph as its JSON


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"graphgrad.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'graphgrad' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_MODULES})


__all__ = [
    "SGD",
    "Adam",
    "Derivation",
    "EarlyStopping",
    "Function",
    "Graph",
    "GraphgradError",
    "Groups",
    "Momentum",
    "Network",
    "Node",
    "Optimizer",
    "Page",
    "Picture",
    "Run",
    "Step",
    "Tensor",
    "Trainer",
    "check",
    "compile",
    "derive",
    "draw",
    "elementwise",
    "evaluate",
    "explain",
    "feedforward",
    "from_json",
    "from_sympy",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "load_graph",
    "parameters_from",
    "per_sample_gradients",
    "save_graph",
    "save_parameters",
    "scalarize",
    "schedules",
    "to_json",
    "to_sklearn",
    "to_state_dict",
    "to_sympy",
    "train",
    "write_module",
]
__all__ += operators.activations.__all__
__all__ += operators.choice.__all__
__all__ += operators.einsum.__all__
__all__ += operators.elementwise.__all__
__all__ += operators.functions.__all__
__all__ += operators.index.__all__
__all__ += operators.linear.__all__
__all__ += operators.losses.__all__
__all__ += operators.reduce.__all__
__all__ += operators.running.__all__
__all__ += operators.shape.__all__
__all__ += operators.slices.__all__
__all__ += operators.softmax.__all__
