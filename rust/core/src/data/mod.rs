//! What comes in: text tables to columns, rows to events, and checked types that cannot be wrong afterwards.

mod csr;
mod dictionary;
mod digits;
pub mod events;
pub mod fields;
mod rows;
pub mod scan;
pub mod words;

pub use csr::Csr;
