//! Model files, on the disk and as bytes.

use std::path::PathBuf;

use ancf_core::store::format::{self, Tensor};
use ancf_core::store::{save, storage::Disk};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::enter::{Size, enter};
use crate::file_bytes::FileBytes;

/// A tensor to be written: name, dtype, shape, bytes.
type TensorSource<'py> = (String, String, Vec<usize>, PyReadonlyArray1<'py, u8>);

/// A tensor within the bytes of a file: name, dtype, shape, first byte, number of bytes.
type TensorLocation = (String, &'static str, Vec<usize>, usize, usize);

/// Bytes copied between two looks at whether the caller wants to stop.
const PIECE: usize = 8 << 20;

/// The tensors as the core takes them.
fn sources<'a>(tensors: &'a [TensorSource<'_>]) -> PyResult<Vec<save::Source<'a>>> {
    let sources = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name.as_str(), dtype.as_str(), shape.as_slice(), bytes.as_slice()?)));
    sources.collect()
}

fn locations(tensors: Vec<Tensor>) -> Vec<TensorLocation> {
    tensors.into_iter().map(|t| (t.name, t.dtype, t.shape, t.start, t.n_bytes)).collect()
}

/// Writes a model file; `path` holds the old file or the new one, whatever happens.
#[pyfunction]
fn save_model(py: Python<'_>, path: PathBuf, tensors: Vec<TensorSource<'_>>, metadata: &str) -> PyResult<()> {
    let sources = sources(&tensors)?;
    enter(py, Size::Large, Some(1), |context| save::save(&Disk, &path, metadata, &sources, &context.cancel))
}

/// The bytes of the file that `save_model` writes.
#[pyfunction]
fn model_to_bytes<'py>(
    py: Python<'py>,
    tensors: Vec<TensorSource<'py>>,
    metadata: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let sources = sources(&tensors)?;
    let (header, order) =
        enter(py, Size::Large, Some(1), |context| format::header(metadata, &sources, &context.cancel))?;
    let parts: Vec<&[u8]> = std::iter::once(&header[..]).chain(order.iter().map(|&i| sources[i].3)).collect();
    PyBytes::new_with(py, parts.iter().map(|part| part.len()).sum(), |target| {
        enter(py, Size::Large, Some(1), |context| {
            let mut left = target;
            for piece in parts.iter().flat_map(|part| part.chunks(PIECE)) {
                context.cancel.check()?;
                let (here, rest) = left.split_at_mut(piece.len());
                here.copy_from_slice(piece);
                left = rest;
            }
            Ok(())
        })
    })
}

/// Reads and checks a model file: its bytes, the model's own JSON, and where in the bytes each tensor is.
#[pyfunction]
fn load_model(py: Python<'_>, path: PathBuf) -> PyResult<(FileBytes, String, Vec<TensorLocation>)> {
    let (bytes, contents) = enter(py, Size::Large, Some(1), |context| save::load(&Disk, &path, &context.cancel))?;
    Ok((FileBytes::new(bytes), contents.metadata, locations(contents.tensors)))
}

/// Checks the bytes of a model file where they are: the model's own JSON, and where in them each tensor is.
#[pyfunction]
fn parse_model(py: Python<'_>, bytes: PyReadonlyArray1<'_, u8>) -> PyResult<(String, Vec<TensorLocation>)> {
    let bytes = bytes.as_slice()?;
    let contents = enter(py, Size::Large, Some(1), |context| format::parse(bytes, &context.cancel))?;
    Ok((contents.metadata, locations(contents.tensors)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(save_model, module)?)?;
    module.add_function(wrap_pyfunction!(model_to_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(load_model, module)?)?;
    module.add_function(wrap_pyfunction!(parse_model, module)?)
}
