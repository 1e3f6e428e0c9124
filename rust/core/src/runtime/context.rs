//! What a call into the core carries along: its threads, its stop flag, its instruction set.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::ThreadPool;

use super::cancel::Cancel;
use super::pool;
use super::simd::Level;

/// What a call into the core carries: its threads, its stop flag, its instruction set.
#[derive(Clone)]
pub struct Context {
    /// The threads of this call. A pool of one thread is only looked up when something needs it.
    pool: OnceLock<Arc<ThreadPool>>,
    /// Set when the caller wants to stop.
    pub cancel: Cancel,
    /// The instruction set, chosen once per call.
    pub level: Level,
}

impl Context {
    /// A context with `num_threads` threads (`None`: what the machine offers) and the detected instruction set.
    pub fn new(num_threads: Option<usize>) -> crate::Result<Self> {
        Ok(Self { pool: pool::get(num_threads)?.into(), ..Self::single_threaded(Level::detect()?) })
    }

    /// The same for work that stays on the calling thread.
    pub fn single_threaded(level: Level) -> Self {
        Self { pool: OnceLock::new(), cancel: Cancel::default(), level }
    }

    /// The pool of this call.
    pub fn pool(&self) -> &ThreadPool {
        self.pool.get_or_init(|| pool::get(Some(1)).expect("a thread can be started"))
    }

    /// Number of threads of the pool.
    pub fn threads(&self) -> usize {
        self.pool.get().map_or(1, |pool| pool.current_num_threads())
    }

    /// The same with a forced instruction set, for tests that compare them.
    #[cfg(test)]
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Runs `work` for each of `tasks` on this thread and on others of the pool, which take the next task whenever they are
    /// free. Each thread makes its own state with `start`. One task, or one thread, costs no hand-off, and this thread
    /// starts working while the others wake up.
    pub fn for_each_task<T: Send, S>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) + Sync,
    ) {
        let helpers = self.threads().min(tasks.len()).saturating_sub(1);
        if helpers == 0 {
            let mut state = start();
            tasks.for_each(|task| work(&mut state, task));
            return;
        }
        let tasks = Mutex::new(tasks);
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let run = || {
            let mut state = start();
            while let Some(task) = next() {
                work(&mut state, task);
            }
        };
        self.pool().in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| run());
            }
            run();
        });
    }

    /// The same for tasks that may fail: the first error is returned, and no task is begun after it.
    pub fn try_for_each_task<T: Send, S>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) -> crate::Result<()> + Sync,
    ) -> crate::Result<()> {
        let failed = OnceLock::new();
        self.for_each_task(tasks, start, |state, task| {
            if failed.get().is_none()
                && let Err(error) = work(state, task)
            {
                let _ = failed.set(error);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// What each of `tasks` gives, in their order.
    pub fn try_map_tasks<T: Send, S, R: Send>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, T) -> crate::Result<R> + Sync,
    ) -> crate::Result<Vec<R>> {
        let mut found: Vec<Option<R>> = (0..tasks.len()).map(|_| None).collect();
        self.try_for_each_task(tasks.zip(&mut found), start, |state, (task, found)| {
            *found = Some(work(state, task)?);
            Ok(())
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Whether `n_tasks` tasks are best run on the calling thread: a hand-off to the pool takes some 15 µs, more than the
    /// list of one user.
    pub fn runs_inline(&self, n_tasks: usize) -> bool {
        n_tasks <= 1 || self.threads() == 1
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
    fn every_task_is_run_once() {
        for threads in [1, 2, 5] {
            let context = Context::new(Some(threads)).unwrap();
            for n in [0, 1, 2, 7, 1000] {
                let mut done = vec![0; n];
                context.for_each_task(done.iter_mut().enumerate(), || 1, |one, (at, done)| *done += at + *one);
                assert!(done.iter().enumerate().all(|(at, done)| *done == at + 1), "{threads} {n}");
                let squares = context.try_map_tasks(0..n, || (), |(), at| Ok(at * at)).unwrap();
                assert!(squares.into_iter().eq((0..n).map(|at| at * at)), "{threads} {n}");
            }
        }
    }

    #[test]
    fn a_single_threaded_context_makes_a_pool_only_when_one_is_needed() {
        let context = Context::single_threaded(Level::Scalar);
        assert_eq!((context.threads(), context.level), (1, Level::Scalar));
        let (here, mut done) = (std::thread::current().id(), [false; 9]);
        context.for_each_task(done.iter_mut(), || (), |(), done| *done = std::thread::current().id() == here);
        assert_eq!(done, [true; 9]);
        assert!(context.pool.get().is_none());
        assert_eq!(context.install(rayon::current_num_threads), 1);
    }

    #[test]
    fn the_first_failure_ends_the_tasks() {
        for threads in [1, 3] {
            let context = Context::new(Some(threads)).unwrap();
            let count = std::sync::atomic::AtomicUsize::new(0);
            let work = |fails_at: usize, task: usize| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if task == fails_at { Err(crate::Error::Internal("no".into())) } else { Ok(()) }
            };
            assert!(context.try_for_each_task(0..5000, || (), |(), task| work(9999, task)).is_ok());
            assert_eq!(count.swap(0, std::sync::atomic::Ordering::Relaxed), 5000);
            let failure = context.try_for_each_task(0..5000, || (), |(), task| work(3, task));
            assert!(matches!(failure, Err(crate::Error::Internal(message)) if message == "no"));
            assert!(count.into_inner() < 5000);
        }
    }

    #[test]
    #[should_panic(expected = "in task 7")]
    fn a_panic_in_a_task_reaches_the_caller() {
        let context = Context::new(Some(2)).unwrap();
        context.for_each_task(0..1000, || (), |(), task| assert!(task != 7, "in task {task}"));
    }
}
