"""graphgrad: a compiler for derivation graphs."""

from graphgrad.codegen.loader import Function, compile
from graphgrad.derive import Derivation, Step, derive
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate
from graphgrad.graph import Graph, Node, Tensor
from graphgrad.operators.elementwise import *  # noqa: F403
from graphgrad.operators.linear import *  # noqa: F403
from graphgrad.operators.reduce import *  # noqa: F403
from graphgrad.operators.shape import *  # noqa: F403
