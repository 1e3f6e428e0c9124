//! Neural collaborative filtering (He, Liao, Zhang, Nie, Hu, Chua, WWW 2017): a product of embeddings, layers over embeddings,
//! or both, learned by cross-entropy against items that the user does not have.
//!
//! ```text
//! GMF     ŷ = σ(b + Σ_k h_k p_k q_k)
//! MLP     ŷ = σ(b + ⟨o, h_L⟩),   h_1 = max([p'; q'] W_1 + b_1, 0),   h_l = max(h_{l−1} W_l + b_l, 0)
//! NeuMF   ŷ = σ(b + Σ_k h_k p_k q_k + ⟨o, h_L⟩)                        product and layers have embeddings of their own
//! loss    mean of −y log ŷ − (1 − y) log(1 − ŷ) + λ/2 (‖p‖² + ‖q‖²) over each purchase and its negatives
//! ```
//!
//! A step takes a batch of purchases, each with its user's negatives. Pass 1 goes through the layers and back by tasks of
//! [`PURCHASES_PER_TASK`] purchases; a task's user goes through the first layer once, not once for each item. Pass 2 adds up
//! the weights' gradients in the order of the tasks, and pass 3 those of each embedding in the order of the samples that used
//! it; then a step of Adam, which leaves embeddings alone that the batch did not use. So neither threads nor instruction sets
//! change a bit. Slopes are checked against `ancf.reference_neural`, and that by differences.
//!
//! Imports run one way: {`trainer`, `fold_in`} → `passes` → `parameters` → `options`.

mod fold_in;
mod options;
mod parameters;
mod passes;
#[cfg(test)]
mod tests;
mod trainer;

pub use fold_in::{FoldIn, Prior, Scratch as FoldInScratch};
pub use options::Options;
pub use trainer::{State, Trainer};

/// Purchases of one task.
const PURCHASES_PER_TASK: usize = 32;

/// Streams of random numbers, by purpose.
mod purpose {
    pub const USERS: u64 = 1;
    pub const ITEMS: u64 = 2;
    pub const LAYERS: u64 = 3;
    pub const ORDER: u64 = 4;
    pub const NEGATIVES: u64 = 5;
    pub const DROPOUT: u64 = 6;
    pub const FOLD_IN: u64 = 7;
}
