//! What comes in: text tables to columns, rows to events, and checked types that cannot be wrong afterwards.

mod csr;
pub mod events;
pub mod fields;
pub mod scan;
pub mod words;

pub use csr::Csr;
