"""graphgrad: a compiler for derivation graphs."""

from graphgrad import schedules
from graphgrad.check import check
from graphgrad.codegen.loader import Function, compile
from graphgrad.derivation import Derivation, Step
from graphgrad.derive import derive
from graphgrad.errors import GraphgradError
from graphgrad.evaluate import evaluate
from graphgrad.export import write_module
from graphgrad.graph import Graph, Node, Tensor
from graphgrad.networks import Network, feedforward
from graphgrad.operators.activations import *  # noqa: F403
from graphgrad.operators.einsum import *  # noqa: F403
from graphgrad.operators.elementwise import *  # noqa: F403
from graphgrad.operators.functions import *  # noqa: F403
from graphgrad.operators.index import *  # noqa: F403
from graphgrad.operators.linear import *  # noqa: F403
from graphgrad.operators.losses import *  # noqa: F403
from graphgrad.operators.reduce import *  # noqa: F403
from graphgrad.operators.shape import *  # noqa: F403
from graphgrad.operators.slices import *  # noqa: F403
from graphgrad.operators.softmax import *  # noqa: F403
from graphgrad.optimizers import SGD, Adam, Momentum, Optimizer
from graphgrad.scalarize import scalarize
from graphgrad.storage import from_json, load_graph, save_graph, to_json
from graphgrad.symbolic import elementwise, from_sympy, to_sympy
from graphgrad.transforms import hessian, hvp, jacobian, jvp, per_sample_gradients
from graphgrad.trainer import Trainer
from graphgrad.training import Run, train
