//! What does a kernel look like as text? One line per load, instruction, store and fold; of a whole plan, all of its kernels and buffers.

use super::{
    Placed, Plan,
    chains::{self, Chain},
    kernel::*,
};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan of {} nodes: {} kernels, arena of {} bytes", self.nodes, self.kernels.len(), self.arena_bytes)?;
        for (b, placed) in self.buffers.iter().enumerate() {
            match placed {
                Placed::Input(i) => writeln!(f, "  b{b}: input {i}")?,
                Placed::Arena { offset, bytes } => writeln!(f, "  b{b}: arena {offset}..{}", offset + bytes)?,
                Placed::Part { offset, bytes } => writeln!(f, "  b{b}: of a part {offset}..{}", offset + bytes)?,
                Placed::Result { bytes } => writeln!(f, "  b{b}: result, {bytes} bytes")?,
                Placed::Donated { input } => writeln!(f, "  b{b}: over input {input}")?,
            }
        }
        for (at, kernel) in self.kernels.iter().enumerate() {
            if let Some(chain) = chains::at(&self.chains, at).filter(|c| c.kernels.start == at) {
                writeln!(f, "{chain}")?;
            }
            write!(f, "k{at} ")?;
            kernel.fmt(f)?;
        }
        for (i, o) in self.outputs.iter().enumerate() {
            writeln!(f, "result {i}: b{} as {}{:?}", o.buffer, o.dtype, o.shape)?;
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}..k{} in {} parts", self.kernels.start, self.kernels.end - 1, self.parts)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Fused(k) => k.fmt(f),
            Kernel::Contract(k) => k.fmt(f),
            Kernel::Convolve(k) => {
                writeln!(f, "convolve for the {:?} of {} and {}, {} groups of {} -> b{}", k.kind, k.a, k.b, k.groups, k.window, k.out)
            }
            Kernel::Pool(k) => {
                write!(f, "pool {:?} of {}", k.kind, k.x)?;
                if let Some(with) = &k.with {
                    write!(f, " with {with}")?;
                }
                writeln!(f, ", {} -> b{}", k.window, k.out)
            }
            Kernel::Index(k) => {
                write!(f, "{:?} axis {} of {} at {}", k.kind, k.axis, k.x, k.index)?;
                if let Some(src) = &k.src {
                    write!(f, " from {src}")?;
                }
                writeln!(f, " -> b{}", k.out)
            }
            Kernel::Scan(k) => {
                writeln!(f, "scan {:?} axis {}{} of {} -> b{}", k.kind, k.axis, if k.reversed { " reversed" } else { "" }, k.x, k.out)
            }
            Kernel::Place(k) => {
                writeln!(f, "place{} -> b{}", if k.covered { "" } else { " over a fill" }, k.out)?;
                for (from, to) in &k.pieces {
                    writeln!(f, "    {from} -> {to}")?;
                }
                Ok(())
            }
            Kernel::Generate(k) => writeln!(f, "generate {:?} {}{:?} -> b{}", k.kind, k.dtype, k.shape, k.out),
            Kernel::Opaque(k) => writeln!(f, "opaque {}{:?} -> b{}", k.dtype, k.shape, k.out),
        }
    }
}

/// One line for a product; a sum of several takes a line for each.
impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract")?;
        let alone = self.terms.len() == 1;
        for t in &self.terms {
            write!(f, "{} ", if alone { "" } else { "\n   " })?;
            match t.alpha {
                ScalarSource::Literal(bits) if t.a.dtype.number(bits) == 1.0 => {}
                ScalarSource::Literal(bits) => write!(f, "{} * ", t.a.dtype.number(bits))?,
                ScalarSource::Slot(i) => write!(f, "slot {i} * ")?,
                ScalarSource::Minus(i, _) => write!(f, "-slot {i} * ")?,
            }
            write!(f, "{} @ {}", t.a, t.b)?;
        }
        if let Some(add) = &self.add {
            write!(f, "{}+ {add}", if alone { " " } else { "\n    " })?;
        }
        write!(f, "{}-> ", if alone { " " } else { "\n    " })?;
        if self.out.is_dense() { writeln!(f, "b{}", self.out.buffer) } else { writeln!(f, "{}", self.out) }
    }
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fused over {:?}, {} registers", self.dims, self.registers)?;
        for l in &self.loads {
            writeln!(f, "    r{} = {}", l.reg, l.from)?;
        }
        for s in &self.scalars {
            writeln!(f, "    r{} = {}", s.reg, Scalar(s.from, s.dtype))?;
        }
        match &self.rows {
            Some(rows) => passes(f, self, rows)?,
            None => instructions(f, 'r', &self.code)?,
        }
        for s in &self.stores {
            writeln!(f, "    {} <- r{}{}", s.to, s.reg, if s.over.is_some() { " in place" } else { "" })?;
        }
        let axes = if self.rows.is_some() { 0..self.outer } else { self.outer..self.dims.len() - self.inner };
        for x in &self.folds {
            writeln!(f, "    b{} <- {:?} r{} over {:?}", x.to, x.fold, x.reg, &self.dims[axes.clone()])?;
        }
        Ok(())
    }
}

/// The passes over a row: `s` registers hold one value per row.
fn passes(f: &mut fmt::Formatter<'_>, kernel: &Fused, rows: &Rows) -> fmt::Result {
    for l in &rows.loads {
        writeln!(f, "    s{} = {}", l.reg, l.from)?;
    }
    for s in &rows.scalars {
        writeln!(f, "    s{} = {}", s.reg, Scalar(s.from, s.dtype))?;
    }
    for (number, pass) in rows.passes.iter().enumerate() {
        writeln!(f, "  pass {number}")?;
        for s in &pass.spreads {
            writeln!(f, "    r{} = each s{}", s.reg, s.row)?;
        }
        for s in &pass.spots {
            writeln!(f, "    r{} = {}, but s{} at s{}", s.reg, Scalar(s.fill, s.dtype), s.value, s.index)?;
        }
        instructions(f, 'r', &kernel.code[pass.code.clone()])?;
        for x in &pass.folds {
            writeln!(f, "    s{} = {:?} r{}", x.row, x.fold, x.reg)?;
        }
        instructions(f, 's', &pass.then)?;
    }
    for s in &rows.stores {
        writeln!(f, "    {} b{} <- s{}", s.dtype, s.to, s.row)?;
    }
    Ok(())
}

fn instructions(f: &mut fmt::Formatter<'_>, kind: char, code: &[Inst]) -> fmt::Result {
    for i in code {
        let args: Vec<String> = i.args[..i.instr.arity()].iter().map(|a| format!("{kind}{a}")).collect();
        writeln!(f, "    {kind}{} = {:?} {} {}", i.out, i.instr, i.of, args.join(" "))?;
    }
    Ok(())
}

struct Scalar(ScalarSource, crate::DType);

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ScalarSource::Slot(i) => write!(f, "{} slot {i}", self.1),
            ScalarSource::Minus(i, _) => write!(f, "{} -slot {i}", self.1),
            ScalarSource::Literal(bits) => write!(f, "{} {}", self.1, self.1.number(bits)),
        }
    }
}

/// `f32 b3[2, 3]`, with offset and strides where they are not those of a dense array.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} b{}{:?}", self.dtype, self.buffer, self.dims)?;
        if !self.is_dense() {
            write!(f, "+{} by {:?}", self.offset, self.strides)?;
        }
        Ok(())
    }
}
