//! Is a model walked without heap memory? The counter sees the whole process, so this binary has one test.

extern crate wengert_core as wengert;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wengert::{Leaf, Role, Tree};
use wengert_derive::Tree;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Real(f64);
impl Leaf for Real {}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Handle(u32);
impl Leaf for Handle {}

#[derive(Tree)]
#[tree(leaf = P)]
struct Linear<P> {
    weight: P,
    bias: Option<P>,
}

#[derive(Tree)]
#[tree(leaf = P)]
struct Net<P> {
    layers: [Linear<P>; 12],
    #[tree(state)]
    seen: P,
}

fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Relaxed);
    f();
    ALLOCATIONS.load(Relaxed) - before
}

#[test]
fn walks_use_no_heap() {
    let mut net = Net { layers: std::array::from_fn(|i| Linear { weight: Real(i as f64), bias: Some(Real(0.5)) }), seen: Real(0.0) };
    let mut sum = 0.0;
    let walks = allocations(|| {
        let bound = net.map_with(|path, _, x| Handle(x.0 as u32 + u32::from(path == "layers.11.weight")));
        sum += f64::from(bound.layers[11].weight.0);
        bound.visit(|_, role, h| sum += if role == Role::Param { f64::from(h.0) } else { 0.0 });
        net.visit_mut(|path, _, x| x.0 += f64::from(path.is_under("layers")));
        assert_eq!(net.leaf_count(), 25);
    });
    assert_eq!(walks, 0);
    assert_eq!(sum, 12.0 + 67.0);
    assert_eq!(net.layers[3].weight, Real(4.0));

    // Pairing keeps one list of partners, which grows.
    let zip = allocations(|| {
        let total = net.zip_with(&net, |_, _, a, b: &Real| Real(a.0 + b.0));
        sum = total.layers[3].weight.0;
    });
    assert_eq!(sum, 8.0);
    assert!(zip < 8, "{zip} allocations to pair 25 leaves");
}
