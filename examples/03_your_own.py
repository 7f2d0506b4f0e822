"""An activation and an optimizer of your own: a formula each, and graphgrad derives and compiles them."""

import numpy as np
import sympy as sp

import graphgrad as gg

# An activation is a sympy expression. Its derivative and its code follow from it.
u, beta = sp.symbols("u beta")
swish = gg.elementwise("swish", u / (1 + sp.exp(-beta * u)), parameters={"beta": 1.5})


# An optimizer is a formula of theta, the gradient g and what it remembers. This one goes by the sign of the momentum.
class SignDescent:
    def update(self, theta, g, k, state):
        m = state("m")  # zero at first
        new_m = 0.9 * m + 0.1 * g
        return {theta: theta - 0.003 * gg.sign(new_m), m: new_m}


# Two classes: inside the unit circle, and outside.
rng = np.random.default_rng(0)
X = rng.uniform(-1.5, 1.5, (512, 2))
Y = (np.sum(X**2, axis=1) < 1).astype(np.int64)

net = gg.feedforward([2, 16, 2], activation=swish, loss="cross_entropy")
print(gg.check(net.loss))  # the derivative of the new activation, against central differences

run = gg.train(net, X, Y, optimizer=SignDescent(), batch_size=64, epochs=40, seed=0)
accuracy = np.mean(np.argmax(run.predict(X), axis=1) == Y)
print(f"accuracy: {accuracy:.3f}")
