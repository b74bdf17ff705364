//! How is a kernel's work spread over cores, at a cost that pays from a few microseconds on?

use std::{
    any::Any,
    cell::UnsafeCell,
    hint::spin_loop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs `work(0)`, …, `work(tasks - 1)`, each once, in any order, on this thread and whichever workers are free.
///
/// Serially when the pool is busy (as it is inside a task). A panic of a task is passed on when all others have stopped;
/// tasks that nobody had begun by then don't run.
pub fn run(tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    if tasks > 1 && threads() > 1 && POOL.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        let outcome = POOL.share(tasks, work);
        POOL.busy.store(false, Ordering::Release);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    } else {
        (0..tasks).for_each(work);
    }
}

/// Number of threads that share a kernel's work: as [set](set_threads), else by the environment's `WENGERT_THREADS`, else one for each core.
///
/// `WENGERT_THREADS` is a number from 1 on; more than 1024 are 1024, and what is no such number is ignored. It is read when the number is
/// first needed.
///
/// Two more variables of the environment decide how kernels run, neither of which changes what is computed but for roundings.
/// `WENGERT_ISA` is the best instruction set that they may use, `baseline`, `avx2` or `avx512`: the machine's best one up to it is taken,
/// and without it (or with anything else there) the machine's best of all. `WENGERT_EAGER=1` makes every tape [eager](crate::Tape::eager).
pub fn threads() -> usize {
    match POOL.threads.load(Ordering::Relaxed) {
        0 => {
            let asked = std::env::var("WENGERT_THREADS").ok().and_then(|v| v.trim().parse().ok()).filter(|&n| n > 0);
            let n = asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).min(MAX_THREADS);
            // One that was set meanwhile stays.
            _ = POOL.threads.compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed);
            POOL.threads.load(Ordering::Relaxed)
        }
        n => n,
    }
}

/// Sets the number of threads, from the next kernel on, whatever `WENGERT_THREADS` says. 0 is 1, and more than 1024 are 1024. Results don't
/// depend on it.
pub fn set_threads(n: usize) {
    POOL.threads.store(n.clamp(1, MAX_THREADS), Ordering::Relaxed);
}

/// What a panic carries.
type Panic = Box<dyn Any + Send>;

/// Far above what a kernel can use; keeps a wrong setting from exhausting the system.
const MAX_THREADS: usize = 1024;
/// At most so many shares of a job's tasks.
const SHARES: usize = 64;
/// How long an idle worker spins at least and at most before it sleeps. Waking it costs some 30 µs.
const SPIN: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// In [`Post::state`]: the number of workers inside the job.
const INSIDE: u64 = (1 << 16) - 1;
/// In [`Post::state`]: whether workers may still enter.
const OPEN: u64 = 1 << 16;
/// In [`Post::state`]: one job more.
const EPOCH: u64 = 1 << 17;

static POOL: Pool = Pool {
    threads: AtomicUsize::new(0),
    busy: AtomicBool::new(false),
    post: Line(Post { state: AtomicU64::new(0), job: UnsafeCell::new(Job { work: &nothing, tasks: 0, shares: 1, generation: 0 }) }),
    next: [const { Line(AtomicUsize::new(0)) }; SHARES],
    sleepers: AtomicUsize::new(0),
    sleep: Mutex::new(()),
    wake: Condvar::new(),
    panic: Mutex::new(None),
};

fn nothing(_: usize) {}

/// A cache line of its own, so that those who spin on one don't slow those who write another.
#[repr(align(128))]
struct Line<T>(T);

struct Pool {
    threads: AtomicUsize,
    /// Held by the thread that hands out a job.
    busy: AtomicBool,
    post: Line<Post>,
    /// In each share of the tasks, how many have been claimed.
    next: [Line<AtomicUsize>; SHARES],
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Panic>>,
}

/// What tells workers of a job, all on one line of the cache.
struct Post {
    /// Job number, [`OPEN`], [`INSIDE`].
    state: AtomicU64,
    /// Written by the holder of `busy` while the state is closed and nobody inside; read by those inside.
    job: UnsafeCell<Job>,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    /// In how many shares they are claimed: one for each thread.
    shares: usize,
    /// Workers of an older generation leave for good: there is one generation per number of threads asked for.
    generation: usize,
}

// SAFETY: `job` follows the rule at its field; a job's `work` is `Sync` and outlives the time in which workers are inside.
unsafe impl Sync for Pool {}

impl Pool {
    /// Opens a job, works on it, closes it, and waits for those who are inside.
    fn share(&'static self, tasks: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), Panic> {
        let wanted = self.publish(tasks, work);
        let closed = self.post.0.state.load(Ordering::Relaxed);
        self.post.0.state.store((closed & !INSIDE & !OPEN) + EPOCH + OPEN, Ordering::SeqCst);
        self.wake_up(wanted);
        self.work_off(0);
        self.post.0.state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut patience = 0u32;
        // Acquire: what the workers wrote is visible afterwards.
        while self.post.0.state.load(Ordering::Acquire) & INSIDE != 0 {
            patience += 1;
            if patience < 2000 { spin_loop() } else { thread::yield_now() }
        }
        lock(&self.panic).take().map_or(Ok(()), Err)
    }

    /// Writes the job and sees to it that there are as many workers as asked for; returns how many are to be woken.
    fn publish(&'static self, tasks: usize, work: &(dyn Fn(usize) + Sync)) -> usize {
        // SAFETY: only the lifetime is changed; `share` returns when nobody is inside the job any more.
        let work = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(work) };
        let wanted = threads().max(1);
        // SAFETY: this thread holds `busy`, the state is closed and nobody is inside.
        let job = unsafe { &mut *self.post.0.job.get() };
        let changed = job.generation % (MAX_THREADS + 1) != wanted;
        if changed {
            // Distinct from the one before, and it tells the number of threads.
            job.generation = (job.generation / (MAX_THREADS + 1) + 1) * (MAX_THREADS + 1) + wanted;
        }
        (job.work, job.tasks, job.shares) = (work, tasks, wanted.min(SHARES));
        let (generation, epoch) = (job.generation, self.post.0.state.load(Ordering::Relaxed) / EPOCH);
        self.next[..job.shares].iter().for_each(|n| n.0.store(0, Ordering::Relaxed));
        if changed {
            for i in 1..wanted {
                // Without a worker the caller does its share.
                _ = thread::Builder::new().name(format!("wengert-{i}")).spawn(move || self.serve(i, generation, epoch));
            }
            return usize::MAX; // those of older generations must all hear of it
        }
        wanted.min(tasks) - 1
    }

    fn wake_up(&self, workers: usize) {
        // SeqCst with `wait_for_job`: either the sleeper sees the new job or this thread sees the sleeper.
        let sleepers = self.sleepers.load(Ordering::SeqCst).min(workers);
        if sleepers > 0 {
            let _guard = lock(&self.sleep);
            (0..sleepers).for_each(|_| self.wake.notify_one());
        }
    }

    /// Claims tasks until there are none. Called by the thread that opened the job, which is number 0, and by those inside.
    ///
    /// Each begins with a share of its own, the same part of every job: what it wrote in one kernel is in its cache for the next.
    fn work_off(&self, number: usize) {
        // SAFETY: while somebody is inside, or holds `busy`, nobody else writes the job.
        let job = unsafe { *self.post.0.job.get() };
        // SAFETY: the function outlives the job, see `publish`.
        let work = unsafe { &*job.work };
        let all = AssertUnwindSafe(|| {
            for share in (0..job.shares).map(|i| (number + i) % job.shares) {
                let (first, end) = (job.tasks * share / job.shares, job.tasks * (share + 1) / job.shares);
                loop {
                    let task = first + self.next[share].0.fetch_add(1, Ordering::Relaxed);
                    if task >= end {
                        break;
                    }
                    work(task);
                }
            }
        });
        if let Err(panic) = catch_unwind(all) {
            self.next[..job.shares].iter().for_each(|n| n.0.store(job.tasks, Ordering::Relaxed));
            lock(&self.panic).get_or_insert(panic);
        }
    }

    /// The life of a worker.
    fn serve(&self, number: usize, generation: usize, mut epoch: u64) {
        let mut spin = SPIN[1];
        loop {
            epoch = self.wait_for_job(epoch, &mut spin) / EPOCH;
            if !self.enter(epoch) {
                continue;
            }
            // SAFETY: this worker is inside.
            let current = unsafe { (*self.post.0.job.get()).generation } == generation;
            if current {
                self.work_off(number);
            }
            self.post.0.state.fetch_sub(1, Ordering::Release);
            if !current {
                return;
            }
        }
    }

    /// Enters the job of this number unless it is closed already.
    fn enter(&self, epoch: u64) -> bool {
        let mut state = self.post.0.state.load(Ordering::Relaxed);
        while state & OPEN != 0 && state / EPOCH == epoch {
            match self.post.0.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// The state as soon as there is a job after number `epoch`. Sleeps after `spin`, which is set by how long that was of use.
    fn wait_for_job(&self, epoch: u64, spin: &mut Duration) -> u64 {
        let since = Instant::now();
        let news = |order| Some(self.post.0.state.load(order)).filter(|s| s / EPOCH != epoch);
        while since.elapsed() < *spin {
            for _ in 0..32 {
                if let Some(state) = news(Ordering::Relaxed) {
                    return state;
                }
                spin_loop();
            }
        }
        let mut guard = lock(&self.sleep);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            match news(Ordering::SeqCst) {
                Some(state) => break state,
                None => guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner),
            }
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        let waited = since.elapsed();
        *spin = if waited < SPIN[1] { (2 * waited).max(SPIN[0]).min(SPIN[1]) } else { SPIN[0] };
        state
    }
}

/// What these locks guard is whole between any two statements, so a panic meanwhile does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every task once, whatever the pool is doing.
    fn each_once(tasks: usize) {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        run(tasks, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    }

    /// The number of threads is global, so one test walks through all of its changes.
    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for n in [1, 2, 7, 1, 7, 2] {
            set_threads(n);
            for tasks in [0, 1, 2, 3, 8, 100] {
                for _ in 0..50 {
                    each_once(tasks);
                }
            }
            thread::sleep(Duration::from_millis(3)); // long enough for workers to sleep
            each_once(64);
        }
        set_threads(0);
        assert_eq!(threads(), 1);
        set_threads(2);
    }

    #[test]
    fn a_run_inside_a_task_is_serial_and_complete() {
        run(4, &|_| {
            each_once(10);
            run(2, &|_| each_once(3));
        });
    }

    #[test]
    fn several_threads_may_run_at_once() {
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..200).for_each(|i| each_once(i % 9)));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for _ in 0..20 {
            for bad in [0, 3, 7] {
                let caught = catch_unwind(|| run(8, &|i| assert!(i != bad, "task {i} failed")));
                let panic = caught.expect_err("a task panicked");
                assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("task {bad} failed"));
            }
            each_once(8);
        }
    }

    #[test]
    fn what_workers_wrote_is_seen() {
        let mut data = vec![0u64; 4096];
        for round in 1..100 {
            let chunks: Vec<Mutex<&mut [u64]>> = data.chunks_mut(64).map(Mutex::new).collect();
            run(chunks.len(), &|i| chunks[i].try_lock().expect("one task each").iter_mut().for_each(|v| *v += 1));
            drop(chunks);
            assert!(data.iter().all(|&v| v == round));
        }
    }
}
