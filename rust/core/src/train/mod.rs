//! Training: sampler, losses, optimizers, epochs.
//!
//! [`softmax`] trains item vectors alone, with one row of scores for all items of a user's history; [`network`] trains the
//! general model with every option, by mini-batches of pairs. Neither imports the other.

#[cfg(test)]
mod fixtures;
pub mod als;
pub mod network;
mod phase_times;
mod schedule;
pub mod softmax;
