//! The general model: every option of `ancf.reference`, trained by mini-batches.
//!
//! `ancf.reference` (float64 NumPy) is the specification of what is computed here in f32. A batch is laid out first
//! ([`batch`]: pairs by user, rows by item), and then runs through passes forward and back ([`passes`]):
//!
//! 1. items aggregate their users (`Network::aggregate_users` in [`model`]);
//! 2. queries ([`queries`]);
//! 3. attention over histories ([`history`]);
//! 4. features and scores ([`head`], [`shared_negatives`]);
//! 5. the loss ([`loss`]), and the same in reverse;
//! 6. a step ([`step`], [`optimizer`]).
//!
//! [`trainer`] makes the batches of an epoch; [`predict`] scores pairs without learning.
//!
//! Imports run one way: `trainer` → {`step`, `predict`} → `passes` → `model` → {`shared_negatives`, `optimizer`, `queries`}
//! → {`head`, `loss`, `parameters`} → `history` → {`batch`, `options`}.
//!
//! Same bits for every thread count and SIMD level: each sum has one owner and a fixed order.

#![allow(missing_docs, reason = "fields of buffers and parameters carry the names of the formulas")]

mod batch;
mod head;
mod history;
mod loss;
mod model;
mod optimizer;
mod options;
mod parameters;
mod passes;
mod predict;
mod queries;
mod shared_negatives;
mod step;
#[cfg(test)]
mod tests;
mod trainer;

pub use batch::Batch;
pub use history::history_weights;
pub use model::Network;
pub use options::{AttentionKind, Head, Loss, Optimizer, Options};
pub use parameters::{Parameters, Table};
pub use predict::PredictionCost;
pub use trainer::{Trainer, TrainingOptions};
