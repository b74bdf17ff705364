//! What does one of several equal parts of a kernel touch? Kernels are cut along the first axis of their results.

use super::kernel::*;
use smallvec::SmallVec;

/// Bytes of an operand or a result that a part touches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub buffer: BufferId,
    /// Where those of the first part begin.
    pub first: usize,
    /// From the first to the last.
    pub len: usize,
    /// How far those of the next part lie behind; 0 where all parts touch the same.
    pub step: usize,
    pub written: bool,
}

/// The spans of a kernel.
pub(crate) type Spans = SmallVec<[Span; 16]>;

/// The axis along which a kernel may be cut, and its length: the first that its results have, if what they hold at one place of it
/// depends on operands at that place, and on operands that don't have the axis.
pub(crate) fn axis(kernel: &Kernel) -> Option<(usize, usize)> {
    let (dims, before): (&[usize], usize) = match kernel {
        Kernel::Fused(k) => match &k.rows {
            // Sums over rows mix them; indices out of range are reported by row.
            Some(rows) if !k.folds.is_empty() || rows.passes.iter().any(|p| !p.spots.is_empty()) => return None,
            _ => (&k.dims, k.outer),
        },
        Kernel::Contract(k) => (&k.out.dims, k.out.dims.len() - 1),
        Kernel::Pool(k) => (&k.dims, 1),
        _ => return None,
    };
    let first = dims[..before].iter().position(|&d| d != 1)?;
    (!dims.contains(&0)).then(|| (first, dims[first]))
}

/// What each of `parts` equal parts touches, if the axis can be cut into so many.
pub(crate) fn spans(kernel: &Kernel, parts: usize) -> Option<Spans> {
    let (axis, len) = axis(kernel).filter(|a| a.1.is_multiple_of(parts))?;
    let mut spans = Spans::new();
    let mut add = |place: &Place, along: Option<usize>, written: bool| {
        spans.push(span(place, along, len / parts, written)?);
        Some(())
    };
    let mut dense: SmallVec<[(BufferId, usize); 4]> = SmallVec::new();
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    match kernel {
        Kernel::Fused(k) => {
            let per_row = k.rows.iter().flat_map(|r| &r.loads);
            k.loads.iter().chain(per_row).try_for_each(|l| add(&l.from, Some(axis), false))?;
            k.stores.iter().try_for_each(|s| add(&s.to, Some(axis), true))?;
            let rows = size(&k.dims[..k.outer]);
            let kept = rows * size(&k.dims[k.dims.len() - k.inner..]);
            dense.extend(k.folds.iter().map(|f| (f.to, kept * f.fold.result(f.dtype).size())));
            dense.extend(k.rows.iter().flat_map(|r| &r.stores).map(|s| (s.to, rows * s.dtype.size())));
        }
        Kernel::Contract(k) => {
            let shared = is_row(k, axis);
            for t in &k.terms {
                add(&t.a, Some(axis), false)?;
                add(&t.b, (!shared).then_some(axis), false)?;
            }
            k.add.iter().try_for_each(|place| add(place, Some(axis), false))?;
            add(&k.out, Some(axis), true)?;
        }
        Kernel::Pool(k) => {
            [&k.x].into_iter().chain(&k.with).try_for_each(|x| add(x, Some(axis), false))?;
            dense.push((k.out, size(&k.dims) * k.x.dtype.size()));
        }
        _ => unreachable!("`axis` names the kernels that can be cut"),
    }
    spans.extend(dense.iter().map(|&(buffer, bytes)| Span { buffer, first: 0, len: bytes / parts, step: bytes / parts, written: true }));
    Some(spans)
}

/// The first of `parts` equal parts, as a kernel.
pub(crate) fn part(kernel: &Kernel, parts: usize) -> Kernel {
    let (axis, _) = axis(kernel).expect("a kernel that can be cut");
    let shorten = |place: &mut Place| place.dims[axis] /= parts;
    match kernel {
        Kernel::Fused(k) => {
            let mut k = k.clone();
            k.dims[axis] /= parts;
            let per_row = k.rows.iter_mut().flat_map(|r| &mut r.loads);
            k.loads.iter_mut().chain(per_row).for_each(|l| shorten(&mut l.from));
            k.stores.iter_mut().for_each(|s| shorten(&mut s.to));
            Kernel::Fused(k)
        }
        Kernel::Contract(k) => {
            let (mut k, shared) = (k.clone(), is_row(k, axis));
            for t in &mut k.terms {
                shorten(&mut t.a);
                if !shared {
                    shorten(&mut t.b);
                }
            }
            k.add.iter_mut().chain([&mut k.out]).for_each(shorten);
            Kernel::Contract(k)
        }
        Kernel::Pool(k) => {
            let mut k = k.clone();
            k.dims[axis] /= parts;
            [&mut k.x].into_iter().chain(&mut k.with).for_each(shorten);
            Kernel::Pool(k)
        }
        _ => unreachable!("`axis` names the kernels that can be cut"),
    }
}

/// The numbers of all buffers that a kernel which can be cut names.
pub(crate) fn buffers(kernel: &mut Kernel) -> Vec<&mut BufferId> {
    match kernel {
        Kernel::Fused(k) => {
            let mut all: Vec<&mut BufferId> = Vec::new();
            if let Some(rows) = &mut k.rows {
                all.extend(rows.loads.iter_mut().map(|l| &mut l.from.buffer));
                all.extend(rows.stores.iter_mut().map(|s| &mut s.to));
            }
            all.extend(k.loads.iter_mut().map(|l| &mut l.from.buffer));
            all.extend(k.stores.iter_mut().flat_map(|s| [&mut s.to.buffer].into_iter().chain(&mut s.over)));
            all.extend(k.folds.iter_mut().map(|f| &mut f.to));
            all
        }
        Kernel::Contract(k) => {
            let terms = k.terms.iter_mut().flat_map(|t| [&mut t.a, &mut t.b]);
            terms.chain(&mut k.add).chain([&mut k.out]).map(|p| &mut p.buffer).collect()
        }
        Kernel::Pool(k) => {
            let operands = [&mut k.x].into_iter().chain(&mut k.with).map(|p| &mut p.buffer);
            operands.chain([&mut k.out]).collect()
        }
        _ => unreachable!("`axis` names the kernels that can be cut"),
    }
}

/// Whether an axis of a product's result is that of its rows, which right operands don't have.
fn is_row(k: &Contract, axis: usize) -> bool {
    axis + 2 == k.out.dims.len()
}

/// What a part of an operand touches, of which `len` indices of the axis `along` belong to it. None if that is nothing, or if the next
/// part lies before it.
fn span(place: &Place, along: Option<usize>, len: usize, written: bool) -> Option<Span> {
    if place.dims.contains(&0) {
        return None;
    }
    let size = place.dtype.size();
    let dim = |(axis, &d): (usize, &usize)| if Some(axis) == along { len } else { d };
    let (mut first, mut last) = (place.offset, place.offset);
    for (d, &stride) in place.dims.iter().enumerate().map(dim).zip(&place.strides) {
        let reach = stride * (d as isize - 1);
        (first, last) = (first + reach.min(0), last + reach.max(0));
    }
    let step = usize::try_from(along.map_or(0, |axis| place.strides[axis] * len as isize)).ok()?;
    let first = usize::try_from(first).expect("an operand lies within its buffer");
    Some(Span { buffer: place.buffer, first: first * size, len: (last as usize + 1 - first) * size, step: step * size, written })
}
