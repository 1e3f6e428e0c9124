//! Training: sampler, losses, optimizers, epochs.
//!
//! [`softmax`] trains item vectors alone, with one row of scores for all items of a user's history; [`network`] trains the
//! general model with every option, by mini-batches of pairs; [`als`] and [`factorization`] train vectors of users and items:
//! by exact solutions in turn, and by steps over ratings or rankings. [`neural`] trains products of embeddings and layers over
//! them, [`lightgcn`] embeddings that are propagated over the graph of purchases. None imports another. [`progress`] is what
//! each goes on from after an interruption.

pub mod als;
pub mod factorization;
#[cfg(test)]
mod fixtures;
pub mod lightgcn;
pub mod network;
pub mod neural;
mod phase_times;
pub mod progress;
mod samples;
mod schedule;
pub mod softmax;
