//! Factor models trained by stochastic gradient descent, one sample after the other: ranking ([`bpr`]) and ratings
//! ([`svd`]).
//!
//! Steps that share neither a user nor an item do not disturb each other. So users and items are dealt into blocks, and the
//! threads take cells of a user block and an item block that have no block in common, as in Gemulla, Nijkamp, Haas,
//! Sismanis, Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent, KDD 2011. The number of blocks
//! follows from the table, items are dealt anew for each epoch, and the order within a cell is drawn: the result is that of
//! one fixed sequence of steps, whatever the threads, and a cell's factors lie in a near cache ([`strata`]).
//!
//! Imports run one way: {`bpr`, `svd`} → `strata`.

pub mod bpr;
mod strata;
pub mod svd;

pub use strata::State;
