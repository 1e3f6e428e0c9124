//! What comes in: checked types that cannot be wrong afterwards.

mod csr;

pub use csr::Csr;
