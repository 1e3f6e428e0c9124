//! The formula: attention, vectors, item-item weights.

pub mod attention;
pub mod fold_in;
pub mod hybrid;
pub mod neighbours;
pub mod ridge;
pub mod spectral;
