//! What everything stands on: threads, cancellation, randomness, instruction sets.

pub mod cancel;
pub mod pool;
pub mod rng;
pub mod simd;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::ThreadPool;

/// What a call into the core carries: its threads, its stop flag, its instruction set.
#[derive(Clone)]
pub struct Context {
    /// The threads of this call. That of one thread is only looked up when something asks for it.
    pool: OnceLock<Arc<ThreadPool>>,
    /// Set when the caller wants to stop.
    pub cancel: cancel::Cancel,
    /// The instruction set, chosen once per call.
    pub level: simd::Level,
}

impl Context {
    /// A context with `num_threads` threads (`None`: what the machine offers) and the detected instruction set.
    pub fn new(num_threads: Option<usize>) -> crate::Result<Self> {
        Ok(Self { pool: pool::get(num_threads)?.into(), ..Self::alone(simd::Level::detect()?) })
    }

    /// The same for work that the calling thread does alone.
    pub fn alone(level: simd::Level) -> Self {
        Self { pool: OnceLock::new(), cancel: cancel::Cancel::default(), level }
    }

    /// Its pool.
    pub fn pool(&self) -> &ThreadPool {
        self.pool.get_or_init(|| pool::get(Some(1)).expect("a thread can be started"))
    }

    /// Threads of its pool.
    pub fn threads(&self) -> usize {
        self.pool.get().map_or(1, |pool| pool.current_num_threads())
    }

    /// The same with a forced instruction set, for tests that compare them.
    #[must_use]
    pub fn with_level(mut self, level: simd::Level) -> Self {
        self.level = level;
        self
    }

    /// Hands `tasks` out one by one to this thread and to others of the pool as they come free, each with a `start` of its
    /// own. One task, or one thread, costs no hand-off; and while others wake up, this thread is at work already.
    pub fn share<T: Send, S>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) + Sync,
    ) {
        let helpers = self.threads().min(tasks.len()).saturating_sub(1);
        if helpers == 0 {
            let mut own = start();
            tasks.for_each(|task| work(&mut own, task));
            return;
        }
        let tasks = Mutex::new(tasks);
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let run = || {
            let mut own = start();
            while let Some(task) = next() {
                work(&mut own, task);
            }
        };
        self.pool().in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| run());
            }
            run();
        });
    }

    /// The same for tasks that may fail: the first error comes out, and no task is begun after it.
    pub fn try_share<T: Send, S>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) -> crate::Result<()> + Sync,
    ) -> crate::Result<()> {
        let failed = OnceLock::new();
        self.share(tasks, start, |own, task| {
            if failed.get().is_none()
                && let Err(error) = work(own, task)
            {
                let _ = failed.set(error);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Whether so many pieces of work stay on the calling thread: a hand-off to the pool takes some 15 µs, more than one
    /// person's list.
    pub fn stays(&self, pieces: usize) -> bool {
        pieces <= 1 || self.threads() == 1
    }

    /// Runs `work` inside the pool, so that rayon's parallel iterators use its threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool().install(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_tasks_are_done_once_each() {
        for threads in [1, 2, 5] {
            let context = Context::new(Some(threads)).unwrap();
            for n in [0, 1, 2, 7, 1000] {
                let mut done = vec![0; n];
                context.share(done.iter_mut().enumerate(), || 1, |one, (at, done)| *done += at + *one);
                assert!(done.iter().enumerate().all(|(at, done)| *done == at + 1), "{threads} {n}");
            }
        }
    }

    #[test]
    fn work_that_one_thread_does_alone_finds_a_pool_where_it_wants_one() {
        let context = Context::alone(simd::Level::Scalar);
        assert_eq!((context.threads(), context.level), (1, simd::Level::Scalar));
        let (here, mut done) = (std::thread::current().id(), [false; 9]);
        context.share(done.iter_mut(), || (), |(), done| *done = std::thread::current().id() == here);
        assert_eq!(done, [true; 9]);
        assert!(context.pool.get().is_none());
        assert_eq!(context.install(rayon::current_num_threads), 1);
    }

    #[test]
    fn the_first_failure_of_shared_tasks_ends_them() {
        for threads in [1, 3] {
            let context = Context::new(Some(threads)).unwrap();
            let count = std::sync::atomic::AtomicUsize::new(0);
            let work = |fails_at: usize, task: usize| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if task == fails_at { Err(crate::Error::Internal("no".into())) } else { Ok(()) }
            };
            assert!(context.try_share(0..5000, || (), |(), task| work(9999, task)).is_ok());
            assert_eq!(count.swap(0, std::sync::atomic::Ordering::Relaxed), 5000);
            let failure = context.try_share(0..5000, || (), |(), task| work(3, task));
            assert!(matches!(failure, Err(crate::Error::Internal(message)) if message == "no"));
            assert!(count.into_inner() < 5000);
        }
    }

    #[test]
    #[should_panic(expected = "in task 7")]
    fn a_panic_in_a_shared_task_reaches_the_caller() {
        let context = Context::new(Some(2)).unwrap();
        context.share(0..1000, || (), |(), task| assert!(task != 7, "in task {task}"));
    }
}
