//! Which instruction set do the kernels use on this machine, and how is one source compiled for each of them?

use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every machine of the target has: SSE2 on x86-64, NEON on AArch64.
    Baseline,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512,
}

/// A loop over a block: reads `n` elements from each argument, writes `n` results.
///
/// # Safety
/// Each argument that the instruction reads must point to `n` elements of its dtype, `out` to room for `n` results that overlaps no
/// argument, but for the one whose place a loop of [`Forms::over`] takes; all of them aligned to their element. The machine must have the
/// instruction set.
pub type BlockFn = unsafe fn(args: [*const u8; 3], out: *mut u8, n: usize);

/// A block loop written once; [`instance`] compiles it for each instruction set.
pub trait BlockLoop {
    /// The loop. `FMA`: whether the machine multiplies and adds in one instruction (else `mul_add` would be a library call).
    ///
    /// # Safety
    /// As for [`BlockFn`].
    unsafe fn run<const FMA: bool>(args: [*const u8; 3], out: *mut u8, n: usize);
}

/// An instruction on single elements: step `step` of straight code over the slots at `slots`.
///
/// # Safety
/// All slots that the step names must exist, and those that it reads hold elements of its dtypes. The machine must have the instruction
/// set.
pub type StepFn = unsafe fn(slots: *mut u64, step: &Step);

/// A step of straight code. Each slot is a word, whose first bytes hold the element.
pub struct Step {
    /// What to do.
    pub run: StepFn,
    /// Slots read; those that the instruction does not have are any.
    pub args: [u32; 3],
    /// Slot written.
    pub out: u32,
}

/// An instruction in all its forms; the same bits in each.
#[derive(Clone, Copy)]
pub struct Forms {
    /// Over a block.
    pub block: BlockFn,
    /// By argument, over a block of which the result takes that argument's place, where there is such a loop.
    pub over: [Option<BlockFn>; 3],
    /// On single elements.
    pub step: StepFn,
}

/// An instruction on single elements, written once.
pub trait StepLoop {
    /// The step. `FMA`: as for [`BlockLoop::run`].
    ///
    /// # Safety
    /// As for [`StepFn`].
    unsafe fn step<const FMA: bool>(slots: *mut u64, step: &Step);
}

/// Whether the baseline has fused multiply-add.
pub const BASELINE_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Declares a function `$select(isa)` that gives `$body::<K>` compiled for one instruction set.
///
/// The body is `#[inline(always)]` all the way down, so that it is compiled anew, with wider vectors, inside each wrapper.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $vis:vis fn $select:ident<$k:ident: $bound:ident>($($arg:ident: $t:ty),*) as $pointer:ty => $body:ident) => {
        $(#[$doc])*
        $vis fn $select<$k: $bound>(isa: $crate::execute::kernels::isa::Isa) -> $pointer {
            use $crate::execute::kernels::isa::BASELINE_FMA;
            #[cfg(target_arch = "x86_64")]
            use $crate::execute::kernels::isa::Isa;
            unsafe fn baseline<$k: $bound>($($arg: $t),*) {
                // SAFETY: the caller keeps the promises of the pointer's type.
                unsafe { $k::$body::<BASELINE_FMA>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
            unsafe fn avx2<$k: $bound>($($arg: $t),*) {
                // SAFETY: the caller keeps the promises of the pointer's type.
                unsafe { $k::$body::<true>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512<$k: $bound>($($arg: $t),*) {
                // SAFETY: the caller keeps the promises of the pointer's type.
                unsafe { $k::$body::<true>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2::<$k>,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512::<$k>,
                _ => baseline::<$k>,
            }
        }
    };
}
pub(super) use for_each_isa;

for_each_isa! {
    /// The loop `K` for one instruction set.
    pub fn instance<K: BlockLoop>(args: [*const u8; 3], out: *mut u8, n: usize) as BlockFn => run
}

for_each_isa! {
    /// The step `K` for one instruction set.
    pub fn step<K: StepLoop>(slots: *mut u64, step: &Step) as StepFn => step
}

impl Isa {
    /// The best that this machine has, but no better one than `WENGERT_ISA` (`baseline`, `avx2`, `avx512`) names. Anything else there asks
    /// for nothing. Looked up once.
    pub fn current() -> Isa {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| Isa::choose(std::env::var("WENGERT_ISA").ok().as_deref()))
    }

    /// All that this machine has, in ascending order.
    pub fn available() -> impl Iterator<Item = Isa> {
        [Isa::Baseline, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available())
    }

    fn choose(asked: Option<&str>) -> Isa {
        let limit = match asked.map(str::trim) {
            Some(a) if a.eq_ignore_ascii_case("baseline") => Isa::Baseline,
            Some(a) if a.eq_ignore_ascii_case("avx2") => Isa::Avx2,
            _ => Isa::Avx512,
        };
        Isa::available().filter(|&isa| isa <= limit).last().unwrap_or(Isa::Baseline)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        match self {
            Isa::Baseline => true,
            Isa::Avx2 => avx2,
            Isa::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Isa::Baseline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_instruction_set_is_a_limit_never_a_claim() {
        assert_eq!(Isa::choose(Some("baseline")), Isa::Baseline);
        assert!(Isa::choose(Some("avx2")) <= Isa::Avx2);
        let best = Isa::available().last().unwrap();
        assert_eq!(Isa::choose(Some("avx512")), best, "falls back to what there is");
        assert_eq!(Isa::choose(Some("nonsense")), best);
        assert_eq!(Isa::choose(None), best);
    }

    /// With `--nocapture` a run says which instruction sets its kernels had: those that the machine lacks are left out everywhere.
    #[test]
    fn the_instruction_set_in_use_is_one_of_the_machine() {
        let (here, current) = (Isa::available().collect::<Vec<_>>(), Isa::current());
        println!("instruction sets of this machine: {here:?}, in use: {current:?}");
        assert!(here.contains(&current));
    }
}
