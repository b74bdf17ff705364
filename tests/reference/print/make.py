"""How does NumPy print arrays? Writes expected.txt, which the print test of wengert-core reads.

Run: pip install numpy==2.4.6; python make.py [number of random cases]

A case is `case <dtype> <shape> <precision>`, a line of elements (their bits in hexadecimal, or `ramp`: element i is i / 2 - 3),
then the lines of `str` after `s|` and those of the inner part of `repr` after `r|`.
"""
import sys
from pathlib import Path
import numpy as np

random_cases = int(sys.argv[1]) if len(sys.argv) > 1 else 30
names = {"float32": ("f32", np.uint32), "float64": ("f64", np.uint64), "int64": ("i64", np.uint64), "bool": ("bool", np.uint8)}
out = [f"# numpy {np.__version__}, by make.py"]


def case(a, precision=8, ramp=False):
    name, bits = names[str(a.dtype)]
    out.append(f"case {name} {','.join(map(str, a.shape)) or '-'} {precision}")
    out.append("ramp" if ramp else " ".join(f"{v:x}" for v in a.reshape(-1).view(bits)))
    with np.printoptions(precision=precision):
        out.extend("s|" + line for line in str(a).split("\n"))
        out.extend("r|" + line for line in np.array2string(a, separator=", ", prefix="array(", suffix=")").split("\n"))


def both(values, **how):
    with np.errstate(over="ignore"):
        case(np.array(values, np.float64), **how)
        case(np.array(values, np.float64).astype(np.float32), **how)


nan, inf = np.nan, np.inf
for values in [
    [[1.0, 2.0], [3.0, 4.0]], [0.1, 0.25, 3.0], [-1.5, 100.0], [0.0, -0.0], [1 / 3, 2 / 3], [1e-5, 1.0], [1e-5, 1.2345678e-5], [1e-4, 0.05],
    [1e8, 1.0], [99999999.0], [1e6], [999999.0], [123456.789, 1000.0], [0.001, 1.0], [0.001, 1.0001], [1e-300, 1e300], [1e38, 1e-38], [5e-324, 1.0],
    [nan, 1.0], [inf, 1.0], [-inf, 1.0], [nan], [nan, inf, -inf], [nan, 1e-9, -inf], [-inf, 0.123456789], [0.001953125, 1.0], [0.100000001], [2.5, nan, 1e10],
    0.1, 1 / 3, 1e-5, 1e16, 123456789.0, 9999999999999998.0, -0.0, nan, -inf, 1e-4, 100000.0, 3e-320, 2.0**-1017, [[]], [0.1 + 0.2], [1.0, 10.0, 100.0, 1000.0, 10000.0],
]:
    both(values)
for precision in [0, 3, 17]:
    both([1 / 3, 10.0, 2.5], precision=precision)
    both([1e-7, 2 / 3], precision=precision)
for values in [7, [1, -20, 300], [2**63 - 1, -(2**63)], [[1], [2]], list(range(40)), [], np.zeros((2, 0, 3))]:
    case(np.array(values, np.int64))
for values in [True, False, [True, True], [[True, False]] * 2]:
    case(np.array(values, np.bool))
for shape in [(30,), (2, 25), (2, 2, 3), (2, 1, 2, 2), (1001,), (8, 125), (40, 40), (3, 7, 60), (7, 143), (501, 2), (1, 1, 1, 1, 1, 1, 1, 1), (1, 2, 7, 8, 9)]:
    ramp = np.arange(np.prod(shape)).reshape(shape)
    both(ramp / 2 - 3, ramp=True)
    case(ramp.astype(np.int64) * 1, ramp=False) if ramp.size < 50 else None
rng = np.random.default_rng(1)
for _ in range(random_cases):
    shape = tuple(rng.integers(1, 6, rng.integers(0, 4)))
    spread = rng.choice([0.3, 1.5, 4.0, 40.0])
    values = rng.standard_normal(shape) * 10.0 ** rng.normal(0, spread, shape)
    if rng.random() < 0.3:
        values = np.round(values, int(rng.integers(0, 6)))
    both(values)
Path(__file__).with_name("expected.txt").write_text("\n".join(out) + "\n")
