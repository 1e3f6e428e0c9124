//! Our own thread pools, one per thread count and process; rayon's global pool is never used.
//!
//! A forked child has none of its parent's threads, so pools are keyed by process id too: the child builds its own
//! and leaves the parent's alone.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

struct Entry {
    process: u32,
    num_threads: usize,
    pool: Arc<rayon::ThreadPool>,
}

static POOLS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// More threads than this is a mistake rather than a machine.
const MAX_THREADS: usize = 1024;

/// `num_threads` as asked, else `ANCF_NUM_THREADS`, else the processors this process may use (affinity, cgroup).
pub fn resolve_num_threads(num_threads: Option<usize>) -> Result<usize> {
    if let Some(n) = num_threads {
        return checked(n, "num_threads");
    }
    match std::env::var("ANCF_NUM_THREADS") {
        Ok(text) if !text.trim().is_empty() => {
            let n = text.trim().parse().map_err(|_| {
                Error::InvalidParameter(format!(
                    "ANCF_NUM_THREADS is {text:?}; it must be a whole number of at least 1."
                ))
            })?;
            checked(n, "ANCF_NUM_THREADS")
        }
        _ => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

fn checked(n: usize, name: &str) -> Result<usize> {
    if (1..=MAX_THREADS).contains(&n) {
        Ok(n)
    } else {
        Err(Error::InvalidParameter(format!("{name} is {n}; it must be between 1 and {MAX_THREADS}.")))
    }
}

/// The pool of this process with that many threads, built on first use.
pub fn get(num_threads: Option<usize>) -> Result<Arc<rayon::ThreadPool>> {
    let num_threads = resolve_num_threads(num_threads)?;
    let process = std::process::id();
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = pools.iter().find(|e| e.process == process && e.num_threads == num_threads) {
        return Ok(Arc::clone(&entry.pool));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(num_threads)
        .thread_name(|i| format!("ancf-{i}"))
        .build()
        .map(Arc::new)
        .map_err(|e| Error::Internal(format!("cannot start {num_threads} threads: {e}")))?;
    pools.push(Entry { process, num_threads, pool: Arc::clone(&pool) });
    Ok(pool)
}
