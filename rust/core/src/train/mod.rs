//! How it learns - sampler, loss, optimiser, epoch.

pub mod ranking;
mod schedule;
