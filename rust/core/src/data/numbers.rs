//! Numbers of a table that nobody changes any more: our own, or somebody's who keeps them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Numbers that stay as they are. Those that stand in the bytes of a model file are read there: a copy would take their
/// memory once more.
#[derive(Clone)]
pub enum Numbers<T> {
    /// Our own.
    Owned(Vec<T>),
    /// Somebody's, who gives the same numbers each time.
    Shared(Arc<dyn AsRef<[T]> + Send + Sync>),
}

impl<T: Clone> Numbers<T> {
    /// The numbers as our own.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::Owned(numbers) => numbers,
            Self::Shared(numbers) => (*numbers).as_ref().to_vec(),
        }
    }
}

impl<T> Deref for Numbers<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(numbers) => numbers,
            Self::Shared(numbers) => (**numbers).as_ref(),
        }
    }
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::Owned(numbers)
    }
}

impl<T: fmt::Debug> fmt::Debug for Numbers<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

impl<T: PartialEq> PartialEq for Numbers<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Numbers<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_whoever_keeps_them() {
        let owned = Numbers::from(vec![1, 2, 3]);
        let shared = Numbers::Shared(Arc::new(vec![1, 2, 3]));
        assert_eq!(owned, shared);
        assert_eq!(format!("{owned:?}"), format!("{shared:?}"));
        assert_eq!(shared.clone().into_vec(), owned.into_vec());
        assert_eq!(shared[1..], [2, 3]);
    }
}
