//! The arithmetic of `ancf`: data types, the attention model, training, exact top-N, metrics and the model file.
//!
//! Nothing here knows Python. The modules import each other one way only:
//!
//! - {[`train`], [`rank`]} → [`model`] → [`data`], and [`serve`] → [`data`]
//! - all of these, [`metrics`] and [`store`] → [`runtime`] → [`error`]
//!
//! Every result has the same bits for every thread count and SIMD level: reductions run over fixed chunks in a fixed order,
//! sums over factors run in order with fused multiply-add, and randomness is a function of (seed, stream, counter).

pub mod data;
pub mod error;
pub mod metrics;
pub mod model;
pub mod rank;
pub mod runtime;
pub mod serve;
pub mod store;
pub mod train;

pub use error::{Error, Result};
