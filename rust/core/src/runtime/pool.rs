//! Our own thread pools, one per thread count and process; rayon's global pool is never used.
//!
//! A forked child has none of its parent's threads, so pools are keyed by process id too: the child builds its own
//! and leaves the parent's alone. Nor may it wait for a lock that a thread of the parent held at the fork, since nobody
//! would ever release it: each process has a slot of its own among [`SLOTS`], and a pool is built outside the lock.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::{Error, Result};

struct Entry {
    process: u32,
    num_threads: usize,
    pool: Arc<rayon::ThreadPool>,
}

/// More than one, so that a child (whose id is another) does not share its parent's lock.
const SLOTS: usize = 64;

static POOLS: [Mutex<Vec<Entry>>; SLOTS] = [const { Mutex::new(Vec::new()) }; SLOTS];

/// More threads than this is a mistake rather than a machine.
const MAX_THREADS: usize = 1024;

/// `num_threads` as requested, else `ANCF_NUM_THREADS`, else the processors this process could use (affinity, cgroup) at the
/// first call.
pub fn resolve_num_threads(num_threads: Option<usize>) -> Result<usize> {
    // Once, since it reads files: some 40 µs, where a list takes 10.
    static AVAILABLE: OnceLock<usize> = OnceLock::new();
    let available = || *AVAILABLE.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    Ok(requested_num_threads(num_threads)?.unwrap_or_else(available))
}

/// The same without the processors: `None` where neither the caller nor the environment says a number.
pub fn requested_num_threads(num_threads: Option<usize>) -> Result<Option<usize>> {
    if let Some(n) = num_threads {
        return checked(n, "num_threads").map(Some);
    }
    match std::env::var("ANCF_NUM_THREADS") {
        Ok(text) if !text.trim().is_empty() => {
            let n = text.trim().parse().map_err(|_| {
                Error::InvalidParameter(format!(
                    "ANCF_NUM_THREADS is {text:?}; it must be a whole number of at least 1."
                ))
            })?;
            checked(n, "ANCF_NUM_THREADS").map(Some)
        }
        _ => Ok(None),
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
    let slot = &POOLS[process as usize % SLOTS];
    let known = || {
        let pools = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pools.iter().find(|e| e.process == process && e.num_threads == num_threads);
        (found.map(|entry| Arc::clone(&entry.pool)), pools)
    };
    if let (Some(pool), _) = known() {
        return Ok(pool);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(num_threads)
        .thread_name(|i| format!("ancf-{i}"))
        .build()
        .map(Arc::new)
        .map_err(|e| Error::Internal(format!("cannot start {num_threads} threads: {e}")))?;
    // Two threads may have built the same pool; the first one is kept.
    let (first, mut pools) = known();
    Ok(first.unwrap_or_else(|| {
        pools.push(Entry { process, num_threads, pool: Arc::clone(&pool) });
        pool
    }))
}
