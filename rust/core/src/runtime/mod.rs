//! What everything stands on: threads, cancellation, randomness, instruction sets.

pub mod cancel;
pub mod pool;
pub mod rng;
pub mod simd;

use std::sync::Arc;

/// What a call into the core carries: its threads, its stop flag, its instruction set.
#[derive(Clone)]
pub struct Context {
    /// The threads of this call.
    pub pool: Arc<rayon::ThreadPool>,
    /// Set when the caller wants to stop.
    pub cancel: cancel::Cancel,
    /// The instruction set, chosen once per call.
    pub level: simd::Level,
}

impl Context {
    /// A context with `num_threads` threads (`None`: what the machine offers) and the detected instruction set.
    pub fn new(num_threads: Option<usize>) -> crate::Result<Self> {
        Ok(Self { pool: pool::get(num_threads)?, cancel: cancel::Cancel::default(), level: simd::Level::detect()? })
    }

    /// The same with a forced instruction set, for tests that compare them.
    #[must_use]
    pub fn with_level(mut self, level: simd::Level) -> Self {
        self.level = level;
        self
    }

    /// Runs `work` inside the pool, so that rayon's parallel iterators use its threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }
}
