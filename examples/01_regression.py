"""Regression with a quadratic loss: gradient descent and stochastic gradient descent, on a graph built by hand.

The network is x⁽¹⁾ = tanh(W1 x + b1), Φ(x) = W2 x⁽¹⁾ + b2, the loss the empirical risk (1/N) Σ (Φ(x_i) - y_i)².
"""

import numpy as np

import graphgrad as gg

# The data: N = 256 realisations of y = sin(x).
rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, (256, 1))
Y = np.sin(X)

# The graph. A sample is a row, so a layer is x @ W.T + b; the size N is left open.
g = gg.Graph()
x, y = g.input("x", ("N", 1)), g.input("y", ("N", 1))
W1, b1 = g.parameter("W1", (16, 1)), g.parameter("b1", (16,))
W2, b2 = g.parameter("W2", (1, 16)), g.parameter("b2", (1,))

x1 = gg.tanh(x @ W1.T + b1).named("x1")
phi = (x1 @ W2.T + b2).named("Phi")
L = gg.mean((phi - y) ** 2).named("L")

# The derivation graph: the gradient of L is more nodes of the same graph, and every step of the way is on record.
d = gg.derive(L)
print("The derivation, a rule a line:\n")
print(d)

# One step of the iteration theta_{k+1} = theta_k - alpha * gradient is a graph too. Compiled, it is NumPy code.
alpha = 0.05
step = gg.compile([L], updates={theta: theta - alpha * d[theta] for theta in (W1, b1, W2, b2)})
start = {"W1": rng.normal(0, 1, (16, 1)), "b1": np.zeros(16), "W2": rng.normal(0, 0.25, (1, 16)), "b2": np.zeros(1)}
passes = 200


def begin():
    for name, value in start.items():
        step.state[name] = value


# Gradient descent: each step sees all the data.
begin()
for _ in range(passes):
    step(x=X, y=Y)
(full,) = gg.evaluate([L], x=X, y=Y, **step.state)

# In batches: each pass is a partition σ_1, ..., σ_16 of {1, ..., N} in random order, and a step for each batch.
begin()
for _ in range(passes):
    for batch in np.split(rng.permutation(len(X)), 16):
        step(x=X[batch], y=Y[batch])
(stochastic,) = gg.evaluate([L], x=X, y=Y, **step.state)

print(f"\nafter {passes} passes over the data, the loss is")
print(f"  gradient descent, 1 step a pass:              {full:.5f}")
print(f"  stochastic gradient descent, 16 steps a pass: {stochastic:.5f}")
