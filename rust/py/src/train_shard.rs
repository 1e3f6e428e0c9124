//! Some of the users of a softmax training, on a worker of their own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ancf_core::Error;
use ancf_core::model::{ridge, spectral};
use ancf_core::runtime::rng::Stream;
use ancf_core::train::softmax::{Shard, Way, passes_in, random_start, users_per_slice};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_csr, to_rows};
use crate::enter::{Size, enter, to_python};
use crate::progress::{Progress, progress, resume};
use crate::train_softmax::SoftmaxOptions;

type Numbers<'py> = PyReadonlyArray1<'py, f32>;
type Rows<'py> = PyReadonlyArray2<'py, f32>;
/// Places in the batch, unit vectors, factors, shifts, losses.
type BatchUsers<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f64>>,
);
/// The chunk that is not full yet, and the sum of the full ones.
type Products<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f64>>);
/// Gradients by the vectors of some items and by their unit vectors.
type Gradients<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>);

fn way(name: &str) -> Result<Way, Error> {
    match name {
        "forward" => Ok(Way::Forward),
        "backward" => Ok(Way::Backward),
        "spectral" => Ok(Way::Spectral),
        _ => Err(Error::InvalidParameter(format!("way is {name:?}; it must be forward, backward or spectral."))),
    }
}

/// A contiguous range of the users; see `ancf.distributed`.
#[pyclass(frozen, module = "ancf._core")]
pub struct SoftmaxShard {
    shard: Mutex<Shard>,
    factors: usize,
    n_items: usize,
}

impl SoftmaxShard {
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SoftmaxShard {
    #[new]
    #[pyo3(signature = (interactions, n_items, first_user, counts, active, options, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        first_user: usize,
        counts: PyReadonlyArray1<'_, i64>,
        active: PyReadonlyArray1<'_, u32>,
        options: SoftmaxOptions,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let counts: Vec<usize> = counts.as_slice()?.iter().map(|&n| n as usize).collect();
        let active = active.as_slice()?.to_vec();
        let factors = options.factors;
        let options = options.options().map_err(|e| to_python(py, &e))?;
        let shard =
            enter(py, Size::Large, num_threads, |_| Shard::new(&interactions, first_user, &counts, active, options))?;
        Ok(Self { shard: Mutex::new(shard), factors, n_items })
    }

    /// Users of a step, of all workers.
    #[getter]
    fn batch_size(&self) -> usize {
        self.lock().batch_size()
    }

    /// The sums of the priors of each item's users with those here.
    fn carry_item_sums<'py>(
        &self,
        py: Python<'py>,
        sums: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let mut sums = sums.as_slice()?.to_vec();
        self.lock().carry_item_sums(&mut sums);
        Ok(sums.into_pyarray(py))
    }

    /// Takes these sums over all users.
    fn set_item_sums(&self, sums: PyReadonlyArray1<'_, f64>) -> PyResult<()> {
        self.lock().set_item_sums(sums.as_slice()?);
        Ok(())
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.shard, num_threads)
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
        resume(py, &self.shard, &numbers, steps, num_threads)
    }

    /// Begins an epoch; of each of its steps the interactions of the users here.
    fn begin_epoch(&self, epoch: usize) -> Vec<u64> {
        self.lock().begin_epoch(epoch)
    }

    /// Numbers of each user here from a table of items, or from the one that the kind is for.
    #[pyo3(signature = (kind, table=None, num_threads=None))]
    fn to_users(
        &self,
        py: Python<'_>,
        kind: &str,
        table: Option<Rows<'_>>,
        num_threads: Option<usize>,
    ) -> PyResult<()> {
        let kind = way(kind).map_err(|e| to_python(py, &e))?;
        let width = table.as_ref().map_or(self.factors, |table| table.as_array().ncols());
        let table = table.as_ref().map(|table| table.as_slice()).transpose()?;
        enter(py, Size::Large, num_threads, |context| {
            self.lock().to_users(kind, table, width, context);
            Ok(())
        })
    }

    /// Rows of items, the `first`-th and those after it, with what their users here add.
    #[pyo3(signature = (kind, first, rows, num_threads=None))]
    fn carry<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        first: usize,
        rows: Rows<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let kind = way(kind).map_err(|e| to_python(py, &e))?;
        let width = rows.as_array().ncols();
        let mut rows = rows.as_slice()?.to_vec();
        enter(py, Size::Large, num_threads, |context| {
            self.lock().carry(kind, first, width, &mut rows, context);
            Ok(())
        })?;
        to_rows(py, rows, width)
    }

    /// The products of the users' numbers, with those here: the chunk that is not full yet, and the sum of the full ones.
    #[pyo3(signature = (part, total, n_users, num_threads=None))]
    fn carry_gram<'py>(
        &self,
        py: Python<'py>,
        part: Rows<'py>,
        total: PyReadonlyArray1<'py, f64>,
        n_users: usize,
        num_threads: Option<usize>,
    ) -> PyResult<Products<'py>> {
        let width = part.as_array().ncols();
        let (mut part, mut sum) = (part.as_slice()?.to_vec(), total.as_slice()?.to_vec());
        enter(py, Size::Large, num_threads, |context| {
            self.lock().carry_gram(width, &mut part, &mut sum, n_users, context);
            Ok(())
        })?;
        Ok((to_rows(py, part, width)?, sum.into_pyarray(py)))
    }

    /// Rows `first..last` of the bare item vectors.
    fn bare<'py>(&self, py: Python<'py>, first: usize, last: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let last = last.min(self.n_items);
        let rows = self.lock().bare()[first.min(last) * self.factors..last * self.factors].to_vec();
        to_rows(py, rows, self.factors)
    }

    /// Takes what the item vectors have from the graph.
    fn set_smoothed(&self, rows: Rows<'_>) -> PyResult<()> {
        self.lock().set_smoothed(rows.as_slice()?);
        Ok(())
    }

    /// Makes the item vectors, and draws the negatives of the next step.
    #[pyo3(signature = (num_threads=None))]
    fn begin_step(&self, py: Python<'_>, num_threads: Option<usize>) -> PyResult<()> {
        enter(py, Size::Large, num_threads, |context| {
            self.lock().begin_step(context);
            Ok(())
        })
    }

    /// Takes the item vectors for validation, and draws its negatives.
    #[pyo3(signature = (vectors, num_threads=None))]
    fn begin_validation(&self, py: Python<'_>, vectors: Rows<'_>, num_threads: Option<usize>) -> PyResult<()> {
        let vectors = vectors.as_slice()?;
        enter(py, Size::Large, num_threads, |context| {
            self.lock().begin_validation(vectors, context);
            Ok(())
        })
    }

    /// The users here of a step of the epoch; `n_pairs` are the interactions of all users of the step.
    #[pyo3(signature = (step, n_pairs, num_threads=None))]
    fn batch<'py>(
        &self,
        py: Python<'py>,
        step: usize,
        n_pairs: u64,
        num_threads: Option<usize>,
    ) -> PyResult<BatchUsers<'py>> {
        let found = enter(py, Size::Large, num_threads, |context| Ok(self.lock().batch(step, n_pairs, context)))?;
        Ok((
            found.places.into_pyarray(py),
            to_rows(py, found.vectors, self.factors)?,
            found.factors.into_pyarray(py),
            found.shifts.into_pyarray(py),
            found.losses.into_pyarray(py),
        ))
    }

    /// Rows `first..last` of the gradient by the negatives' unit vectors, of all users of the batch in its order.
    #[pyo3(signature = (first, last, vectors, factors, shifts, num_threads=None))]
    fn negatives<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        last: usize,
        vectors: Rows<'py>,
        factors: Numbers<'py>,
        shifts: Numbers<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (vectors, factors, shifts) = (vectors.as_slice()?, factors.as_slice()?, shifts.as_slice()?);
        let found = enter(py, Size::Large, num_threads, |context| {
            Ok(self.lock().negatives(first, last, vectors, factors, shifts, context))
        })?;
        to_rows(py, found, self.factors)
    }

    /// Gradients by items, the `first`-th and those after it, with what their users here in the batch add.
    #[pyo3(signature = (first, by_vectors, by_units, num_threads=None))]
    fn carry_gradient<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        by_vectors: Rows<'py>,
        by_units: Rows<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Gradients<'py>> {
        let (mut dv, mut unit) = (by_vectors.as_slice()?.to_vec(), by_units.as_slice()?.to_vec());
        enter(py, Size::Large, num_threads, |context| {
            self.lock().carry_gradient(first, &mut dv, &mut unit, context);
            Ok(())
        })?;
        Ok((to_rows(py, dv, self.factors)?, to_rows(py, unit, self.factors)?))
    }

    /// The gradient by the vectors of these items, with that by the negatives.
    #[pyo3(signature = (first, by_vectors, by_units, by_negatives, num_threads=None))]
    fn finish_gradient<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        by_vectors: Rows<'py>,
        by_units: Rows<'py>,
        by_negatives: Rows<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (mut dv, mut unit) = (by_vectors.as_slice()?.to_vec(), by_units.as_slice()?.to_vec());
        let dq = by_negatives.as_slice()?;
        enter(py, Size::Large, num_threads, |context| {
            self.lock().finish_gradient(first, &mut dv, &mut unit, dq, context);
            Ok(())
        })?;
        to_rows(py, dv, self.factors)
    }

    /// Takes the gradient by the item vectors of a step of the epoch.
    #[pyo3(signature = (step, gradient, num_threads=None))]
    fn hold(&self, py: Python<'_>, step: usize, gradient: Rows<'_>, num_threads: Option<usize>) -> PyResult<()> {
        let gradient = gradient.as_slice()?;
        enter(py, Size::Large, num_threads, |context| {
            self.lock().hold(step, gradient, context);
            Ok(())
        })
    }

    /// Takes what the bare vectors have from the gradients that are held.
    fn set_returned(&self, rows: Rows<'_>) -> PyResult<()> {
        self.lock().set_returned(rows.as_slice()?);
        Ok(())
    }

    /// A step of the optimizer.
    #[pyo3(signature = (num_threads=None))]
    fn update(&self, py: Python<'_>, num_threads: Option<usize>) -> PyResult<()> {
        enter(py, Size::Large, num_threads, |context| {
            self.lock().update(context);
            Ok(())
        })
    }

    /// Refuses a loss or vectors that training has lost.
    #[pyo3(signature = (loss, epoch, num_threads=None))]
    fn check(&self, py: Python<'_>, loss: f64, epoch: usize, num_threads: Option<usize>) -> PyResult<()> {
        enter(py, Size::Large, num_threads, |context| self.lock().check(loss, epoch, context))
    }

    /// The losses of held-out pairs of the users here, one number for each who has some.
    #[pyo3(signature = (targets, num_threads=None))]
    fn validation<'py>(
        &self,
        py: Python<'py>,
        targets: CsrArrays<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let targets = to_csr(py, &targets, self.n_items)?;
        let losses = enter(py, Size::Large, num_threads, |context| self.lock().validation(&targets, context))?;
        Ok(losses.into_pyarray(py))
    }
}

/// Users whose losses are added up before they are added to those of others.
#[pyfunction]
fn softmax_slice() -> usize {
    users_per_slice()
}

/// Whether a step of an epoch of `n_steps` passes through the graph.
#[pyfunction]
fn softmax_passes_in(step: usize, n_steps: usize) -> bool {
    passes_in(step, n_steps)
}

/// Random item vectors to begin with, float32 (n_items, factors).
#[pyfunction]
fn softmax_random_start(
    py: Python<'_>,
    n_items: usize,
    factors: usize,
    seed: u64,
) -> PyResult<Bound<'_, PyArray2<f32>>> {
    to_rows(py, random_start(n_items, factors, Stream::new(seed, 1)), factors)
}

/// How many rounds of products the start from the spectrum takes.
#[pyfunction]
fn spectral_rounds() -> usize {
    spectral::rounds()
}

/// Directions to begin with, float32 (n_items, width).
#[pyfunction]
fn spectral_begin(
    py: Python<'_>,
    n_users: usize,
    n_items: usize,
    factors: usize,
    seed: u64,
) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let y = spectral::begin_spread(n_users, n_items, factors, Stream::new(seed, 1));
    let width = y.len() / n_items.max(1);
    to_rows(py, y, width)
}

/// Directions made orthonormal.
#[pyfunction]
#[pyo3(signature = (directions, num_threads=None))]
fn spectral_orthonormal<'py>(
    py: Python<'py>,
    directions: Rows<'py>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let width = directions.as_array().ncols();
    let y = directions.as_slice()?.to_vec();
    let y = enter(py, Size::Large, num_threads, |context| Ok(spectral::orthonormal(y, width, context)))?;
    to_rows(py, y, width)
}

/// Item vectors of the last directions and the users' products that they gave, float32 (n_items, factors).
#[pyfunction]
#[pyo3(signature = (directions, products, factors, seed, num_threads=None))]
fn spectral_finish<'py>(
    py: Python<'py>,
    directions: Rows<'py>,
    products: PyReadonlyArray1<'py, f64>,
    factors: usize,
    seed: u64,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let width = directions.as_array().ncols();
    let (y, gram) = (directions.as_slice()?, products.as_slice()?.to_vec());
    let vectors = enter(py, Size::Large, num_threads, |context| {
        Ok(spectral::finish_spread(y, gram, width, factors, Stream::new(seed, 1), context))
    })?;
    to_rows(py, vectors, factors)
}

/// One row for each source of item-item weights that have one for each target: its `neighbors` strongest.
#[pyfunction]
#[pyo3(signature = (by_target, n_items, neighbors, num_threads=None))]
fn strongest_of_sources<'py>(
    py: Python<'py>,
    by_target: CsrArrays<'py>,
    n_items: usize,
    neighbors: usize,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let by_target = to_csr(py, &by_target, n_items)?;
    let weights =
        enter(py, Size::Large, num_threads, |context| ridge::strongest_of_sources(&by_target, neighbors, context))?;
    Ok(from_csr(py, weights))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SoftmaxShard>()?;
    module.add_function(wrap_pyfunction!(softmax_slice, module)?)?;
    module.add_function(wrap_pyfunction!(softmax_passes_in, module)?)?;
    module.add_function(wrap_pyfunction!(softmax_random_start, module)?)?;
    module.add_function(wrap_pyfunction!(spectral_rounds, module)?)?;
    module.add_function(wrap_pyfunction!(spectral_begin, module)?)?;
    module.add_function(wrap_pyfunction!(spectral_orthonormal, module)?)?;
    module.add_function(wrap_pyfunction!(spectral_finish, module)?)?;
    module.add_function(wrap_pyfunction!(strongest_of_sources, module)?)
}
