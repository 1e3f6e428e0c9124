//! The formula - tables, attention, head.

pub mod ridge;
