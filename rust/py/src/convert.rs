//! NumPy arrays in, checked types of the core out, and back.

use ancf_core::data::Csr;
use ancf_core::model::layers::Layers;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::enter::{LARGE, Size, enter, to_python};
use crate::file_bytes::Given;

/// A sparse matrix as it comes from Python: row offsets, column positions, values.
pub type CsrArrays<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>, PyReadonlyArray1<'py, f32>);

/// The same as it is handed to Python.
pub type CsrResult<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>);

/// Fully connected layers as they come from Python: how many factors are multiplied, widths, numbers.
pub type LayerArrays<'py> = (usize, Vec<usize>, PyReadonlyArray1<'py, f32>);

/// Checks them once.
pub fn to_layers(py: Python<'_>, (product, widths, numbers): &LayerArrays<'_>) -> PyResult<Layers> {
    Layers::new(*product, widths.clone(), numbers.as_slice()?.to_vec()).map_err(|e| to_python(py, &e))
}

/// Checks the three arrays once; negative numbers are refused like any other position out of range.
pub fn to_csr(py: Python<'_>, arrays: &CsrArrays<'_>, n_columns: usize) -> PyResult<Csr> {
    let (offsets, columns, values) = (Given::of(&arrays.0)?, Given::of(&arrays.1)?, Given::of(&arrays.2)?);
    let is_large = columns.len() >= LARGE;
    let take = || {
        // A negative number becomes a position far out of range, which `Csr` refuses.
        let (offsets, columns) = (offsets.into_numbers(|o: i64| o as usize), columns.into_numbers(|c: i32| c as u32));
        Csr::of_numbers(offsets, columns, values.into_numbers(|value: f32| value), n_columns)
    };
    if is_large { enter(py, Size::Large, Some(1), |_| take()) } else { take().map_err(|e| to_python(py, &e)) }
}

/// Hands a matrix to Python.
pub fn from_csr(py: Python<'_>, matrix: Csr) -> CsrResult<'_> {
    // Numbers of the same width: the memory is kept.
    let (offsets, columns, values) = matrix.into_parts();
    let offsets: Vec<i64> = offsets.into_iter().map(|o| o as i64).collect();
    let columns: Vec<i32> = columns.into_iter().map(|c| c as i32).collect();
    (offsets.into_pyarray(py), columns.into_pyarray(py), values.into_pyarray(py))
}

/// Numbers as rows of `columns` each.
pub fn to_rows(py: Python<'_>, numbers: Vec<f32>, columns: usize) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let rows = numbers.len() / columns.max(1);
    numbers.into_pyarray(py).reshape([rows, columns])
}

/// Positions as the core counts; a negative number is out of any range, and refused there.
pub fn to_positions(array: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<u32>> {
    Ok(array.as_slice()?.iter().map(|&at| u32::try_from(at).unwrap_or(u32::MAX)).collect())
}

/// Positions that are kept in 32 bits; a negative number becomes one far out of range, which is refused.
pub fn to_columns(array: &PyReadonlyArray1<'_, i32>) -> PyResult<Vec<u32>> {
    Ok(array.as_slice()?.iter().map(|&at| at as u32).collect())
}
