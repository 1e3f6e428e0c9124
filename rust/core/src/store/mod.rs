//! What stays: the model file, written whole or not at all, and read with suspicion.

pub mod format;
pub mod save;
pub mod storage;
