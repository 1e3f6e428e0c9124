//! Lists of the core as arrays of NumPy.

use ancf_core::rank::{self, OutputTransform};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// Lists as they are handed to Python: items and scores (m, width), counts (m,).
pub type ListsResult<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<i32>>);

/// One list as it is handed to Python: items and scores.
pub type ListResult<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>);

/// The items and scores of a list.
pub fn to_vectors(keys: &[u64], output: OutputTransform) -> (Vec<i32>, Vec<f32>) {
    let items = keys.iter().map(|&key| rank::position_of(key) as i32);
    (items.collect(), keys.iter().map(|&key| output.score(key)).collect())
}

/// A list as it is handed to Python, in arrays that hold their numbers themselves: an array over the memory of Rust is two
/// objects.
pub fn to_list<'py>(py: Python<'py>, keys: &[u64], output: OutputTransform) -> ListResult<'py> {
    let (items, scores) = to_vectors(keys, output);
    (PyArray1::from_slice(py, &items), PyArray1::from_slice(py, &scores))
}

/// Lists as they are handed to Python.
pub fn to_arrays(py: Python<'_>, lists: rank::Lists) -> PyResult<ListsResult<'_>> {
    let shape = [lists.counts.len(), lists.width];
    Ok((
        lists.items.into_pyarray(py).reshape(shape)?,
        lists.scores.into_pyarray(py).reshape(shape)?,
        lists.counts.into_pyarray(py),
    ))
}
