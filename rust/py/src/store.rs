//! Model files.

use std::path::PathBuf;

use ancf_core::store::{save, storage::Disk};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::enter::{Size, enter};

/// A tensor to be written: name, dtype, shape, bytes.
type TensorSource<'py> = (String, String, Vec<usize>, PyReadonlyArray1<'py, u8>);

/// A tensor within the bytes of a file: name, dtype, shape, first byte, number of bytes.
type TensorLocation = (String, &'static str, Vec<usize>, usize, usize);

/// Writes a model file; `path` holds the old file or the new one, whatever happens.
#[pyfunction]
fn save_model(py: Python<'_>, path: PathBuf, tensors: Vec<TensorSource<'_>>, metadata: &str) -> PyResult<()> {
    let bytes = tensors.iter().map(|(_, _, _, bytes)| bytes.as_slice()).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<save::Source<'_>> = tensors
        .iter()
        .zip(bytes)
        .map(|((name, dtype, shape, _), bytes)| (name.as_str(), dtype.as_str(), shape.as_slice(), bytes))
        .collect();
    enter(py, Size::Large, Some(1), |context| save::save(&Disk, &path, metadata, &sources, &context.cancel))
}

/// Reads and checks a model file: its bytes, the model's own JSON, and where in the bytes each tensor is.
#[pyfunction]
fn load_model(py: Python<'_>, path: PathBuf) -> PyResult<(Bound<'_, PyArray1<u8>>, String, Vec<TensorLocation>)> {
    let (bytes, contents) = enter(py, Size::Large, Some(1), |context| save::load(&Disk, &path, &context.cancel))?;
    let locations = contents.tensors.into_iter().map(|t| (t.name, t.dtype, t.shape, t.start, t.n_bytes)).collect();
    Ok((bytes.into_pyarray(py), contents.metadata, locations))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(save_model, module)?)?;
    module.add_function(wrap_pyfunction!(load_model, module)?)
}
