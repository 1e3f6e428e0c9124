//! The formula - tables, attention, head.
