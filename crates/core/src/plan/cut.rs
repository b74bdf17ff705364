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

/// Something that a kernel which can be cut touches.
enum Touch<'a> {
    /// An operand, or a result with strides.
    Strided(&'a mut Place, Use),
    /// A dense result of so many bytes, whose first axis is the one that is cut.
    Dense(&'a mut BufferId, usize),
    /// A buffer of the others, named once more.
    Again(&'a mut BufferId),
}

/// What a part does with it.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// It reads its own share.
    Read,
    /// It reads all of it, as every part does.
    Shared,
    /// It writes its own share.
    Written,
}

/// All that a kernel touches which is cut along an axis, or is a part.
fn touches(kernel: &mut Kernel, axis: usize) -> SmallVec<[Touch<'_>; 16]> {
    use Touch::{Again, Dense, Strided};
    use Use::{Read, Shared, Written};
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let mut all = SmallVec::new();
    match kernel {
        Kernel::Fused(k) => {
            let rows = size(&k.dims[..k.outer]);
            let kept = rows * size(&k.dims[k.dims.len() - k.inner..]);
            all.extend(k.loads.iter_mut().map(|l| Strided(&mut l.from, Read)));
            for s in &mut k.stores {
                all.push(Strided(&mut s.to, Written));
                all.extend(s.over.as_mut().map(Again));
            }
            all.extend(k.folds.iter_mut().map(|f| Dense(&mut f.to, kept * f.fold.result(f.dtype).size())));
            if let Some(per_row) = &mut k.rows {
                all.extend(per_row.loads.iter_mut().map(|l| Strided(&mut l.from, Read)));
                all.extend(per_row.stores.iter_mut().map(|s| Dense(&mut s.to, rows * s.dtype.size())));
            }
        }
        Kernel::Contract(k) => {
            // Rows of the result don't depend on other rows of the left operand, but on all of the right one.
            let right = if axis + 2 == k.out.dims.len() { Shared } else { Read };
            all.extend(k.terms.iter_mut().flat_map(|t| [Strided(&mut t.a, Read), Strided(&mut t.b, right)]));
            all.extend(k.add.iter_mut().map(|place| Strided(place, Read)));
            all.push(Strided(&mut k.out, Written));
        }
        Kernel::Pool(k) => {
            all.push(Dense(&mut k.out, size(&k.dims) * k.x.dtype.size()));
            all.extend([&mut k.x].into_iter().chain(&mut k.with).map(|x| Strided(x, Read)));
        }
        _ => unreachable!("`axis` names the kernels that can be cut"),
    }
    all
}

/// What each of `parts` equal parts touches, if the axis can be cut into so many.
pub(crate) fn spans(kernel: &mut Kernel, parts: usize) -> Option<Spans> {
    let (axis, len) = axis(kernel).filter(|a| a.1.is_multiple_of(parts))?;
    let span = |touch: &Touch| match touch {
        Touch::Strided(place, used) => Some(span(place, (*used != Use::Shared).then_some(axis), len / parts, *used == Use::Written)),
        &Touch::Dense(&mut buffer, bytes) => {
            let len = bytes / parts;
            Some(Some(Span { buffer, first: 0, len, step: len, written: true }))
        }
        Touch::Again(_) => None,
    };
    touches(kernel, axis).iter().filter_map(span).collect()
}

/// The first of `parts` equal parts, as a kernel.
pub(crate) fn part(kernel: &Kernel, parts: usize) -> Kernel {
    let (axis, _) = axis(kernel).expect("a kernel that can be cut");
    let mut part = kernel.clone();
    for touch in touches(&mut part, axis) {
        if let Touch::Strided(place, Use::Read | Use::Written) = touch {
            place.dims[axis] /= parts;
        }
    }
    match &mut part {
        Kernel::Fused(k) => k.dims[axis] /= parts,
        Kernel::Pool(k) => k.dims[axis] /= parts,
        _ => {}
    }
    part
}

/// The numbers of all buffers that a kernel which can be cut names.
pub(crate) fn buffers(kernel: &mut Kernel) -> SmallVec<[&mut BufferId; 16]> {
    let number = |touch| match touch {
        Touch::Strided(place, _) => &mut place.buffer,
        Touch::Dense(buffer, _) | Touch::Again(buffer) => buffer,
    };
    // Whichever axis is cut: the buffers are the same.
    touches(kernel, 0).into_iter().map(number).collect()
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
