"""What the Python workers share: the numbers, the parameters of the workloads, and the conversation with the driver."""

import argparse
import json
import math
import sys
import time

import numpy as np

TINY, DIGITS, MNIST = (2, 16, 16, 1), (64, 128, 64, 10), (784, 512, 512, 10)
CHAIN = 10_000
MIXTURE = (25, 20, 1000)


def u(seed, first, n):
    """Numbers in [0, 1) for a seed and the places from `first` on."""
    z = (np.arange(first + 1, first + n + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2.0**24


def tensor(seed, shape, scale, dtype=np.float32):
    """Numbers between -scale and scale; in pieces, so that making them takes no memory beside them."""
    flat, piece = np.empty(math.prod(shape), dtype), 1 << 16
    for at in range(0, flat.size, piece):
        n = min(piece, flat.size - at)
        flat[at : at + n] = scale * (2 * u(seed, at, n) - 1)
    return flat.reshape(shape)


def labels(seed, n, classes):
    return np.floor(u(seed, 0, n) * classes).astype(np.int64)


def fan(k):
    return 1 / math.sqrt(k)


def linear(seed, inputs, outputs):
    return [tensor(seed, (inputs, outputs), fan(inputs)), tensor(seed + 1, (outputs,), fan(inputs))]


def mlp(seed, sizes):
    pairs = zip(sizes, sizes[1:])
    return [p for k, (i, o) in enumerate(pairs) for p in linear(seed + 2 * k, i, o)]


def cnn():
    first = [tensor(4000, (32, 1, 3, 3), fan(9)), tensor(4001, (32,), fan(9))]
    second = [tensor(4002, (64, 32, 3, 3), fan(288)), tensor(4003, (64,), fan(288))]
    return first + second + linear(4004, 3136, 128) + linear(4006, 128, 10)


def lstm():
    return [tensor(5000, (64, 512), fan(128)), tensor(5001, (128, 512), fan(128)), tensor(5002, (512,), fan(128))]


def transformer():
    norm = lambda: [np.ones(256, np.float32), np.zeros(256, np.float32)]
    attention = linear(6002, 256, 768) + linear(6004, 256, 256)
    return norm() + attention + norm() + linear(6008, 256, 1024) + linear(6010, 1024, 256)


def directions():
    return [tensor(3100 + k, p.shape, 1) for k, p in enumerate(mlp(0, MNIST))]


def mixture():
    k, d, n = MIXTURE
    parts = [(11000, (k,), 1), (11001, (k, d), 1), (11002, (k, d * (d + 1) // 2), 0.5)]
    return [tensor(*p, np.float64) for p in parts], tensor(11500, (n, d), 2, np.float64)


def triangle(d):
    """Rows and columns of the strictly lower triangle, column by column."""
    pairs = [(row, column) for column in range(d) for row in range(column + 1, d)]
    return [np.array(x) for x in zip(*pairs)]


def mixture_constant():
    """The terms of W11 that no parameter changes."""
    k, d, n = MIXTURE
    freedom = d + 1
    ln_gamma = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma((freedom - j) / 2) for j in range(d))
    return -n * d / 2 * math.log(2 * math.pi) - k * (freedom * d * math.log(1 / math.sqrt(2)) - ln_gamma)


class Job:
    """A prepared workload: a step that gives its loss, and what is computed from the last one."""

    def __init__(self, step, check=lambda: None, losses=None, steps_in_a_call=1):
        self.step, self.check, self.losses, self.steps_in_a_call = step, check, losses, steps_in_a_call

    def first_losses(self):
        losses = self.losses() if self.losses else [float(self.step()) for _ in range(11)]
        return losses[0], losses[10]


def run(job, warm, limit, least, most):
    """Warms up, then times single calls; milliseconds a step."""
    clock = time.perf_counter
    start = clock()
    job.step()
    while clock() - start < warm:
        job.step()
    times, start = [], clock()
    while len(times) < most and (len(times) < least or clock() - start < limit):
        began = clock()
        job.step()
        times.append((clock() - began) * 1e3 / job.steps_in_a_call)
    return times


def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def memory_now():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass
    return memory("VmRSS:")


def main(peer, version, offers, missing, prepare):
    """The whole program of a worker; `offers` are pairs of a workload and a way to write it."""
    if "--list" in sys.argv:
        return print(json.dumps({"peer": peer, "version": version, "offers": offers, "missing": missing}))
    args = argparse.ArgumentParser()
    args.add_argument("workload")
    args.add_argument("--variant")
    args.add_argument("--steps", type=int, default=50)
    args.add_argument("--serve", action="store_true")
    args = args.parse_args()
    variant = args.variant or next(v for w, v in offers if w == args.workload)
    base = memory_now()
    job = prepare(args.workload, variant)
    losses = job.first_losses()
    check = job.check()
    if args.serve:
        say = lambda **what: print(json.dumps(what), flush=True)
        say(loss0=losses[0], loss10=losses[1], check=check, base_mb=base)
        for line in sys.stdin:
            command, *numbers = line.split()
            if command == "end":
                return say(peak_mb=memory("VmHWM:") - base)
            warm, limit, least, most = numbers
            say(ms=run(job, float(warm), float(limit), int(least), int(most)))
    else:
        ms = sorted(run(job, 0.5, math.inf, args.steps, args.steps))
        print(f"{peer} {args.workload} {variant}: median {ms[len(ms) // 2]:.4f} ms, min {ms[0]:.4f} ms of {len(ms)} steps")
        print(f"loss0 {losses[0]:.9f}, loss10 {losses[1]:.9f}, check {check}, base {base:.1f} MB, peak {memory('VmHWM:') - base:.1f} MB over it")
