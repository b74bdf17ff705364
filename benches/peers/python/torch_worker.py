"""The workloads in PyTorch: as one writes them, and with the whole step compiled."""

import functools
import os

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # in this process, so that its memory and its locks are its own

import torch
import torch.nn.functional as F

import bed

OFFERS = [(w, v) for w in ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W10", "W11") for v in ("eager", "compile")]
OFFERS += [("W5", "nn.LSTM"), ("W9", "eager"), ("W11", "objective")]
MISSING = []


def put(arrays):
    return [torch.from_numpy(a) for a in arrays]


def mlp(x, p, activation):
    for k in range(0, len(p) - 2, 2):
        x = activation(torch.addmm(p[k + 1], x, p[k]))
    return torch.addmm(p[-1], x, p[-2])


def tiny(x, t, *p):
    return F.mse_loss(mlp(x, p, torch.tanh), t)


def classifier(x, t, *p):
    return F.cross_entropy(mlp(x, p, F.relu), t)


def cnn(x, t, *p):
    x = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=1)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, p[2], p[3], padding=1)), 2)
    return classifier(x.flatten(1), t, *p[4:])


def lstm(x, w_in, w_hidden, b):
    h = c = torch.zeros(32, 128)
    for x_t in x:
        i, f, g, o = (torch.addmm(b, x_t, w_in) + h @ w_hidden).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h.square().mean()


def transformer(x, *p):
    apart = lambda x: x.view(8, 128, 4, 64).transpose(1, 2)
    q, k, v = (apart(x) for x in (F.layer_norm(x, (256,), p[0], p[1]) @ p[2] + p[3]).chunk(3, -1))
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(8, 128, 256)
    x = x + attended @ p[4] + p[5]
    hidden = F.gelu(F.layer_norm(x, (256,), p[6], p[7]) @ p[8] + p[9], approximate="tanh")
    return (x + hidden @ p[10] + p[11]).square().mean()


def chain(x):
    y = x * torch.sigmoid(x) + 0.5 * torch.tanh(x * x) - torch.log(1 + torch.exp(-x))
    return (y * y).mean()


def scalars(v, a, b):
    for k in range(bed.CHAIN):
        v = v * a if k % 3 == 0 else v + b if k % 3 == 1 else torch.tanh(v)
    return v


def mixture(x, rows, columns, alphas, means, icf):
    k, d, n = bed.MIXTURE
    logs, lower = icf[:, :d], icf[:, d:]
    scales = logs.exp()
    q = torch.diag_embed(scales).index_put((torch.arange(k)[:, None], rows, columns), lower)
    z = (x - means[:, None]) @ q.mT
    inner = (alphas + logs.sum(1))[:, None] - 0.5 * z.square().sum(2)
    prior = 0.5 * (scales.square().sum() + lower.square().sum())
    return torch.logsumexp(inner, 0).sum() - n * torch.logsumexp(alphas, 0) + prior + bed.mixture_constant()


def eager_training(loss, params, optimizer):
    for p in params:
        p.requires_grad_()
    optimizer = optimizer(params)

    def step():
        optimizer.zero_grad()
        value = loss(*params)
        value.backward()
        optimizer.step()
        return value.detach()

    return bed.Job(step)


def sgd_update(params, grads, state):
    for p, g in zip(params, grads):
        p.sub_(0.01 * g)


def adam_update(params, grads, state):
    count, ms, vs = state
    count += 1
    c1, c2 = 1 - 0.9**count, 1 - 0.999**count
    for p, g, m, v in zip(params, grads, ms, vs):
        m.lerp_(g, 0.1)
        v.lerp_(g * g, 0.001)
        p.sub_(1e-4 * (m / c1) / ((v / c2).sqrt() + 1e-8))


def compiled_training(loss, params, update):
    state = torch.zeros((), dtype=torch.float64), [torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params]
    gradients = torch.func.grad_and_value(lambda ps: loss(*ps))

    @torch.compile(fullgraph=True)
    def whole(params, state):
        grads, value = gradients(params)
        update(params, grads, state)
        return value

    def step():
        with torch.no_grad():
            return whole(params, state)

    return bed.Job(step)


def training(loss, params, variant, adam=True):
    params = put(params)
    if variant == "compile":
        return compiled_training(loss, params, adam_update if adam else sgd_update)
    optimizer = functools.partial(torch.optim.Adam, lr=1e-4, fused=True) if adam else functools.partial(torch.optim.SGD, lr=0.01, fused=True)
    return eager_training(loss, params, optimizer)


def built_in_lstm(x):
    w_in, w_hidden, b = put(bed.lstm())
    layer = torch.nn.LSTM(64, 128)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(w_in.T)
        layer.weight_hh_l0.copy_(w_hidden.T)
        layer.bias_ih_l0.copy_(b)
        layer.bias_hh_l0.zero_()
    return eager_training(lambda *_: layer(x)[1][0].square().mean(), list(layer.parameters()), functools.partial(torch.optim.Adam, lr=1e-4, fused=True))


def gradient(loss, inputs, variant):
    last = []

    def eager():
        for x in inputs:
            x.requires_grad_()
        value = loss(*inputs)
        return torch.autograd.grad(value, inputs), value.detach()

    arguments = tuple(range(len(inputs)))
    compiled = torch.compile(lambda *inputs: torch.func.grad_and_value(loss, arguments)(*inputs), fullgraph=True)

    def step():
        last.clear()
        gradients, value = compiled(*inputs) if variant == "compile" else eager()
        last.extend(gradients)
        return value

    return bed.Job(step, lambda: sum(g.double().abs().sum().item() for g in last))


def objective(loss, inputs):
    def step():
        with torch.no_grad():
            return loss(*inputs)

    return bed.Job(step)


def hvp(loss, params, directions, variant):
    params, directions = put(params), put(directions)
    last = []

    def eager():
        for p in params:
            p.requires_grad_()
        value = loss(*params)
        gradients = torch.autograd.grad(value, params, create_graph=True)
        return torch.autograd.grad(gradients, params, directions), value.detach()

    @torch.compile(fullgraph=True)
    def compiled(params, directions):
        gradients = torch.func.grad_and_value(lambda ps: loss(*ps))
        (_, value), (products, _) = torch.func.jvp(gradients, (params,), (directions,))
        return products, value

    def step():
        last.clear()
        products, value = compiled(params, directions) if variant == "compile" else eager()
        last.extend(products)
        return value

    return bed.Job(step, lambda: sum((v.double() * h.double()).sum().item() for v, h in zip(directions, last)))


def prepare(workload, variant):
    def bound(loss, x, *more):
        return functools.partial(loss, *put([x, *more]))

    classes = lambda seed, shape, classes=10: bound(classifier, bed.tensor(seed, shape, 1), bed.labels(seed + 1, shape[0], classes))
    match workload:
        case "W1":
            return training(bound(tiny, bed.tensor(1500, (32, 2), 1), bed.tensor(1501, (32, 1), 1)), bed.mlp(1000, bed.TINY), variant, adam=False)
        case "W2":
            return training(classes(2500, (64, 64)), bed.mlp(2000, bed.DIGITS), variant)
        case "W3":
            return training(classes(3500, (128, 784)), bed.mlp(3000, bed.MNIST), variant)
        case "W4":
            return training(bound(cnn, bed.tensor(4500, (64, 1, 28, 28), 1), bed.labels(4501, 64, 10)), bed.cnn(), variant)
        case "W5":
            x = bed.tensor(5500, (32, 32, 64), 1)
            return built_in_lstm(*put([x])) if variant == "nn.LSTM" else training(bound(lstm, x), bed.lstm(), variant)
        case "W6":
            return training(bound(transformer, bed.tensor(6500, (8, 128, 256), 1)), bed.transformer(), variant)
        case "W7":
            return gradient(chain, put([bed.tensor(7500, (4194304,), 3)]), variant)
        case "W8":
            (t,) = put([bed.labels(8501, 512, 32000)])
            return gradient(lambda x: F.cross_entropy(x, t), put([bed.tensor(8500, (512, 32000), 4)]), variant)
        case "W9":
            return gradient(scalars, [torch.tensor(v) for v in (0.5, 1.0, 0.0)], variant)
        case "W10":
            return hvp(classes(3500, (128, 784)), bed.mlp(3000, bed.MNIST), bed.directions(), variant)
        case "W11":
            parts, x = bed.mixture()
            loss = bound(mixture, x, *bed.triangle(20))
            return objective(loss, put(parts)) if variant == "objective" else gradient(loss, put(parts), variant)


def wake():
    """Loads what PyTorch loads at a first step, so that it counts as its base and not as the workload's."""
    p = torch.ones(2, requires_grad=True)
    p.sum().backward()
    torch.optim.Adam([p], fused=True).step()


torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
wake()
bed.main("torch", torch.__version__, OFFERS, MISSING, prepare)
