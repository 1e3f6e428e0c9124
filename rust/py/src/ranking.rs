//! The trainer for rankings.

use std::sync::{Mutex, PoisonError};

use ancf_core::model::attention::{Attention, Prior};
use ancf_core::model::{fold_in, score_scales as scales};
use ancf_core::runtime::simd::vector::{dot, power, scale};
use ancf_core::train::ranking::{Options, Ranking};
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, CsrResult, to_csr};
use crate::enter::{LARGE, Size, enter, to_python};

/// Trains item vectors by one softmax row per user; see `ancf.ANCF`.
#[pyclass(frozen, module = "ancf._core")]
pub struct RankingTrainer {
    model: Mutex<Ranking>,
    factors: usize,
    n_items: usize,
}

#[pymethods]
impl RankingTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, factors, epochs, batch_size, attention, attention_exponent, item_attention, temperature, negatives, negative_exponent, learning_rate, regularization, spectral_start, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        epochs: usize,
        batch_size: Option<usize>,
        attention: &str,
        attention_exponent: f32,
        item_attention: bool,
        temperature: f32,
        negatives: usize,
        negative_exponent: f32,
        learning_rate: f32,
        regularization: f32,
        spectral_start: bool,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let options = Options {
            factors,
            epochs,
            batch_size,
            prior: prior(attention).map_err(|e| to_python(py, &e))?,
            attention_exponent,
            item_attention,
            temperature,
            negatives,
            negative_exponent,
            learning_rate,
            regularization,
            spectral_start,
            seed,
        };
        let model = enter(py, Size::Large, num_threads, |context| Ranking::new(&interactions, options, context))?;
        Ok(Self { model: Mutex::new(model), factors, n_items })
    }

    /// Users of one step.
    #[getter]
    fn batch_size(&self) -> usize {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).batch_size()
    }

    /// Seconds of all threads in each part of the steps so far, by name.
    fn spent(&self) -> Vec<(&'static str, f64)> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).spent().to_vec()
    }

    /// One pass over all users; the mean loss per interaction.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// The mean loss of held-out pairs: (indptr, items, values) by the users of training.
    #[pyo3(signature = (targets, num_threads=None))]
    fn validation_loss(&self, py: Python<'_>, targets: CsrArrays<'_>, num_threads: Option<usize>) -> PyResult<f64> {
        let targets = to_csr(py, &targets, self.n_items)?;
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).validation_loss(&targets, context)
        })
    }

    /// Item vectors as they stand, float32 (n_items, factors).
    #[pyo3(signature = (num_threads=None))]
    fn item_vectors<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let vectors = enter(py, Size::Large, num_threads, |context| {
            Ok(self.model.lock().unwrap_or_else(PoisonError::into_inner).item_vectors(context))
        })?;
        table(py, vectors, self.factors)
    }
}

fn prior(attention: &str) -> Result<Prior> {
    match attention {
        "mean" => Ok(Prior::Mean),
        "degree" => Ok(Prior::Degree),
        other => {
            Err(Error::InvalidParameter(format!("attention is {other:?}; this trainer has \"mean\" and \"degree\".")))
        }
    }
}

/// Numbers as rows of `columns` each.
pub fn table(py: Python<'_>, numbers: Vec<f32>, columns: usize) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let rows = numbers.len() / columns.max(1);
    numbers.into_pyarray(py).reshape([rows, columns])
}

/// Unit user vectors for histories (indptr, item positions, weights) and attention priors of the items → float32 (n, factors).
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
    use rayon::prelude::*;
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let (items, item_priors) = (item_vectors.as_slice()?, item_priors.as_slice()?);
    if item_priors.len() != n_items {
        return Err(to_python(py, &Error::InvalidData(format!("{} priors for {n_items} items.", item_priors.len()))));
    }
    let size = if histories.n_rows() > 16 { Size::Large } else { Size::Small };
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
    table(py, vectors, d)
}

/// Histories (indptr, item positions, τ) as the item-item weights read them, with `counts` (as long as τ) the repetitions
/// behind the items of each; see `ancf.models._history`.
#[pyfunction]
fn spoken<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    counts: Option<PyReadonlyArray1<'py, f32>>,
    n_items: usize,
) -> PyResult<CsrResult<'py>> {
    let histories = to_csr(py, &histories, n_items)?;
    let counts = counts.as_ref().map(|counts| counts.as_slice()).transpose()?;
    if let Some(counts) = counts
        && counts.len() != histories.len()
    {
        let message = format!("{} counts stand beside {} entries.", counts.len(), histories.len());
        return Err(to_python(py, &Error::InvalidData(message)));
    }
    let size = if histories.len() > LARGE { Size::Large } else { Size::Small };
    let (offsets, columns, values) = enter(py, size, Some(1), |context| {
        let places = histories.len() * if counts.is_some() { 2 } else { 1 };
        let (mut columns, mut values) = (Vec::with_capacity(places), Vec::with_capacity(places));
        let mut offsets = vec![0];
        for (row, bounds) in histories.offsets().windows(2).enumerate() {
            context.cancel.check()?;
            let counts = counts.map(|counts| &counts[bounds[0]..bounds[1]]);
            let (items, recent) = (histories.row(row), histories.row_values(row));
            fold_in::weigh_history(items, recent, counts, n_items, &mut columns, &mut values);
            offsets.push(columns.len() as i64);
        }
        Ok((offsets, columns.into_iter().map(|column: u32| column as i32).collect::<Vec<_>>(), values))
    })?;
    Ok((offsets.into_pyarray(py), columns.into_pyarray(py), values.into_pyarray(py)))
}

/// Attention priors of the items (what each weighs in a history before normalisation), float32 (n_items,).
#[pyfunction]
fn item_priors<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    attention: &str,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let priors =
        enter(
            py,
            Size::Small,
            None,
            |_| Ok(Attention::new(&interactions, prior(attention)?, 0.5, false)?.item_priors),
        )?;
    Ok(priors.into_pyarray(py))
}

/// Vectors (n × d) and a factor for each.
type VectorsAndFactors<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// Item vectors for serving and for folding in: q = v · ‖v‖^(exponent − 1), so that 0 is the cosine and 1 the inner
/// product, and the factors ‖v‖^(1 − exponent) that turn q back into v.
#[pyfunction]
fn serving_vectors<'py>(
    py: Python<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    exponent: f32,
) -> PyResult<VectorsAndFactors<'py>> {
    let d = item_vectors.as_array().ncols();
    let mut vectors = item_vectors.as_slice()?.to_vec();
    let factors = enter(py, Size::Small, None, |context| {
        Ok(vectors
            .chunks_exact_mut(d.max(1))
            .map(|v| {
                let square = f64::from(dot(context.level, v, v));
                if square <= f64::from(f32::MIN_POSITIVE) {
                    return 1.0;
                }
                scale(context.level, power(square, 0.5 * (exponent - 1.0)), v);
                power(square, 0.5 * (1.0 - exponent))
            })
            .collect::<Vec<f32>>())
    })?;
    Ok((table(py, vectors, d)?, factors.into_pyarray(py)))
}

/// The root mean squares of the vectors' scores and of the item-item scores, over users × items.
#[pyfunction]
#[pyo3(signature = (user_vectors, item_vectors, interactions, neighbours, num_threads=None))]
fn score_scales<'py>(
    py: Python<'py>,
    user_vectors: PyReadonlyArray2<'py, f32>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    interactions: CsrArrays<'py>,
    neighbours: CsrArrays<'py>,
    num_threads: Option<usize>,
) -> PyResult<(f64, f64)> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let interactions = to_csr(py, &interactions, n_items)?;
    let neighbours = to_csr(py, &neighbours, n_items)?;
    let (users, items) = (user_vectors.as_slice()?, item_vectors.as_slice()?);
    enter(py, Size::Large, num_threads, |context| {
        Ok((
            scales::vector_scale(users, items, d, context),
            scales::neighbor_scale(&interactions, &neighbours, context),
        ))
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RankingTrainer>()?;
    module.add_function(wrap_pyfunction!(user_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(spoken, module)?)?;
    module.add_function(wrap_pyfunction!(item_priors, module)?)?;
    module.add_function(wrap_pyfunction!(serving_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(score_scales, module)?)
}
