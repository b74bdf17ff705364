//! How are convolutions computed? As matrix products with patches: a matrix with a column for each place of the window.
//!
//! A task takes one image, one group of channels and a band of rows, so that its patches stay in the core's own cache. All cuts depend
//! on shapes only, and every element is summed in one order: the bits of a result don't depend on the number of threads.

use super::{
    gemm::{Engine, Matrix, Product, dots, multiply},
    isa::Isa,
    patches::{Band, Planes},
    scratch::{Layout, with_partials, with_registers},
    strided::{BLOCK, Shared, copy_dense, dense, memory},
    tiles::TILE,
};
use crate::{
    Convolution, DType, Window,
    execute::{frame::Frame, threads},
    plan::kernel::{ConvolveKernel, Place},
};

/// Bytes of patches that a task should have at most: they are written once and read once, out of the core's own cache.
const CACHE: usize = 1 << 18;
/// So many tasks keep all cores busy: with fewer images, the bands are shorter.
const ENOUGH: usize = 8;
/// Most partial sums of a weight's gradient, and most elements of them all.
const PARTIALS: [usize; 2] = [16, 1 << 21];
/// Fewest rows of a product that is cut by its rows.
const ROWS: usize = 16;

/// One of the three tensors from the two others.
pub fn run(kernel: &ConvolveKernel, frame: &Frame) {
    match kernel.a.dtype {
        DType::F32 => on::<f32>(kernel, frame, Isa::current()),
        DType::F64 => on::<f64>(kernel, frame, Isa::current()),
        DType::I64 => on::<i64>(kernel, frame, Isa::current()),
        DType::Bool => panic!("a convolution needs numbers, found bool"),
    }
}

fn on<T: Engine>(kernel: &ConvolveKernel, frame: &Frame, isa: Isa) {
    let ConvolveKernel { kind, a, b, out, dims, window, groups } = kernel;
    let four = |dims: &[usize]| <[usize; 4]>::try_from(dims).expect("four axes");
    let (image, weight, output) = match kind {
        Convolution::Output => (four(&a.dims), four(&b.dims), four(dims)),
        Convolution::Image => (four(dims), four(&b.dims), four(&a.dims)),
        Convolution::Weight => (four(&a.dims), four(dims), four(&b.dims)),
    };
    let shapes = Shapes { image, weight, output, window: *window, groups: *groups };
    let size = dims.iter().product();
    let out = dense::<T>(frame, *out, size);
    if image.contains(&0) || weight.contains(&0) || output.contains(&0) {
        // SAFETY: the whole dense output.
        return unsafe { std::slice::from_raw_parts_mut(out.at(0), size) }.fill(T::default());
    }
    match kind {
        Convolution::Output => with_weight(frame, b, &shapes, |w| outputs(&shapes, &Planes::new(frame, a), w, out, isa)),
        Convolution::Image => with_weight(frame, b, &shapes, |w| images(&shapes, &Planes::new(frame, a), w, out, isa)),
        Convolution::Weight => weights(&shapes, &Planes::new(frame, a), &Planes::new(frame, b), out, isa),
    }
}

/// What fits together, see [`Convolution`].
struct Shapes {
    image: [usize; 4],
    weight: [usize; 4],
    output: [usize; 4],
    window: Window,
    groups: usize,
}

impl Shapes {
    /// Channels of the output in a group.
    fn rows(&self) -> usize {
        self.weight[0] / self.groups
    }

    /// Elements of a patch: channels of a group times the window.
    fn taps(&self) -> usize {
        self.weight[1..].iter().product()
    }

    /// Rows of the output whose patches are made at a time.
    fn band<T>(&self) -> usize {
        let [n, _, height, width] = self.output;
        let fitting = CACHE / (self.taps() * width * size_of::<T>());
        let sharing = height.div_ceil(ENOUGH.div_ceil(n * self.groups));
        fitting.min(sharing).clamp(1, height)
    }
}

/// Calls `work` with the weight as a matrix `[o, taps]`, copied if its layout is no matrix.
fn with_weight<T: Engine>(frame: &Frame, weight: &Place, shapes: &Shapes, work: impl FnOnce(Matrix<T>)) {
    let [row, s1, s2, col] = <[isize; 4]>::try_from(&weight.strides[..]).expect("four axes");
    let [_, _, kh, kw] = shapes.weight.map(|d| d as isize);
    if s2 == kw * col && s1 == kh * s2 {
        return work(Matrix { data: Shared::new(memory::<T>(frame, weight).at(weight.offset)), row, col });
    }
    let bytes = shapes.weight.iter().product::<usize>() * size_of::<T>();
    with_partials(bytes, |copy| {
        // SAFETY: scratch memory of the weight's size.
        unsafe { copy_dense(frame, weight, copy) };
        work(Matrix { data: Shared::new(copy.cast()), row: shapes.taps() as isize, col: 1 });
    });
}

/// The convolution: for each band, weights times patches.
fn outputs<T: Engine>(shapes: &Shapes, image: &Planes<T>, weight: Matrix<T>, out: Shared<T>, isa: Isa) {
    let Shapes { output: [n, o, height, width], window, groups, .. } = *shapes;
    let (band, rows, taps) = (shapes.band::<T>(), shapes.rows(), shapes.taps());
    let bands = height.div_ceil(band);
    threads::run(n * groups * bands, &|task| {
        let (number, group, first) = (task / bands / groups, task / bands % groups, task % bands * band);
        let band = Band { window, channels: shapes.weight[1], rows: first..height.min(first + band), width };
        with_registers(band.bytes::<T>(), |scratch| {
            // SAFETY: the task's own scratch memory, as large as the band asks for; the machine's own instructions.
            let patches = unsafe { band.patches(image, number, group, scratch, isa) };
            let to = ((number * o + group * rows) * height + first) * width;
            let out = Matrix { data: Shared::new(out.at(to as isize)), row: (height * width) as isize, col: 1 };
            let product = Product::new([rows, band.columns(), taps], weight.from(group * rows, 0), patches, out);
            // SAFETY: `memory` and `dense` checked the operands; this task's own rows of the output; the machine's instructions.
            unsafe { multiply(&product, isa) };
        });
    });
}

/// The gradient by the weight: cotangents times transposed patches, summed over all bands of all images, in a fixed number of partial sums.
fn weights<T: Engine>(shapes: &Shapes, image: &Planes<T>, output: &Planes<T>, out: Shared<T>, isa: Isa) {
    let Shapes { output: [n, _, height, width], window, groups, .. } = *shapes;
    let (band, rows, taps) = (shapes.band::<T>(), shapes.rows(), shapes.taps());
    let (bands, size) = (height.div_ceil(band), shapes.weight.iter().product::<usize>());
    let units = n * bands;
    let count = units.min(PARTIALS[0]).min(PARTIALS[1] / size).max(1);
    let tall = rows.div_ceil((ENOUGH / (groups * count)).clamp(1, rows.div_ceil(ROWS)));
    let cuts = rows.div_ceil(tall);
    let bytes = if count == 1 { 0 } else { count * size * size_of::<T>() };
    with_partials(bytes, |partials| {
        let sums = if count == 1 { out } else { Shared::new(partials.cast::<T>()) };
        threads::run(count * groups * cuts, &|task| {
            let (partial, group, cut) = (task / cuts / groups, task / cuts % groups, task % cuts * tall);
            let m = tall.min(rows - cut);
            let row = group * rows + cut;
            let total = Matrix { data: Shared::new(sums.at((partial * size + row * taps) as isize)), row: taps as isize, col: 1 };
            for unit in units * partial / count..units * (partial + 1) / count {
                let (number, first) = (unit / bands, unit % bands * band);
                let band = Band { window, channels: shapes.weight[1], rows: first..height.min(first + band), width };
                let mut layout = Layout::default();
                let [at_patches, at_given] = [band.bytes::<T>(), m * band.columns() * size_of::<T>()].map(|b| layout.reserve(b));
                with_registers(layout.bytes(), |scratch| {
                    let section = |at: usize| scratch.wrapping_add(at);
                    // SAFETY: sections of the task's own scratch memory, as large as both ask for; the machine's own instructions.
                    let (patches, given) = unsafe {
                        let patches = band.patches(image, number, group, section(at_patches), isa);
                        (patches, output.matrix([number, row], m, &band.rows, section(at_given)))
                    };
                    let product = Product::new([m, taps, band.columns()], given, patches.transposed(), total);
                    let product = Product { added: unit > units * partial / count, ..product };
                    // SAFETY: `memory` checked the operands; this task's own rows of its partial sum.
                    unsafe {
                        if taps < TILE && band.columns() >= TILE && given.col == 1 { dots(&product, isa) } else { multiply(&product, isa) }
                    };
                });
            }
        });
        if count > 1 {
            reduce(sums, count, size, out);
        }
    });
}

/// Adds `n` elements to others.
///
/// # Safety
/// Both must lie in memory, apart, and nobody else may use `to` meanwhile.
unsafe fn add<T: Engine>(to: *mut T, from: *const T, n: usize) {
    // SAFETY: as for the caller.
    let (to, from) = unsafe { (std::slice::from_raw_parts_mut(to, n), std::slice::from_raw_parts(from, n)) };
    to.iter_mut().zip(from).for_each(|(to, from)| *to = to.plus(*from));
}

/// The sum of the partial sums, in order.
fn reduce<T: Engine>(sums: Shared<T>, count: usize, size: usize, out: Shared<T>) {
    threads::run(size.div_ceil(BLOCK), &|task| {
        let start = task * BLOCK;
        let n = BLOCK.min(size - start);
        // SAFETY: a block of the output that is this task's own, and the same block of the partial sums, which are complete.
        unsafe {
            out.at(start as isize).copy_from_nonoverlapping(sums.at(start as isize), n);
            (1..count).for_each(|partial| add(out.at(start as isize), sums.at((partial * size + start) as isize), n));
        }
    });
}

/// The transposed convolution: transposed weights times outputs give patches, which are added where they came from, a few rows of the
/// output at a time. Where there are few images, each is cut into bands: the rows of the output that two of them share are computed
/// for both.
fn images<T: Engine>(shapes: &Shapes, output: &Planes<T>, weight: Matrix<T>, out: Shared<T>, isa: Isa) {
    let Shapes { image: [n, c, tall, wide], output: [_, _, height, width], window, groups, .. } = *shapes;
    let (rows, taps, channels, few) = (shapes.rows(), shapes.taps(), shapes.weight[1], shapes.band::<T>());
    let cut = tall.div_ceil(ENOUGH.div_ceil(n * groups));
    let bands = tall.div_ceil(cut);
    threads::run(n * groups * bands, &|task| {
        let (number, group, first) = (task / bands / groups, task / bands % groups, task % bands * cut);
        let lines = first..tall.min(first + cut);
        // The windows that reach these rows of the image.
        let (from, to) = (lines.start + window.padding[0], lines.end + window.padding[0]);
        let end = ((to - 1) / window.stride[0] + 1).min(height);
        let begin = (from + 1).saturating_sub(window.span(0)).div_ceil(window.stride[0]).min(end);
        let band = |rows| Band { window, channels, rows, width };
        let mut layout = Layout::default();
        let [at_patches, at_given] = [taps, rows].map(|r| layout.reserve(r * few * width * size_of::<T>()));
        let at_image = layout.reserve(band(0..0).image(&lines) * size_of::<T>());
        with_registers(layout.bytes(), |scratch| {
            let section = |at: usize| scratch.wrapping_add(at);
            // SAFETY: the task's own scratch memory, which holds as many elements.
            let sums = unsafe { std::slice::from_raw_parts_mut(section(at_image).cast::<T>(), band(0..0).image(&lines)) };
            sums.fill(T::default());
            for row in (begin..end).step_by(few) {
                let band = band(row..end.min(row + few));
                let columns = band.columns();
                let patches = Matrix { data: Shared::new(section(at_patches).cast::<T>()), row: columns as isize, col: 1 };
                // SAFETY: a section of the task's own scratch memory, as large as these rows.
                let given = unsafe { output.matrix([number, group * rows], rows, &band.rows, section(at_given)) };
                let a = weight.from(group * rows, 0).transposed();
                // SAFETY: `memory` checked the operands; this task's own scratch memory.
                unsafe { multiply(&Product::new([taps, columns, rows], a, given, patches), isa) };
                band.put_back(patches, &lines, sums, isa);
            }
            let to = Shared::new(out.at((((number * c + group * channels) * tall + first) * wide) as isize));
            band(0..0).without_padding(&lines, sums, to, [tall, wide]);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::execute::threads::set_threads;
    use rand::{RngExt, rngs::StdRng};

    /// The three tensors and their sum of products, term by term.
    fn naive(shapes: &Shapes, mut term: impl FnMut([usize; 3])) {
        let Shapes { image, weight: weight @ [_, each, kh, kw], output: output @ [n, o, oh, ow], window, .. } = shapes;
        let within = |i: usize, dims: [usize; 3]| [i / dims[2] / dims[1], i / dims[2] % dims[1], i % dims[2]];
        for at in 0..n * o * oh * ow {
            let ([no, i, j], taps) = (within(at, [n * o, *oh, *ow]), [*each, *kh, *kw]);
            for tap in 0..taps.iter().product() {
                let [c, k, l] = within(tap, taps);
                let (Some(y), Some(x)) = (window.position(0, i, k, image[2]), window.position(1, j, l, image[3])) else { continue };
                let (number, row) = (no / o, no % o);
                let channel = row / shapes.rows() * each + c;
                term([
                    position(image, &[number, channel, y, x]),
                    position(weight, &[row, c, k, l]),
                    position(output, &[number, row, i, j]),
                ]);
            }
        }
    }

    /// Small integers, so that every order of summation gives the same bits.
    fn check<T: Engine>(rng: &mut StdRng, shapes: &Shapes) {
        let mut memory = Memory::new();
        let dims = [shapes.image, shapes.weight, shapes.output];
        let places = dims.map(|d| memory.place::<T>(rng, &d));
        let values = [0, 1, 2].map(|i| memory.elements::<T>(&places[i]));
        for (kind, missing, a, b) in [(Convolution::Output, 2, 0, 1), (Convolution::Image, 0, 2, 1), (Convolution::Weight, 1, 0, 2)] {
            let size = dims[missing].iter().product();
            let mut expected = vec![0.0; size];
            naive(shapes, |at| expected[at[missing]] += values[a][at[a]].to_f64() * values[b][at[b]].to_f64());
            for isa in Isa::available() {
                let out = memory.add(&vec![T::from_f64(9.0); size]);
                let (window, groups) = (shapes.window, shapes.groups);
                let dims = dims[missing].as_slice().into();
                let kernel = ConvolveKernel { kind, a: places[a].clone(), b: places[b].clone(), out, dims, window, groups };
                on::<T>(&kernel, &memory.frame(), isa);
                let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
                assert_eq!(found, expected, "{isa:?} {kind:?} {:?} {:?} {window} {groups} groups", shapes.image, shapes.weight);
            }
        }
    }

    fn shapes(n: usize, groups: usize, [each, rows]: [usize; 2], image: [usize; 2], window: Window) -> Option<Shapes> {
        let [oh, ow] = window.count(image)?;
        Some(Shapes {
            image: [n, groups * each, image[0], image[1]],
            weight: [groups * rows, each, window.size[0], window.size[1]],
            output: [n, groups * rows, oh, ow],
            window,
            groups,
        })
    }

    #[test]
    fn all_three_equal_the_naive_sums_for_every_layout() {
        let mut rng = rng(9);
        let mut done = 0;
        while done < 120 {
            let mut pair = |least: usize, most: usize| [0; 2].map(|_| rng.random_range(least..=most));
            let (size, stride, padding, dilation, image) = (pair(1, 4), pair(1, 3), pair(0, 3), pair(1, 2), pair(1, 12));
            let channels = pair(1, 3);
            let window = Window { size, stride, padding, dilation };
            let (n, groups) = (rng.random_range(0..4), rng.random_range(1..3));
            let Some(shapes) = shapes(n, groups, channels, image, window) else { continue };
            check::<f32>(&mut rng, &shapes);
            check::<f64>(&mut rng, &shapes);
            check::<i64>(&mut rng, &shapes);
            done += 1;
        }
    }

    #[test]
    fn bands_and_parts_are_put_together() {
        let mut rng = rng(10);
        let three =
            |stride, padding, dilation| Window { size: [3; 2], stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2] };
        for (n, groups, channels, image, window) in [
            (40, 1, [3, 5], [9, 8], three(1, 1, 1)),
            (1, 1, [20, 3], [70, 40], three(1, 1, 1)),
            (2, 1, [9, 4], [65, 67], three(2, 0, 2)),
            (1, 2, [60, 20], [24, 30], three(3, 4, 1)),
            (3, 1, [20, 300], [5, 9], three(1, 2, 1)),
        ] {
            check::<f32>(&mut rng, &shapes(n, groups, channels, image, window).unwrap());
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let mut rng = rng(11);
        let window = Window { size: [3, 5], stride: [1, 2], padding: [1; 2], dilation: [1; 2] };
        let shapes = shapes(5, 2, [6, 7], [30, 31], window).unwrap();
        let dims = [shapes.image, shapes.weight, shapes.output];
        let mut memory = Memory::new();
        let place = dims.map(|d| {
            let noise: Vec<f32> = (0..d.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let strides = super::super::strided::dense_strides(&d);
            Place { buffer: memory.add(&noise), dtype: DType::F32, offset: 0, dims: d.as_slice().into(), strides }
        });
        for (kind, missing, a, b) in [(Convolution::Output, 2, 0, 1), (Convolution::Image, 0, 2, 1), (Convolution::Weight, 1, 0, 2)] {
            let out = memory.add(&vec![0f32; dims[missing].iter().product()]);
            let (dims, a, b) = (dims[missing].as_slice().into(), place[a].clone(), place[b].clone());
            let kernel = ConvolveKernel { kind, a, b, out, dims, window, groups: shapes.groups };
            let bits = [1, 2, 7].map(|threads| {
                set_threads(threads);
                run(&kernel, &memory.frame());
                memory.read::<f32>(out)
            });
            set_threads(2);
            assert!(bits[0] == bits[1] && bits[0] == bits[2], "{kind:?}");
        }
    }
}
