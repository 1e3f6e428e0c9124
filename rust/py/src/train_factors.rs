//! Trainers of factor models: alternating least squares, Bayesian personalized ranking, biased matrix factorization.

use std::sync::{Mutex, PoisonError};

use ancf_core::model::als::{Fixed, Penalty, solve};
use ancf_core::train::als;
use ancf_core::train::factorization::{State, bpr, svd};
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, to_csr, to_rows};
use crate::enter::{Size, enter, to_python};
use crate::progress::{Progress, progress, resume};

/// Entries up to which histories are folded in on the calling thread.
const FEW_ENTRIES: usize = 2000;

/// User vectors, item vectors, and the diagonal of the items' Gramian.
type AlsState<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// Alternating least squares; see `ancf.ALS`.
#[pyclass(frozen, module = "ancf._core")]
pub struct AlsTrainer {
    model: Mutex<als::Trainer>,
    factors: usize,
}

#[pymethods]
impl AlsTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, factors, unobserved_weight, regularization, regularization_exponent, steps, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        unobserved_weight: f32,
        regularization: f32,
        regularization_exponent: f32,
        steps: Option<usize>,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let penalty = Penalty { unobserved_weight, regularization, exponent: regularization_exponent };
        let model =
            enter(py, Size::Large, num_threads, |_| als::Trainer::new(&interactions, factors, penalty, steps, seed))?;
        Ok(Self { model: Mutex::new(model), factors })
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.model, num_threads)
    }

    /// Goes on from what `progress` gave.
    #[pyo3(signature = (numbers, steps, num_threads=None))]
    fn resume(
        &self,
        py: Python<'_>,
        numbers: Bound<'_, PyDict>,
        steps: u64,
        num_threads: Option<usize>,
    ) -> PyResult<()> {
        resume(py, &self.model, &numbers, steps, num_threads)
    }

    /// Items given users, then users given items, by `steps` steps or exactly; the loss divided by the number of interactions.
    #[pyo3(signature = (num_threads=None))]
    fn epoch(&self, py: Python<'_>, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(context)
        })
    }

    /// User vectors (n_users, factors), solved exactly, item vectors (n_items, factors), and the diagonal of the items'
    /// Gramian.
    #[pyo3(signature = (num_threads=None))]
    fn state<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<AlsState<'py>> {
        let [users, items, gramian] = enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).state(context)
        })?;
        Ok((to_rows(py, users, self.factors)?, to_rows(py, items, self.factors)?, gramian.into_pyarray(py)))
    }
}

/// Users for histories (indptr, item positions, weights > 0) by one exact solution each, float32 (n, factors).
/// `gramian` is the diagonal of the Gramian of the item vectors, which has nothing beside it.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, gramian, *, unobserved_weight, regularization, regularization_exponent, num_threads=None))]
fn als_user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    gramian: PyReadonlyArray1<'py, f32>,
    unobserved_weight: f32,
    regularization: f32,
    regularization_exponent: f32,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let (items, gramian) = (item_vectors.as_slice()?, gramian.as_slice()?);
    if gramian.len() != d {
        return Err(to_python(py, &Error::InvalidData(format!("{} Gramian numbers for {d} factors.", gramian.len()))));
    }
    let penalty = Penalty { unobserved_weight, regularization, exponent: regularization_exponent };
    let size = if histories.len() > FEW_ENTRIES { Size::Large } else { Size::Small };
    let vectors = enter(py, size, num_threads, |context| -> Result<Vec<f32>> {
        let mut out = vec![0.0; histories.n_rows() * d];
        solve(&histories, &Fixed::diagonal(items, gramian), penalty, &mut out, context)?;
        Ok(out)
    })?;
    to_rows(py, vectors, d)
}

/// User vectors, item vectors, user biases and item biases.
type FactorsAndBiases<'py> =
    (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>);

/// Vectors, and a bias for each.
type VectorsAndBiases<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

fn from_state(py: Python<'_>, state: State, d: usize) -> PyResult<FactorsAndBiases<'_>> {
    Ok((
        to_rows(py, state.users, d)?,
        to_rows(py, state.items, d)?,
        state.user_biases.into_pyarray(py),
        state.item_biases.into_pyarray(py),
    ))
}

/// Bayesian personalized ranking; see `ancf.BPR`.
#[pyclass(frozen, module = "ancf._core")]
pub struct BprTrainer {
    model: Mutex<bpr::Trainer>,
    factors: usize,
}

#[pymethods]
impl BprTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, factors, epochs, learning_rate, regularization, bias_regularization, negative_exponent, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        epochs: usize,
        learning_rate: f32,
        regularization: f32,
        bias_regularization: f32,
        negative_exponent: f32,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let options = bpr::Options {
            factors,
            epochs,
            learning_rate,
            regularization,
            bias_regularization,
            negative_exponent,
            seed,
        };
        let model = enter(py, Size::Large, num_threads, |context| bpr::Trainer::new(&interactions, options, context))?;
        Ok(Self { model: Mutex::new(model), factors })
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.model, num_threads)
    }

    /// Goes on from what `progress` gave.
    #[pyo3(signature = (numbers, steps, num_threads=None))]
    fn resume(
        &self,
        py: Python<'_>,
        numbers: Bound<'_, PyDict>,
        steps: u64,
        num_threads: Option<usize>,
    ) -> PyResult<()> {
        resume(py, &self.model, &numbers, steps, num_threads)
    }

    /// One round over all interactions; the mean loss.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// User vectors (n_users, factors), item vectors (n_items, factors), user biases (zeros) and item biases.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<FactorsAndBiases<'py>> {
        let state = self.model.lock().unwrap_or_else(PoisonError::into_inner).state();
        from_state(py, state, self.factors)
    }
}

/// Users for histories (indptr, item positions, any values) by the steps of training with the items held fixed. Items and
/// users have a last column: the items' biases, and ones.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, *, learning_rate, regularization, seed, num_threads=None))]
fn bpr_user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    learning_rate: f32,
    regularization: f32,
    seed: u64,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let items = item_vectors.as_slice()?;
    let options = bpr::Options {
        factors: d.saturating_sub(1),
        epochs: 1,
        learning_rate,
        regularization,
        bias_regularization: 0.0,
        negative_exponent: 0.0,
        seed,
    };
    let size = if histories.len() > FEW_ENTRIES / 10 { Size::Large } else { Size::Small };
    let vectors = enter(py, size, num_threads, |context| {
        let mut out = vec![0.0; histories.n_rows() * d];
        context.try_for_each_task(
            out.chunks_exact_mut(d.max(1)).enumerate(),
            || (),
            |(), (row, out)| {
                context.cancel.check()?;
                bpr::fold_in(context.level, histories.row(row), items, &options, out);
                Ok(())
            },
        )?;
        Ok(out)
    })?;
    to_rows(py, vectors, d)
}

/// Biased matrix factorization; see `ancf.SVD`.
#[pyclass(frozen, module = "ancf._core")]
pub struct SvdTrainer {
    model: Mutex<svd::Trainer>,
    factors: usize,
}

#[pymethods]
impl SvdTrainer {
    #[new]
    #[pyo3(signature = (ratings, n_items, *, factors, learning_rate, regularization, start_scale, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        ratings: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        learning_rate: f32,
        regularization: f32,
        start_scale: f32,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let ratings = to_csr(py, &ratings, n_items)?;
        let options = svd::Options { factors, learning_rate, regularization, start_scale, seed };
        let model = enter(py, Size::Large, num_threads, |context| svd::Trainer::new(&ratings, options, context))?;
        Ok(Self { model: Mutex::new(model), factors })
    }

    /// The mean of the ratings.
    #[getter]
    fn mean(&self) -> f32 {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).mean()
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.model, num_threads)
    }

    /// Goes on from what `progress` gave.
    #[pyo3(signature = (numbers, steps, num_threads=None))]
    fn resume(
        &self,
        py: Python<'_>,
        numbers: Bound<'_, PyDict>,
        steps: u64,
        num_threads: Option<usize>,
    ) -> PyResult<()> {
        resume(py, &self.model, &numbers, steps, num_threads)
    }

    /// One round over all ratings; the mean squared error.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// User vectors (n_users, factors), item vectors (n_items, factors), user biases and item biases.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<FactorsAndBiases<'py>> {
        let state = self.model.lock().unwrap_or_else(PoisonError::into_inner).state();
        from_state(py, state, self.factors)
    }
}

/// Users for histories (indptr, item positions, rating − mean − item bias) by one exact solution each: vectors and biases.
/// Items and users have a last column: the items' biases, and ones.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, *, regularization, num_threads=None))]
fn svd_user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    regularization: f32,
    num_threads: Option<usize>,
) -> PyResult<VectorsAndBiases<'py>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let items = item_vectors.as_slice()?;
    let size = if histories.len() > FEW_ENTRIES { Size::Large } else { Size::Small };
    let (vectors, biases) = enter(py, size, num_threads, |context| {
        let (mut out, mut biases) = (vec![0.0; histories.n_rows() * d], vec![0.0; histories.n_rows()]);
        let rows = out.chunks_exact_mut(d.max(1)).zip(&mut biases).enumerate();
        context.try_for_each_task(
            rows,
            || (),
            |(), (row, (out, bias))| {
                context.cancel.check()?;
                let (history, targets) = (histories.row(row), histories.row_values(row));
                if svd::fold_in(context.level, history, targets, items, regularization, out, bias) {
                    return Ok(());
                }
                let message = format!("the ratings of history {row} have no solution in float32; divide them.");
                Err(Error::InvalidData(message))
            },
        )?;
        Ok((out, biases))
    })?;
    Ok((to_rows(py, vectors, d)?, biases.into_pyarray(py)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AlsTrainer>()?;
    module.add_class::<BprTrainer>()?;
    module.add_class::<SvdTrainer>()?;
    module.add_function(wrap_pyfunction!(bpr_user_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(svd_user_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(als_user_vectors, module)?)
}
