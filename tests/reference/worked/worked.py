"""Numbers that tests/worked.rs and others compare with, from formulas written out by hand.

Run with NumPy 2.4.6 and SciPy 1.17.1 (Python 3.11) as `python worked.py > worked.txt`. Gradients are written out, never taken
by differences or by another system, and optimizers are plain loops over the published update rules.
"""

import numpy as np
from scipy.special import expit, log_softmax, rel_entr, softmax


def say(name, value):
    value = np.asarray(value, dtype=np.float64)
    dims = ",".join(map(str, value.shape))
    print(f"{name} [{dims}] {' '.join(repr(float(v)) for v in value.ravel())}")


# One neuron.
say("neuron", max(0.0, np.dot([0.1, 0.3, 0.5], [0.5, 0.1, 0.2]) + 0.1))

# Two layers, half the squared error, one step of gradient descent.
x = np.array([[0.5, 0.1, 0.2]])
w1, b1 = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.array([0.1, 0.2])
w2, b2 = np.array([[0.3, 0.7], [0.4, 0.8]]), np.array([0.1, 0.2])
target = np.array([[0.7, 0.3]])
pre = x @ w1.T + b1
hidden = np.maximum(pre, 0)
out = hidden @ w2.T + b2
loss = 0.5 * ((out - target) ** 2).sum()
g_out = out - target
g_w2, g_b2 = g_out.T @ hidden, g_out.sum(0)
g_hidden = g_out @ w2
g_pre = g_hidden * (pre > 0)
g_w1, g_b1 = g_pre.T @ x, g_pre.sum(0)
g_x = g_pre @ w1
for name in ["hidden", "out", "loss", "g_w1", "g_b1", "g_w2", "g_b2", "g_x"]:
    say(f"two_layers.{name}", globals()[name])
for name in ["w1", "b1", "w2", "b2"]:
    say(f"two_layers.next_{name}", globals()[name] - 0.1 * globals()["g_" + name])

# Losses and their slopes in the first argument, mean over everything unless said otherwise.
y = np.array([[0.3, -1.2, 2.5], [0.0, 4.0, -0.7]])
t = np.array([[0.1, 0.4, 2.0], [1.0, 1.0, -0.2]])
d = y - t
say("loss.y", y)
say("loss.t", t)
say("loss.mse", (d * d).mean())
say("loss.mse.slope", 2 * d / d.size)
say("loss.l1", np.abs(d).mean())
say("loss.l1.slope", np.sign(d) / d.size)
delta = 0.75
inside = np.abs(d) <= delta
huber = np.where(inside, d * d / 2, delta * (np.abs(d) - delta / 2))
say("loss.huber", huber.mean())
say("loss.huber.slope", np.where(inside, d, delta * np.sign(d)) / d.size)
say("loss.smooth_l1", huber.mean() / delta)
labels = np.array([2, 0])
rows = np.arange(2)
nll = -log_softmax(y, axis=1)[rows, labels]
hot = np.zeros_like(y)
hot[rows, labels] = 1
say("loss.cross_entropy", nll.mean())
say("loss.cross_entropy.each", nll)
say("loss.cross_entropy.slope", (softmax(y, axis=1) - hot) / 2)
p = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
say("loss.p", p)
say("loss.cross_entropy_with_probabilities", -(p * log_softmax(y, axis=1)).sum(1).mean())
say("loss.cross_entropy_with_probabilities.slope", (softmax(y, axis=1) - p) / 2)
q = np.abs(t) / 2
say("loss.bce", -(q * np.log(expit(y)) + (1 - q) * np.log(expit(-y))).mean())
say("loss.bce.slope", (expit(y) - q) / y.size)
say("loss.kl", rel_entr(p, softmax(y, axis=1)).sum() / 2)
say("loss.kl.slope", -p / 2)

# Optimizers: five steps on f(p) = sum(a p^2 / 2 + p^3 / 10) from fixed parameters.
a = np.array([1.0, 3.0, 0.2, -0.5])
start = np.array([1.0, -0.7, 0.4, 0.3])


def slope(p):
    return a * p + 0.3 * p * p


def sgd(lr, momentum=0.0, nesterov=False, decay=0.0):
    p, v = start.copy(), np.zeros(4)
    for _ in range(5):
        g = slope(p) + decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam(lr, beta1=0.9, beta2=0.999, eps=1e-8, eps_root=0.0, decay=0.0, decoupled=0.0):
    p, m, v = start.copy(), np.zeros(4), np.zeros(4)
    for step in range(1, 6):
        g = slope(p) + decay * p
        p = p * (1 - lr * decoupled)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step) + eps_root) + eps)
    return p


say("optim.a", a)
say("optim.start", start)
say("optim.sgd", sgd(0.1))
say("optim.sgd_decay", sgd(0.1, decay=0.05))
say("optim.momentum", sgd(0.1, momentum=0.9))
say("optim.nesterov", sgd(0.1, momentum=0.9, nesterov=True, decay=0.05))
say("optim.adam", adam(0.01))
say("optim.adam_decay", adam(0.01, decay=0.05))
say("optim.adam_settings", adam(0.05, beta1=0.5, beta2=0.9, eps=1e-3, eps_root=1e-4))
say("optim.adamw", adam(0.01, decoupled=0.1))
