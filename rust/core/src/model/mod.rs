//! The formula - tables, attention, head.

pub mod neighbours;
pub mod ridge;
