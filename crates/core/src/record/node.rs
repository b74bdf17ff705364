//! What does the tape remember of one operation?

use crate::{DType, Shape, ops::OpDef};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::hash::Hash;

/// An input of a node: another node, or a scalar slot.
///
/// The bits of a slot operand carry its dtype and what a plan may know of its value (`Tag`), so that comparing nodes compares those too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Operand(u32);

/// What a plan may know of a scalar slot's value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub(crate) enum Tag {
    Variable = 0,
    Zero = 1,
    One = 2,
    MinusOne = 3,
    Two = 4,
}

impl Tag {
    /// By bits: -0.0 is not the literal 0.
    fn of(bits: u64, dtype: DType) -> Tag {
        const fn table(one: u64, minus_one: u64, two: u64) -> [(u64, Tag); 4] {
            [(0, Tag::Zero), (one, Tag::One), (minus_one, Tag::MinusOne), (two, Tag::Two)]
        }
        const F32: [(u64, Tag); 4] = table(1f32.to_bits() as u64, (-1f32).to_bits() as u64, 2f32.to_bits() as u64);
        const F64: [(u64, Tag); 4] = table(1f64.to_bits(), (-1f64).to_bits(), 2f64.to_bits());
        const I64: [(u64, Tag); 4] = table(1, -1i64 as u64, 2);
        let known = match dtype {
            DType::F32 => &F32,
            DType::F64 => &F64,
            DType::I64 => &I64,
            DType::Bool => return Tag::Variable,
        };
        known.iter().find(|k| k.0 == bits).map_or(Tag::Variable, |k| k.1)
    }

    /// The literal's value; `None` for a variable.
    pub fn literal(self) -> Option<f64> {
        match self {
            Tag::Variable => None,
            Tag::Zero => Some(0.0),
            Tag::One => Some(1.0),
            Tag::MinusOne => Some(-1.0),
            Tag::Two => Some(2.0),
        }
    }
}

impl Operand {
    const SLOT: u32 = 1 << 31;
    const TAG_SHIFT: u32 = 28;
    const DTYPE_SHIFT: u32 = 26;
    const INDEX: u32 = (1 << Self::DTYPE_SHIFT) - 1;
    /// A placeholder in unused input positions.
    pub const NONE: Operand = Operand(u32::MAX);

    pub fn node(id: usize) -> Self {
        assert!(id < Self::SLOT as usize, "a tape holds at most 2^31 nodes");
        Operand(id as u32)
    }
    pub fn slot(index: usize, bits: u64, dtype: DType) -> Self {
        assert!(index <= Self::INDEX as usize, "a tape holds at most 2^26 scalars");
        Operand(Self::SLOT | (Tag::of(bits, dtype) as u32) << Self::TAG_SHIFT | (dtype as u32) << Self::DTYPE_SHIFT | index as u32)
    }
    /// The dtype of a slot.
    pub fn slot_dtype(self) -> DType {
        debug_assert!(self.as_slot().is_some());
        match self.0 >> Self::DTYPE_SHIFT & 3 {
            0 => DType::F32,
            1 => DType::F64,
            2 => DType::I64,
            _ => DType::Bool,
        }
    }
    /// The same operand under another slot number.
    pub fn renumbered(self, slot: usize) -> Self {
        Operand(self.0 & !Self::INDEX | slot as u32)
    }
    pub fn as_node(self) -> Option<usize> {
        (self.0 & Self::SLOT == 0).then_some(self.0 as usize)
    }
    pub fn as_slot(self) -> Option<usize> {
        (self.0 & Self::SLOT != 0).then_some((self.0 & Self::INDEX) as usize)
    }
    pub fn tag(self) -> Tag {
        match self.0 >> Self::TAG_SHIFT & 7 {
            1 => Tag::Zero,
            2 => Tag::One,
            3 => Tag::MinusOne,
            4 => Tag::Two,
            _ => Tag::Variable,
        }
    }
    /// The raw bits, for hashing.
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// An op, compared by the address of its definition.
#[derive(Clone, Copy)]
pub(crate) struct OpRef(pub &'static OpDef);

impl PartialEq for OpRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

/// One recorded operation, 32 bytes: everything that a plan depends on, and nothing else.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Node {
    pub op: OpRef,
    /// Up to three operands; of a node with more, the first word is the place in the spill list.
    inputs: [Operand; 3],
    pub attrs: u32,
    pub shape: u32,
    pub dtype: DType,
    arity: u16,
}

impl Node {
    /// A node; `spill` is the length of the list to which the caller adds the operands where they [spill](Self::spills).
    pub fn new(op: &'static OpDef, inputs: &[Operand], spill: usize, attrs: u32, shape: u32, dtype: DType) -> Self {
        let mut own = [Operand::NONE; 3];
        if Self::spills(inputs) {
            own[0] = Operand::node(spill);
        } else {
            own[..inputs.len()].copy_from_slice(inputs);
        }
        let arity = u16::try_from(inputs.len()).expect("an op takes at most 65535 operands");
        Node { op: OpRef(op), inputs: own, attrs, shape, dtype, arity }
    }

    /// Whether so many operands lie in the spill list.
    #[inline]
    pub fn spills(inputs: &[Operand]) -> bool {
        inputs.len() > 3
    }

    /// The operands; `spill` is the list the node was made with.
    #[inline]
    pub fn inputs<'a>(&'a self, spill: &'a [Operand]) -> &'a [Operand] {
        let n = usize::from(self.arity);
        if n <= self.inputs.len() {
            &self.inputs[..n]
        } else {
            let start = self.inputs[0].bits() as usize;
            &spill[start..start + n]
        }
    }

    /// A number that differs, very likely, between different nodes; equal ones agree.
    pub fn mix(&self, hash: u64) -> u64 {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        let op = std::ptr::from_ref(self.op.0) as usize as u64;
        let ab = u64::from(self.inputs[0].bits()) | u64::from(self.inputs[1].bits()) << 32;
        let rest = u64::from(self.inputs[2].bits()) | u64::from(self.shape) << 32;
        let tail = u64::from(self.attrs) | (self.dtype as u64) << 32;
        let h = (hash.rotate_left(23) ^ op ^ ab).wrapping_mul(K);
        (h.rotate_left(29) ^ rest ^ tail.rotate_left(17)).wrapping_mul(K)
    }
}

/// Attributes as stored.
pub(crate) type AttrsBuf = SmallVec<[i64; 8]>;

/// Values stored once, known by number.
pub(crate) struct Interner<T> {
    items: Vec<T>,
    index: FxHashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub fn new() -> Self {
        Interner { items: Vec::new(), index: FxHashMap::default() }
    }
    pub fn intern(&mut self, item: T) -> u32 {
        if let Some(&id) = self.index.get(&item) {
            return id;
        }
        let id = self.items.len() as u32;
        self.items.push(item.clone());
        self.index.insert(item, id);
        id
    }
    #[inline]
    pub fn get(&self, id: u32) -> &T {
        &self.items[id as usize]
    }
    pub fn len(&self) -> usize {
        self.items.len()
    }
}

impl Interner<AttrsBuf> {
    /// As `intern`, for a slice; the empty list is found without hashing.
    pub fn intern_slice(&mut self, attrs: &[i64]) -> u32 {
        if attrs.is_empty() {
            return 0; // the tables begin with the empty list
        }
        match self.index.get(attrs) {
            Some(&id) => id,
            None => self.intern(attrs.into()),
        }
    }
}

/// The interned shape and attribute tables of a tape.
pub(crate) struct Tables {
    pub shapes: Interner<Shape>,
    pub attrs: Interner<AttrsBuf>,
}

impl Tables {
    /// Without the entries that they must begin with: for a record that is not used.
    pub fn hollow() -> Self {
        Tables { shapes: Interner::new(), attrs: Interner::new() }
    }

    pub fn new() -> Self {
        let mut t = Tables::hollow();
        t.attrs.intern(AttrsBuf::new());
        t.shapes.intern(Shape::scalar());
        t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 32);
    }

    #[test]
    fn a_literal_is_recognised_by_its_bits() {
        for (v, tag) in
            [(0.0, Tag::Zero), (-0.0, Tag::Variable), (1.0, Tag::One), (-1.0, Tag::MinusOne), (2.0, Tag::Two), (3.0, Tag::Variable)]
        {
            for d in [DType::F32, DType::F64] {
                let slot = Operand::slot(5, d.bits(v), d);
                assert_eq!((slot.tag(), slot.as_slot(), slot.as_node(), slot.slot_dtype()), (tag, Some(5), None, d), "{v} {d}");
            }
        }
        for (v, d, tag) in [(1.0, DType::I64, Tag::One), (-1.0, DType::I64, Tag::MinusOne), (1.0, DType::Bool, Tag::Variable)] {
            let slot = Operand::slot(7, d.bits(v), d);
            assert_eq!((slot.tag(), slot.as_slot(), slot.slot_dtype()), (tag, Some(7), d));
        }
    }
}
