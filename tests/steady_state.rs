//! Does a training loop settle? After its first steps it allocates nothing in look-up, plan and kernels, and its memory stays flat.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    thread::available_parallelism,
};
use wengert::{
    Array, ConvOptions, DType, Tape, memory,
    nn::{Adam, Bind, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pass, Reduction, Relu, cross_entropy, grads},
    threads,
};

/// Counts calls to the allocator; this file is the only test of its binary, so nobody else calls it.
struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_training_loop_settles() {
    let images = (Conv2d::with_options(1, 8, 3, ConvOptions::new().padding(1), 1), Relu, MaxPool2d::new(2), Flatten);
    let mut model = (images, Linear::new(128, 64, 2), Relu, Linear::new(64, 10, 3));
    let adam = Adam::new(3e-3);
    let mut state = adam.init(&model);
    let x = Array::uniform(DType::F32, [64, 1, 8, 8], -1.0, 1.0, 4);
    let y = Array::new([64], (0..64).map(|i| i64::from(i % 10)).collect::<Vec<_>>());
    let (mut in_read, mut live) = (Vec::new(), Vec::new());
    let mut losses = Vec::new();
    for _ in 0..200 {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let loss = cross_entropy(m.forward(tape.constant(&x), &Pass::eval()), tape.constant(&y), Reduction::Mean);
        let next = adam.step(&m, &grads(loss, &m), &s);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let value = tape.eval_and_update(&loss, (&mut model, &mut state), next);
        in_read.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
        losses.push(value.item());
        drop(tape);
        live.push(memory::live_bytes());
    }
    assert!(losses[199] < 0.5 * losses[0], "it learns: {} to {}", losses[0], losses[199]);
    assert!(in_read[0] > 0, "the first step plans");
    // Of more threads than cores, some get their first tasks late, and with them memory of their own, a few times each.
    let late = 8 * threads().saturating_sub(available_parallelism().map_or(1, usize::from));
    assert!(in_read[10..].iter().sum::<usize>() <= late, "expected at most {late} allocations while reading, by step: {in_read:?}");
    assert_eq!(live[10], live[199], "bytes held after each step");

    // Ten thousand steps of something small: what the engine holds and what it keeps for later stay where they were.
    let mut w = Array::from([1.0, 2.0]);
    let small = |w: &mut Array| {
        let tape = Tape::new();
        let p = tape.leaf(w);
        let [g] = (p * p).sum().grad([p]);
        tape.update(w, p - 1e-3 * g);
    };
    (0..100).for_each(|_| small(&mut w));
    let (held, pooled) = (memory::live_bytes(), memory::pooled_bytes());
    (0..10_000).for_each(|_| small(&mut w));
    assert_eq!((memory::live_bytes(), memory::pooled_bytes()), (held, pooled));

    // A second read of one tape, and a program that is kept.
    let read_twice = |allocations: &mut usize| {
        let tape = Tape::new();
        let x = tape.leaf(&w);
        let (a, b) = (x.exp().sum(), x.tanh());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let (first, second) = (a.value(), (b * a).value());
        *allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        (first, second)
    };
    let mut allocations = 0;
    (0..10).for_each(|_| _ = read_twice(&mut allocations));
    assert_eq!(allocations, 0, "allocations in two reads");

    let tape = Tape::new();
    let (p, data) = (tape.leaf(&w), tape.constant(&w));
    let loss = (p * data).tanh().sum();
    let step = tape.compile(&(p, data), &(p - 0.1 * loss.grad(p), loss));
    let data = w.clone();
    let run = |state: Array| {
        let mut inputs = (state, data.clone());
        let mut outputs = step.run(&inputs);
        for _ in 0..3 {
            inputs.0 = outputs.0.clone();
            step.try_run_into(&inputs, &mut outputs).expect("nothing that can fail");
        }
        step.run_loop(50, outputs.0, &data).0
    };
    let mut state = run(Array::from([3.0, 4.0]));
    state = run(state);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    state = run(state);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "allocations of a program");
    assert_eq!(state.size(), 2);
}
