//! The one error type of the core. The Python crate maps each kind to its exception in one place.

/// An error of the core. The message names value, place and remedy, and is shown to users unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data cannot be used: wrong shape, a value that is not finite, a position out of range.
    #[error("{0}")]
    InvalidData(String),
    /// An option has a value that makes no sense.
    #[error("{0}")]
    InvalidParameter(String),
    /// Training diverged: a loss or a parameter is no longer finite.
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
    /// A defect of this library, such as a caught panic.
    #[error("{0}")]
    Internal(String),
}

/// A result with the error of the core.
pub type Result<T> = std::result::Result<T, Error>;
