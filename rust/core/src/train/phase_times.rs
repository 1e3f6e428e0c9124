//! Where the time of a training step goes, for the bench: seconds of all threads, by part.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::runtime::Context;

/// A part of a step.
#[derive(Clone, Copy)]
pub enum Part {
    /// Items through their users and back.
    Propagation,
    /// The three matrix products of the softmax.
    Product,
    /// Exponentials and sums.
    Softmax,
    /// Users from their histories, and gradients back to the items.
    Gather,
    /// The optimizer.
    Adam,
}

const NAMES: [&str; 5] = ["propagation", "products", "softmax", "gather", "adam"];

/// Nanoseconds by part.
#[derive(Default)]
pub struct Spent([AtomicU64; 5]);

impl Spent {
    /// What passed on this thread since `clock`, which starts anew.
    pub fn add(&self, part: Part, clock: &mut Instant) {
        let now = Instant::now();
        self.0[part as usize].fetch_add((now - *clock).as_nanos() as u64, Ordering::Relaxed);
        *clock = now;
    }

    /// The same for a piece of work that all threads of the call shared.
    pub fn add_all(&self, part: Part, clock: &mut Instant, context: &Context) {
        let now = Instant::now();
        let threads = context.threads() as u64;
        self.0[part as usize].fetch_add((now - *clock).as_nanos() as u64 * threads, Ordering::Relaxed);
        *clock = now;
    }

    /// Seconds by name.
    pub fn seconds(&self) -> [(&'static str, f64); 5] {
        std::array::from_fn(|part| (NAMES[part], self.0[part].load(Ordering::Relaxed) as f64 * 1e-9))
    }
}
