//! Histories: what each purchase in them weighs, by attention and by age, and the user vectors that they make.

use ancf_core::model::attention::{Attention, Prior, both_sides, propagate};
use ancf_core::model::fold_in;
use ancf_core::runtime::simd::vector::ln;
use ancf_core::train::network;
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_csr, to_rows};
use crate::enter::{LARGE, Size, enter, to_python};

/// Histories from which the pool takes part.
const MANY_HISTORIES: usize = 16;

/// What so many histories are to the pool.
pub fn size_for(n_histories: usize) -> Size {
    if n_histories > MANY_HISTORIES { Size::Large } else { Size::Small }
}

/// The attention prior by its public name.
pub fn prior(attention: &str) -> Result<Prior> {
    match attention {
        "mean" => Ok(Prior::Mean),
        "degree" => Ok(Prior::Degree),
        other => {
            Err(Error::InvalidParameter(format!("attention is {other:?}; this trainer has \"mean\" and \"degree\".")))
        }
    }
}

/// Unit user vectors for histories (indptr, item positions, weights) and attention priors of the items → float32 (n,
/// factors).
///
/// A user is the attention-weighted sum of the item vectors of the history; only the direction counts.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, item_priors, num_threads=None))]
fn user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    item_priors: PyReadonlyArray1<'py, f32>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let (items, item_priors) = (item_vectors.as_slice()?, item_priors.as_slice()?);
    if item_priors.len() != n_items {
        return Err(to_python(py, &Error::InvalidData(format!("{} priors for {n_items} items.", item_priors.len()))));
    }
    let size = size_for(histories.n_rows());
    let vectors = enter(py, size, num_threads, |context| {
        let level = context.level;
        let one = |row: usize, out: &mut [f32]| {
            fold_in::user_vector(level, histories.row(row), histories.row_values(row), item_priors, items, out);
        };
        let mut out = vec![0.0f32; histories.n_rows() * d];
        if d > 0 && size == Size::Small {
            out.chunks_exact_mut(d).enumerate().for_each(|(row, out)| one(row, out));
        } else if d > 0 {
            context.install(|| out.par_chunks_mut(d).enumerate().with_min_len(64).for_each(|(row, out)| one(row, out)));
        }
        Ok(out)
    })?;
    to_rows(py, vectors, d)
}

/// τ of each entry of histories that end at these offsets, by their times in seconds and a half-life in days.
#[pyfunction]
fn recency_weights<'py>(
    py: Python<'py>,
    indptr: PyReadonlyArray1<'py, i64>,
    times: PyReadonlyArray1<'py, i64>,
    half_life: f64,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let (indptr, times) = (indptr.as_slice()?, times.as_slice()?);
    let size = if times.len() < LARGE { Size::Small } else { Size::Large };
    let weights = enter(py, size, Some(1), |context| {
        let mut weights = Vec::with_capacity(times.len());
        for rows in indptr.windows(2) {
            context.cancel.check()?;
            let Some(times) = times.get(rows[0] as usize..rows[1] as usize) else {
                return Err(Error::InvalidData("histories: their offsets do not fit their times.".into()));
            };
            weights.extend(fold_in::recency(times.len(), Some(times), Some(half_life)));
        }
        Ok(weights)
    })?;
    Ok(weights.into_pyarray(py))
}

/// Weighted histories for the item-item part of a score, from histories (indptr, item positions, τ): n^-½ τ at the items
/// and, with `repeats` (one for each τ), those at the sources `n_items` further on.
#[pyfunction]
fn sparse_history<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    repeats: Option<PyReadonlyArray1<'py, f32>>,
    n_items: usize,
) -> PyResult<CsrResult<'py>> {
    let histories = to_csr(py, &histories, n_items)?;
    let repeats = repeats.as_ref().map(|repeats| repeats.as_slice()).transpose()?;
    if let Some(repeats) = repeats
        && repeats.len() != histories.len()
    {
        let message =
            format!("got {} repeats and {} entries; give one for each entry.", repeats.len(), histories.len());
        return Err(to_python(py, &Error::InvalidData(message)));
    }
    let size = if histories.len() > LARGE { Size::Large } else { Size::Small };
    let (offsets, columns, values) = enter(py, size, Some(1), |context| {
        let n_weights = histories.len() * if repeats.is_some() { 2 } else { 1 };
        let (mut columns, mut values) = (Vec::with_capacity(n_weights), Vec::with_capacity(n_weights));
        let mut offsets = vec![0];
        for (row, bounds) in histories.offsets().windows(2).enumerate() {
            context.cancel.check()?;
            let repeats = repeats.map(|repeats| &repeats[bounds[0]..bounds[1]]);
            let (items, recency) = (histories.row(row), histories.row_values(row));
            fold_in::weigh_history(items, recency, repeats, n_items, &mut columns, &mut values);
            offsets.push(columns.len() as i64);
        }
        Ok((offsets, columns.into_iter().map(|column: u32| column as i32).collect::<Vec<_>>(), values))
    })?;
    Ok((offsets.into_pyarray(py), columns.into_pyarray(py), values.into_pyarray(py)))
}

/// Attention priors of the items (what each weighs in a history before normalization), float32 (n_items,).
#[pyfunction]
fn item_priors<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    attention: &str,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let priors = enter(py, Size::Small, None, |_| Ok(prior(attention)?.of_items(&interactions)))?;
    Ok(priors.into_pyarray(py))
}

/// log of the attention prior of every item, float32 (n_items,).
#[pyfunction]
fn item_logits<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    attention: &str,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let prior = if attention == "mean" { Prior::Mean } else { Prior::Degree };
    let priors = Attention::new(&interactions, prior, 0.5, false).map_err(|e| to_python(py, &e))?.item_priors;
    let ln = |&r: &f32| ln(f64::from(r)) as f32;
    Ok(priors.iter().map(ln).collect::<Vec<f32>>().into_pyarray(py))
}

/// What each item weighs in a history (float32, in the order of `interactions`), and each user among the buyers of an item
/// (indptr, users, weights), a row for each item.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, attention, exponent, num_threads=None))]
fn attention_weights<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    attention: &str,
    exponent: f32,
    num_threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray1<f32>>, CsrResult<'py>)> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let (of_items, buyers) =
        enter(py, Size::Large, num_threads, |_| both_sides(&interactions, prior(attention)?, exponent))?;
    Ok((of_items.into_pyarray(py), from_csr(py, buyers)))
}

/// Attention weights of histories: exp(logit) / (Σ exp)^exponent, logits of the items plus the values of `histories`.
#[pyfunction]
fn history_weights<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_logits: PyReadonlyArray1<'py, f32>,
    exponent: f32,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let histories = to_csr(py, &histories, item_logits.len())?;
    let logits = item_logits.as_slice()?;
    let weights =
        enter(py, Size::Small, None, |context| Ok(network::history_weights(context, &histories, logits, exponent)))?;
    Ok(weights.into_pyarray(py))
}

/// Σ_j weight · item vector over each history, float32 (n, d).
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, num_threads=None))]
fn weighted_sums<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let items = item_vectors.as_slice()?;
    let size = size_for(histories.n_rows());
    let sums = enter(py, size, num_threads, |context| {
        let mut out = vec![0.0; histories.n_rows() * d];
        propagate(context, d, &histories, histories.values(), items, &mut out);
        Ok(out)
    })?;
    to_rows(py, sums, d)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(user_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(recency_weights, module)?)?;
    module.add_function(wrap_pyfunction!(sparse_history, module)?)?;
    module.add_function(wrap_pyfunction!(item_priors, module)?)?;
    module.add_function(wrap_pyfunction!(item_logits, module)?)?;
    module.add_function(wrap_pyfunction!(attention_weights, module)?)?;
    module.add_function(wrap_pyfunction!(history_weights, module)?)?;
    module.add_function(wrap_pyfunction!(weighted_sums, module)?)
}
