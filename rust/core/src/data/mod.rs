//! Data in: text tables to columns, rows to sorted events, and checked types that cannot be wrong afterwards.
//!
//! Imports run one way: {`scan`, `texts`} → {`rows`, `dictionary`} → {`schema`, `fields`, `interner`} → `digits`. `events`,
//! `common_users` (→ `csr`) and `id_index` (→ `numbers`) import none of them.

pub mod common_users;
mod csr;
mod dictionary;
mod digits;
pub mod events;
mod fields;
pub mod id_index;
mod interner;
mod numbers;
mod rows;
pub mod scan;
pub mod schema;
pub mod texts;

pub use csr::{Csr, split_entries};
pub use dictionary::Column;
pub use numbers::Numbers;
