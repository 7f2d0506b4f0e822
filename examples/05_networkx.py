"""A derivation graph is a networkx graph: its algorithms run on it as they are."""

import io

import networkx as nx

import graphgrad as gg

# One neuron with a quadratic loss, and its derivation.
g = gg.Graph()
x, y = g.input("x", ("N", 2)), g.input("y", ("N", 1))
W, b = g.parameter("W", (1, 2)), g.parameter("b", (1,))
p = gg.sigmoid(x @ W.T + b).named("p")
L = gg.mean((p - y) ** 2).named("L")
d = gg.derive(L)

graph = g.nx  # a MultiDiGraph: x * x has two edges, told apart by the operand's position
acyclic = nx.is_directed_acyclic_graph(graph)
print(f"{graph.number_of_nodes()} nodes, {graph.number_of_edges()} edges; acyclic: {acyclic}")

# The longest path bounds how much can run at the same time.
longest = nx.dag_longest_path(graph)
print(f"the longest path has {len(longest)} nodes: {' '.join(g.label(i) for i in longest)}")

# Topological generations: what could be computed together.
for k, generation in enumerate(nx.topological_generations(graph)):
    print(f"  generation {k}: {', '.join(g.label(i) for i in sorted(generation))}")

# Dominators: every path from the data x to the gradient of W goes through these.
idom = nx.immediate_dominators(graph, x.id)
node, chain = d[W].id, []
while idom.get(node) not in (None, node):
    node = idom[node]
    chain.append(g.label(node))
print(f"from x to the gradient of W, all paths meet in: {', '.join(chain)}")

# What the gradient of b needs, and what it does not.
needed = nx.ancestors(graph, d[b].id)
print(f"the gradient of b needs {len(needed)} nodes; the loss itself is {'' if L.id in needed else 'not '}among them")

# Export for Gephi, yEd or Cytoscape: the attributes are plain text.
file = io.BytesIO()
nx.write_graphml(g.to_networkx(), file)
print(f"GraphML: {len(file.getvalue())} bytes")
