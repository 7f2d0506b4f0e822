"""Handwritten digits: a network of three layers, trained by stochastic gradient descent, momentum and Adam."""

import numpy as np

import graphgrad as gg
from graphgrad.data import load_digits_split

# 1,797 images of 8 x 8 pixels that scikit-learn ships, in a training and a test part.
X, Y, X_test, Y_test = load_digits_split()

# The network: x_l = relu(W_l x_{l-1} + b_l), the loss the cross-entropy of the last layer's values.
net = gg.feedforward([64, 128, 64, 10], activation="relu", loss="cross_entropy", dtype="float32")

# Each optimizer is a formula that becomes part of the graph; forward pass, backward pass and update are one program.
for optimizer in (gg.SGD(alpha=0.1), gg.Momentum(alpha=0.1, beta=0.9), gg.Adam(alpha=1e-3)):
    run = gg.train(net, X, Y, optimizer=optimizer, batch_size=32, epochs=10, seed=0)
    accuracy = np.mean(np.argmax(run.predict(X_test), axis=1) == Y_test)
    print(f"{type(optimizer).__name__:<9} test accuracy {accuracy:.3f}")

# What ran: one statement a line, each under its formula.
trainer = gg.Trainer(net, optimizer=gg.SGD(alpha=0.1))
print("\nthe first statements of a training step:")
print("\n".join(trainer.source.partition("def step")[2].splitlines()[1:13]))
