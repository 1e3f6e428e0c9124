//! Where the time of a training step goes, for the bench: seconds of all threads, by phase.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::runtime::Context;

/// A phase of a step.
#[derive(Clone, Copy)]
pub enum Phase {
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

/// Nanoseconds by phase.
#[derive(Default)]
pub struct PhaseTimes([AtomicU64; 5]);

impl PhaseTimes {
    /// Adds the time since `clock` on this thread, and restarts the clock.
    pub fn add(&self, phase: Phase, clock: &mut Instant) {
        let now = Instant::now();
        self.0[phase as usize].fetch_add((now - *clock).as_nanos() as u64, Ordering::Relaxed);
        *clock = now;
    }

    /// The same for work that all threads of the call took part in.
    pub fn add_all(&self, phase: Phase, clock: &mut Instant, context: &Context) {
        let now = Instant::now();
        let threads = context.threads() as u64;
        self.0[phase as usize].fetch_add((now - *clock).as_nanos() as u64 * threads, Ordering::Relaxed);
        *clock = now;
    }

    /// Seconds by name.
    pub fn seconds(&self) -> [(&'static str, f64); 5] {
        std::array::from_fn(|phase| (NAMES[phase], self.0[phase].load(Ordering::Relaxed) as f64 * 1e-9))
    }
}
