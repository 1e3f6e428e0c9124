//! How it learns - sampler, loss, optimiser, epoch.

pub mod network;
pub mod ranking;
mod schedule;
mod spent;
