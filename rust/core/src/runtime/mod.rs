//! What everything else is built on: threads, cancellation, random numbers, instruction sets.
//!
//! Imports run one way: `context` → {`cancel`, `pool`, `simd`}; `handed` and `rng` import none of them.

pub mod cancel;
mod context;
mod handed;
pub mod pool;
pub mod rng;
pub mod simd;

pub use context::Context;
pub use handed::Handed;
