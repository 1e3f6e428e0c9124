//! Training by a softmax over items: one row of scores per user, with negatives that the batch shares.
//!
//! For a batch of users with history N(u), unit vectors p̂, q̂ and temperature τ the loss is the mean over all pairs of
//!
//!   −p̂_u·q̂_i / τ + ln Σ_k ω_k exp(p̂_u·q̂_k / τ),   i ∈ N(u),
//!
//! where k runs over negatives that the whole batch shares, drawn with probability ∝ n_k^α (ω = 1), or over the whole
//! catalogue with ω_k = n_k^α where it is no larger than the number of negatives. All items of a history share one row
//! of scores, so the products shrink by the mean history length (27 on Gowalla) against one row for each pair.
//!
//! A user vector is made of the history alone (`model::attention`), so the only parameters are the bare item vectors x; Adam
//! updates them with a learning rate that decays by half a cosine.
//!
//! Same bits for every thread count and SIMD level: each sum has one owner and a fixed order.
//!
//! `shard` has the parts of a step for workers that hold some of the users each.
//!
//! Imports run one way: `shard` → {`epoch`, `validation`} → {`gradient`, `items`} → `trainer` → {`graph`, `options`, `panel`}.

mod epoch;
mod gradient;
mod graph;
mod items;
mod options;
mod panel;
mod shard;
#[cfg(test)]
mod tests;
mod trainer;
mod validation;

pub use graph::passes_in;
pub use options::Options;
pub use shard::{BatchUsers, Shard, Way, users_per_slice};
pub use trainer::{Trainer, random_start};
