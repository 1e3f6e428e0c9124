//! What can go wrong, once, for every room. The Python side maps each kind to its exception in one place.

/// An error of the core. The message names value, place and remedy, and is shown to people as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data cannot be used: wrong shape, a value that is not finite, a position out of range.
    #[error("{0}")]
    InvalidData(String),
    /// An option has a value that makes no sense.
    #[error("{0}")]
    InvalidParameter(String),
    /// Training left the finite numbers.
    #[error("{0}")]
    Diverged(String),
    /// A model file is damaged, hostile or from a later version.
    #[error("{0}")]
    ModelFile(String),
    /// Reading or writing failed. The first field is the operating system's error number, where there is one.
    #[error("{1}")]
    Io(Option<i32>, String),
    /// The caller asked to stop (Ctrl-C).
    #[error("interrupted")]
    Cancelled,
    /// A defect of ours, a caught panic among them.
    #[error("{0}")]
    Internal(String),
}

/// The core's result.
pub type Result<T> = std::result::Result<T, Error>;
