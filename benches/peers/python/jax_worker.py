"""The workloads in JAX: one compiled call for each step, and some as a loop inside one call."""

import functools
import os

if "--list" not in os.sys.argv:
    # XLA takes the cores that it is allowed to run on.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))])

import jax
import jax.numpy as jnp
from jax import lax

import bed

OFFERS = [(w, "jit") for w in ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W10", "W11")]
OFFERS += [("W1", "loop of 1000"), ("W2", "loop of 1000"), ("W4", "pooling by reshape"), ("W5", "scan"), ("W9", "scan"), ("W11", "objective")]
MISSING = []
LOOP = 1000


def mlp(x, p, activation):
    for k in range(0, len(p) - 2, 2):
        x = activation(x @ p[k] + p[k + 1])
    return x @ p[-2] + p[-1]


def tiny(x, t, p):
    return jnp.mean((mlp(x, p, jnp.tanh) - t) ** 2)


def cross_entropy(x, t):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), t[:, None], 1))


def classifier(x, t, p):
    return cross_entropy(mlp(x, p, jax.nn.relu), t)


def pooled_by_window(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def pooled_by_reshape(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def cnn(pooled, x, t, p):
    convolved = lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = pooled(jax.nn.relu(convolved(x, p[0]) + p[1]))
    x = pooled(jax.nn.relu(convolved(x, p[2]) + p[3]))
    return classifier(x.reshape(64, 3136), t, p[4:])


def channels_last(p):
    """The same parameters for images whose channels are the last axis."""
    p[0], p[2] = p[0].transpose(2, 3, 1, 0), p[2].transpose(2, 3, 1, 0)
    p[4] = p[4].reshape(64, 7, 7, 128).transpose(1, 2, 0, 3).reshape(3136, 128)
    return p


def lstm(scan, x, p):
    def cell(state, x_t):
        h, c = state
        i, f, g, o = jnp.split(x_t @ p[0] + h @ p[1] + p[2], 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    state = (jnp.zeros((32, 128)), jnp.zeros((32, 128)))
    if scan:
        state, _ = lax.scan(cell, state, x)
    else:
        for x_t in x:
            state, _ = cell(state, x_t)
    return jnp.mean(state[0] ** 2)


def layer_norm(x, gain, bias):
    d = x - x.mean(-1, keepdims=True)
    return d * lax.rsqrt(jnp.mean(d * d, -1, keepdims=True) + 1e-5) * gain + bias


def transformer(x, p):
    apart = lambda x: x.reshape(8, 128, 4, 64)
    q, k, v = (apart(x) for x in jnp.split(layer_norm(x, p[0], p[1]) @ p[2] + p[3], 3, -1))
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 8)
    attended = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(8, 128, 256)
    x = x + attended @ p[4] + p[5]
    hidden = jax.nn.gelu(layer_norm(x, p[6], p[7]) @ p[8] + p[9], approximate=True)
    return jnp.mean((x + hidden @ p[10] + p[11]) ** 2)


def chain(p):
    (x,) = p
    y = x * jax.nn.sigmoid(x) + 0.5 * jnp.tanh(x * x) - jnp.log(1 + jnp.exp(-x))
    return jnp.mean(y * y)


def scalars(p):
    v, a, b = p
    v, _ = lax.scan(lambda v, _: (jnp.tanh(v * a + b), None), v, length=bed.CHAIN // 3)
    return v * a


def mixture(x, rows, columns, p):
    alphas, means, icf = p
    k, d, n = bed.MIXTURE
    logs, lower = icf[:, :d], icf[:, d:]
    scales = jnp.exp(logs)
    q = jax.vmap(jnp.diag)(scales).at[:, rows, columns].set(lower)
    z = jnp.einsum("kij,knj->kni", q, x - means[:, None])
    inner = (alphas + logs.sum(1))[:, None] - 0.5 * (z * z).sum(2)
    prior = 0.5 * ((scales**2).sum() + (lower**2).sum())
    lse = jax.scipy.special.logsumexp
    return lse(inner, 0).sum() - n * lse(alphas) + prior + bed.mixture_constant()


def sgd(params, grads, state):
    return [p - 0.01 * g for p, g in zip(params, grads)], state


def adam(params, grads, state):
    count, ms, vs = state
    count = count + 1
    ms = [0.9 * m + 0.1 * g for m, g in zip(ms, grads)]
    vs = [0.999 * v + 0.001 * g * g for v, g in zip(vs, grads)]
    c1, c2 = 1 - 0.9**count, 1 - 0.999**count
    params = [p - 1e-4 * (m / c1) / (jnp.sqrt(v / c2) + 1e-8) for p, m, v in zip(params, ms, vs)]
    return params, (count, ms, vs)


def training(loss, params, variant, update=adam):
    params = [jnp.array(p) for p in params]
    carry = params, (jnp.float32(0), [jnp.zeros_like(p) for p in params], [jnp.zeros_like(p) for p in params])

    def advance(carry):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        return update(params, grads, state), value

    if variant == "loop of 1000":
        call = jax.jit(lambda carry: lax.scan(lambda c, _: advance(c), carry, length=LOOP), donate_argnums=0)
    else:
        call = jax.jit(advance, donate_argnums=0)

    def step():
        nonlocal carry
        carry, value = jax.block_until_ready(call(carry))
        return value

    if variant == "loop of 1000":
        return bed.Job(step, losses=lambda: [float(v) for v in step()[:11]], steps_in_a_call=LOOP)
    return bed.Job(step)


def gradient(loss, inputs):
    inputs = [jnp.array(x) for x in inputs]
    call, last = jax.jit(jax.value_and_grad(loss)), []

    def step():
        last.clear()
        value, grads = jax.block_until_ready(call(inputs))
        last.extend(grads)
        return value

    return bed.Job(step, lambda: sum(float(jnp.abs(g).sum(dtype=jnp.float32 if g.dtype == jnp.float32 else None)) for g in last))


def objective(loss, inputs):
    inputs = [jnp.array(x) for x in inputs]
    call = jax.jit(loss)
    return bed.Job(lambda: jax.block_until_ready(call(inputs)))


def hvp(loss, params, directions):
    params, directions = [[jnp.array(p) for p in ps] for ps in (params, directions)]
    call, last = jax.jit(lambda p, v: jax.jvp(jax.value_and_grad(loss), (p,), (v,))), []

    def step():
        last.clear()
        (value, _), (_, products) = jax.block_until_ready(call(params, directions))
        last.extend(products)
        return value

    return bed.Job(step, lambda: sum(float((v * h).sum()) for v, h in zip(directions, last)))


def prepare(workload, variant):
    bound = lambda loss, *inputs: functools.partial(loss, *(jnp.array(x) for x in inputs))
    classes = lambda seed, shape: bound(classifier, bed.tensor(seed, shape, 1), bed.labels(seed + 1, shape[0], 10))
    match workload:
        case "W1":
            return training(bound(tiny, bed.tensor(1500, (32, 2), 1), bed.tensor(1501, (32, 1), 1)), bed.mlp(1000, bed.TINY), variant, sgd)
        case "W2":
            return training(classes(2500, (64, 64)), bed.mlp(2000, bed.DIGITS), variant)
        case "W3":
            return training(classes(3500, (128, 784)), bed.mlp(3000, bed.MNIST), variant)
        case "W4":
            x = bed.tensor(4500, (64, 28, 28, 1), 1)  # with one channel the same numbers as with channels first
            loss = functools.partial(cnn, pooled_by_reshape if variant == "pooling by reshape" else pooled_by_window)
            return training(bound(loss, x, bed.labels(4501, 64, 10)), channels_last(bed.cnn()), variant)
        case "W5":
            return training(bound(functools.partial(lstm, variant == "scan"), bed.tensor(5500, (32, 32, 64), 1)), bed.lstm(), variant)
        case "W6":
            return training(bound(transformer, bed.tensor(6500, (8, 128, 256), 1)), bed.transformer(), variant)
        case "W7":
            return gradient(chain, [bed.tensor(7500, (4194304,), 3)])
        case "W8":
            t = jnp.array(bed.labels(8501, 512, 32000))
            return gradient(lambda p: cross_entropy(p[0], t), [bed.tensor(8500, (512, 32000), 4)])
        case "W9":
            return gradient(scalars, [jnp.float32(v) for v in (0.5, 1, 0)])
        case "W10":
            return hvp(classes(3500, (128, 784)), bed.mlp(3000, bed.MNIST), bed.directions())
        case "W11":
            jax.config.update("jax_enable_x64", True)
            parts, x = bed.mixture()
            loss = bound(mixture, x, *bed.triangle(20))
            return objective(loss, parts) if variant == "objective" else gradient(loss, parts)


if "--list" not in os.sys.argv:
    # Loads the compiler, so that it counts as the base and not as the workload's.
    jax.block_until_ready(jax.jit(jax.value_and_grad(lambda x: (x @ x).sum()))(jnp.ones((2, 2))))
bed.main("jax", jax.__version__, OFFERS, MISSING, prepare)
