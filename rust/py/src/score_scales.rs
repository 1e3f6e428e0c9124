//! Both parts of a score on one scale: the lengths that item vectors are served with, and root mean squares.

use ancf_core::model::{score_scales as scales, spectral};
use ancf_core::runtime::simd::vector::{dot, power, scale};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, to_csr, to_rows};
use crate::enter::{Size, enter};

/// Vectors (n, d) and a factor for each.
type VectorsAndFactors<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// Item vectors for serving and for folding in: q = v · ‖v‖^(exponent − 1), so that 0 is the cosine and 1 the inner
/// product, and the factors ‖v‖^(1 − exponent) that turn q back into v.
#[pyfunction]
#[pyo3(signature = (item_vectors, exponent, num_threads=None))]
fn serving_vectors<'py>(
    py: Python<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    exponent: f32,
    num_threads: Option<usize>,
) -> PyResult<VectorsAndFactors<'py>> {
    const ROWS_PER_TASK: usize = 512;
    /// Fewer numbers are less work than to hand them to others.
    const LARGE: usize = 1 << 16;
    let d = item_vectors.as_array().ncols().max(1);
    let mut vectors = item_vectors.as_slice()?.to_vec();
    let mut factors = vec![1.0f32; vectors.len() / d];
    let size = if vectors.len() > LARGE { Size::Large } else { Size::Small };
    enter(py, size, num_threads, |context| {
        let tasks = vectors.chunks_mut(d * ROWS_PER_TASK).zip(factors.chunks_mut(ROWS_PER_TASK));
        context.for_each_task(
            tasks,
            || (),
            |(), (vectors, factors)| {
                for (v, factor) in vectors.chunks_exact_mut(d).zip(factors) {
                    let square = f64::from(dot(context.level, v, v));
                    if square > f64::from(f32::MIN_POSITIVE) {
                        scale(context.level, power(square, 0.5 * (exponent - 1.0)), v);
                        *factor = power(square, 0.5 * (1.0 - exponent));
                    }
                }
            },
        );
        Ok(())
    })?;
    Ok((to_rows(py, vectors, d)?, factors.into_pyarray(py)))
}

/// The root mean squares of the vectors' scores and of the item-item scores, over users × items.
#[pyfunction]
#[pyo3(signature = (user_vectors, item_vectors, interactions, neighbors, num_threads=None))]
fn score_scales<'py>(
    py: Python<'py>,
    user_vectors: PyReadonlyArray2<'py, f32>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    interactions: CsrArrays<'py>,
    neighbors: CsrArrays<'py>,
    num_threads: Option<usize>,
) -> PyResult<(f64, f64)> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let interactions = to_csr(py, &interactions, n_items)?;
    let neighbors = to_csr(py, &neighbors, n_items)?;
    let (users, items) = (user_vectors.as_slice()?, item_vectors.as_slice()?);
    enter(py, Size::Large, num_threads, |context| {
        Ok((scales::vector_scale(users, items, d, context), scales::neighbor_scale(&interactions, &neighbors, context)))
    })
}

/// The products PᵀP of each chunk of `gram_rows()` user vectors, float32 (chunks, d, d).
#[pyfunction]
#[pyo3(signature = (user_vectors, num_threads=None))]
fn gram_parts<'py>(
    py: Python<'py>,
    user_vectors: PyReadonlyArray2<'py, f32>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let d = user_vectors.as_array().ncols();
    let users = user_vectors.as_slice()?;
    let parts = enter(py, Size::Large, num_threads, |context| Ok(spectral::gram_parts(users, d, context)))?;
    let n_chunks = parts.len() / (d * d).max(1);
    parts.into_pyarray(py).reshape([n_chunks, d, d])
}

/// Users of a chunk of `gram_parts`.
#[pyfunction]
fn gram_rows() -> usize {
    spectral::GRAM_ROWS
}

/// The part of each item in the square of the first number of `score_scales`, of what `gram_parts` gave, float64 (n_items,).
#[pyfunction]
#[pyo3(signature = (parts, n_users, item_vectors, num_threads=None))]
fn vector_mean_squares<'py>(
    py: Python<'py>,
    parts: PyReadonlyArray3<'py, f32>,
    n_users: usize,
    item_vectors: PyReadonlyArray2<'py, f32>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let d = item_vectors.as_array().ncols();
    let (parts, items) = (parts.as_slice()?, item_vectors.as_slice()?);
    let means = enter(py, Size::Large, num_threads, |context| {
        Ok(scales::vector_mean_squares(parts, n_users, items, d, context))
    })?;
    Ok(means.into_pyarray(py))
}

/// The part of each item in the square of the second number of `score_scales`, float64 (n_items,).
#[pyfunction]
#[pyo3(signature = (interactions, neighbors, n_items, num_threads=None))]
fn neighbor_mean_squares<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    neighbors: CsrArrays<'py>,
    n_items: usize,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (interactions, neighbors) = (to_csr(py, &interactions, n_items)?, to_csr(py, &neighbors, n_items)?);
    let means = enter(py, Size::Large, num_threads, |context| {
        Ok(scales::neighbor_mean_squares(&interactions, &neighbors, context))
    })?;
    Ok(means.into_pyarray(py))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(serving_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(score_scales, module)?)?;
    module.add_function(wrap_pyfunction!(gram_parts, module)?)?;
    module.add_function(wrap_pyfunction!(gram_rows, module)?)?;
    module.add_function(wrap_pyfunction!(vector_mean_squares, module)?)?;
    module.add_function(wrap_pyfunction!(neighbor_mean_squares, module)?)
}
