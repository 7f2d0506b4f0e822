"""Second order: a gradient is a graph, so it can be derived again. Newton's method against gradient descent."""

import numpy as np

import graphgrad as gg

# Logistic regression: the loss is convex, and w has 3 entries, so a Hessian of 3 x 3 is small.
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3)) * [1.0, 4.0, 0.2]
Y = (X @ [1.0, -0.5, 3.0] + rng.normal(size=200) > 0).astype(float)

g = gg.Graph()
x, y = g.input("x", ("N", 3)), g.input("y", ("N",))
w = g.parameter("w", (3,))
L = (gg.binary_cross_entropy(x @ w, y) + 0.005 * gg.sum(w**2)).named("L")

gradient = gg.derive(L)[w]
H = gg.hessian(L, w)  # 3 x 3: each entry is derived

# The Newton step solves H s = gradient. NumPy solves; graphgrad computes both sides.
both = gg.compile([L, gradient, H])
value = np.zeros(3)
print("Newton's method:")
for k in range(6):
    loss, slope, curvature = both(x=X, y=Y, w=value)
    print(f"  step {k}: loss {float(loss):.8f}, |gradient| {np.linalg.norm(slope):.1e}")
    value = value - np.linalg.solve(curvature, slope)

# Gradient descent needs many steps, since the columns of X have different scales.
descent = gg.compile([L], updates={w: w - 0.1 * gradient})
descent.state["w"] = np.zeros(3)
for _ in range(500):
    (loss,) = descent(x=X, y=Y)
print(f"gradient descent, after 500 steps: loss {float(loss):.8f}")

# A Hessian times a vector costs a few gradients and never builds H: this is what conjugate gradients ask for.
v = g.input("v", (3,))
product = gg.compile([gg.hvp(L, w, v), H @ v])
fast, slow = product(x=X, y=Y, w=value, v=[1.0, 0.0, -1.0])
print(f"H v without H: {fast}, with H: {slow}")
