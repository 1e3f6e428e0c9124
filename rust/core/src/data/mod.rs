//! Data in: text tables to columns, rows to sorted events, and checked types that cannot be wrong afterwards.
//!
//! Imports run one way: `scan` → {`rows`, `dictionary`} → {`schema`, `fields`, `interner`} → `digits`. `events` and `csr`
//! import none of them.

mod csr;
mod dictionary;
mod digits;
pub mod events;
mod fields;
mod interner;
mod rows;
pub mod scan;
pub mod schema;

pub use csr::Csr;
pub use dictionary::Column;
