//! What items say about each other: nearest neighbors of items and of users, EASE, SLIM, local ridge regressions.

use ancf_core::data::Csr;
use ancf_core::model::ease::Ease;
use ancf_core::model::item_knn::{ItemKnn, Similarity};
use ancf_core::model::replaced_weights::{Solved, Trained};
use ancf_core::model::ridge::Ridge;
use ancf_core::model::slim::Slim;
use ancf_core::model::user_knn::{self, UserKnn};
use ancf_core::model::weighting::{Weigher, Weighting};
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_columns, to_csr, to_positions, to_rows};
use crate::enter::{Size, enter, to_python};
use crate::histories::size_for;

/// A measure of nearest neighbors by its public name: how entries are weighed, and what sums are divided by.
fn measure(weighting: &str) -> Result<(Weighting, Similarity)> {
    Ok(match weighting {
        "cosine" => (Weighting::None, Similarity::Powers),
        "jaccard" => (Weighting::None, Similarity::Jaccard),
        "pearson" => (Weighting::None, Similarity::Pearson),
        "tfidf" => (Weighting::TfIdf, Similarity::Powers),
        "bm25" => (Weighting::Bm25, Similarity::Powers),
        other => return Err(Error::InvalidParameter(format!("weighting is {other:?}; no such measure is known."))),
    })
}

/// The `k` strongest targets i of every source item j, or with `cut_by_target` the `k` strongest sources of every target,
/// as (indptr, items rising within a row, values), a row for each source: `c_ji` = `P_ji` / (`D_j^source_power` ·
/// `D_i^target_power` + shrinkage), `P_ji` = Σ_u `w_uj` `w_ui` / `D_u^user_power`, D = Σ w². `weighting` is cosine,
/// jaccard, pearson, tfidf or bm25.
#[pyfunction]
#[pyo3(signature = (indptr, indices, values, n_items, k, *, weighting="cosine", user_power=0.0, source_power=0.5,
                    target_power=0.5, shrinkage=0.0, keep_diagonal=false, cut_by_target=false, num_threads=None))]
fn item_neighbors<'py>(
    py: Python<'py>,
    indptr: PyReadonlyArray1<'py, i64>,
    indices: PyReadonlyArray1<'py, i32>,
    values: PyReadonlyArray1<'py, f32>,
    n_items: usize,
    k: usize,
    weighting: &str,
    user_power: f32,
    source_power: f32,
    target_power: f32,
    shrinkage: f32,
    keep_diagonal: bool,
    cut_by_target: bool,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let arrays: CsrArrays<'py> = (indptr, indices, values);
    let interactions = to_csr(py, &arrays, n_items)?;
    let (weighting, similarity) = measure(weighting).map_err(|e| to_python(py, &e))?;
    let options = ItemKnn {
        neighbors: k,
        similarity,
        user_power,
        source_power,
        target_power,
        shrinkage,
        keep_diagonal,
        cut_by_target,
    };
    let rows = enter(py, Size::Large, num_threads, |context| {
        if weighting == Weighting::None {
            return options.fit(&interactions, context);
        }
        // A document is an item, its terms are the users.
        let documents = interactions.transpose();
        options.fit(&Weigher::new(weighting, &documents)?.weigh(&documents)?.transpose(), context)
    })?;
    Ok(from_csr(py, rows))
}

/// The users of a training table, ready to be compared with histories.
#[pyclass(frozen, module = "ancf._core")]
pub struct UserNeighbors {
    users: user_knn::UserNeighbors,
    n_items: usize,
}

#[pymethods]
impl UserNeighbors {
    /// `interactions` (indptr, indices, values) of users × items; `weighting` is cosine, jaccard, tfidf or bm25.
    #[new]
    #[pyo3(signature = (interactions, n_items, k, *, weighting, shrinkage))]
    fn new<'py>(
        py: Python<'py>,
        interactions: CsrArrays<'py>,
        n_items: usize,
        k: usize,
        weighting: &str,
        shrinkage: f32,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let (weighting, similarity) = measure(weighting).map_err(|e| to_python(py, &e))?;
        let options = UserKnn { neighbors: k, similarity, weighting, shrinkage };
        let users = enter(py, Size::Large, Some(1), |_| user_knn::UserNeighbors::new(options, &interactions))?;
        Ok(Self { users, n_items })
    }

    /// The nearest users of each history: (indptr, users rising within a row, similarities).
    #[pyo3(signature = (histories, num_threads=None))]
    fn of<'py>(
        &self,
        py: Python<'py>,
        histories: CsrArrays<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<CsrResult<'py>> {
        let histories = to_csr(py, &histories, self.n_items)?;
        let size = size_for(histories.n_rows());
        let found = enter(py, size, num_threads, |context| self.users.of(&histories, context))?;
        Ok(from_csr(py, found))
    }

    /// What each item of one history adds to the scores that its neighbors `users` give, float64 (items,).
    fn contributions<'py>(
        &self,
        py: Python<'py>,
        items: PyReadonlyArray1<'py, i32>,
        weights: PyReadonlyArray1<'py, f32>,
        users: PyReadonlyArray1<'py, i32>,
        scores: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (items, weights) = (items.as_slice()?, weights.as_slice()?);
        let users = to_columns(&users)?;
        let scores = scores.as_slice()?;
        let added = enter(py, Size::Small, None, |_| {
            let columns = items.iter().map(|&item| item as u32).collect();
            let history = Csr::new(vec![0, items.len()], columns, weights.to_vec(), self.n_items)?;
            self.users.contributions(&history, &users, scores)
        })?;
        Ok(added.into_pyarray(py))
    }
}

/// EASE: B row by row, float32 (`n_items`, `n_items`); row j is what a purchase of j adds to each item.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, *, regularization, num_threads=None))]
fn ease_weights<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    regularization: f64,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let weights = enter(py, Size::Large, num_threads, |context| Ease { regularization }.fit(&interactions, context))?;
    to_rows(py, weights, n_items)
}

/// SLIM: sparse item-item weights by an elastic net for each target, as (indptr, indices, values), a row for each source.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, *, l1, l2, positive, max_iterations, tolerance, num_threads=None))]
fn slim_weights<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    l1: f64,
    l2: f64,
    positive: bool,
    max_iterations: usize,
    tolerance: f64,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let slim = Slim { l1, l2, positive, max_iterations, tolerance };
    let weights = enter(py, Size::Large, num_threads, |context| slim.fit(&interactions, context))?;
    Ok(from_csr(py, weights))
}

/// Sparse item-item weights by local ridge regression, by each of some λ; with an l1 each goes on from the weights of the
/// last one.
///
/// `interactions`: (indptr i64, indices i32, values f32) of users × items, of which the values are ignored.
/// Returns the weights as (indptr, indices, values), one row for each source item.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, *, candidates, neighbors, shrinkages, user_power, source_power, l1=0.0,
                    num_threads=None))]
fn ridge_neighbors<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    candidates: usize,
    neighbors: usize,
    shrinkages: Vec<f32>,
    user_power: f32,
    source_power: f32,
    l1: f32,
    num_threads: Option<usize>,
) -> PyResult<Vec<CsrResult<'py>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let ridge = Ridge { candidates, neighbors, l1, user_power, source_power, ..Ridge::default() };
    let found = enter(py, Size::Large, num_threads, |context| ridge.fit_path(&interactions, &shrinkages, context))?;
    Ok(found.into_iter().map(|weights| from_csr(py, weights)).collect())
}

/// The item-item weights that point to some targets, by each of some λ, one row for each target (targets × `n_items`), before
/// sources are cut to their strongest: bit for bit what `ridge_neighbors` solves for these.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, targets, *, candidates, shrinkages, user_power, source_power, l1=0.0,
                    num_threads=None))]
fn ridge_targets<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    targets: PyReadonlyArray1<'py, i32>,
    candidates: usize,
    shrinkages: Vec<f32>,
    user_power: f32,
    source_power: f32,
    l1: f32,
    num_threads: Option<usize>,
) -> PyResult<Vec<CsrResult<'py>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let ridge = Ridge { candidates, l1, user_power, source_power, ..Ridge::default() };
    let targets = to_columns(&targets)?;
    let found =
        enter(py, Size::Large, num_threads, |context| ridge.solve_path(&interactions, &targets, &shrinkages, context))?;
    Ok(found.into_iter().map(|weights| from_csr(py, weights)).collect())
}

/// For each of `users`, and each item of theirs, how many users have that item and the user's of `items`.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, users, items, num_threads=None))]
fn common_users<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    users: PyReadonlyArray1<'py, i64>,
    items: PyReadonlyArray1<'py, i32>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let (users, items) = (to_positions(&users)?, to_columns(&items)?);
    let found = enter(py, Size::Large, num_threads, |context| {
        ancf_core::data::common_users::common_users(&interactions, &users, &items, context)
    })?;
    Ok(found.into_pyarray(py))
}

/// The item-item weights of a training with those that point to `targets` replaced by `solved` (targets × items) times
/// `scale`, and the weights of the training that these cover up; both with one row for each source.
///
/// `weights` and `covered` are those of the last time, and `is_valid` says to which items the former are of the training.
/// `places` says where these items are among the new ones, -1 where they are gone. A source keeps those of `solved` that
/// are at least its threshold; a new one, `is_new`, its `k` strongest.
#[pyfunction]
#[pyo3(signature = (weights, is_valid, covered, places, *, targets, solved, scale, thresholds, is_new, k,
                    num_threads=None))]
fn replace_targets<'py>(
    py: Python<'py>,
    weights: CsrArrays<'py>,
    is_valid: PyReadonlyArray1<'py, bool>,
    covered: CsrArrays<'py>,
    places: PyReadonlyArray1<'py, i64>,
    targets: PyReadonlyArray1<'py, i32>,
    solved: CsrArrays<'py>,
    scale: f32,
    thresholds: PyReadonlyArray1<'py, f32>,
    is_new: PyReadonlyArray1<'py, bool>,
    k: usize,
    num_threads: Option<usize>,
) -> PyResult<(CsrResult<'py>, CsrResult<'py>)> {
    let places: Vec<Option<u32>> = places.as_slice()?.iter().map(|&place| u32::try_from(place).ok()).collect();
    let thresholds = thresholds.as_slice()?.iter().zip(is_new.as_slice()?);
    let thresholds: Vec<Option<f32>> = thresholds.map(|(&least, &new)| (!new).then_some(least)).collect();
    let targets = to_columns(&targets)?;
    let is_valid = is_valid.as_slice()?.to_vec();
    let weights = to_csr(py, &weights, places.len())?;
    let covered = to_csr(py, &covered, places.len())?;
    let solved = to_csr(py, &solved, thresholds.len())?;
    let (served, covered) = enter(py, Size::Large, num_threads, |context| {
        let trained = Trained { weights: &weights, is_valid: &is_valid, covered: &covered, places: &places };
        trained.with(&Solved { targets: &targets, weights: &solved, scale, thresholds: &thresholds, k }, context)
    })?;
    Ok((from_csr(py, served), from_csr(py, covered)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<UserNeighbors>()?;
    module.add_function(wrap_pyfunction!(item_neighbors, module)?)?;
    module.add_function(wrap_pyfunction!(ease_weights, module)?)?;
    module.add_function(wrap_pyfunction!(slim_weights, module)?)?;
    module.add_function(wrap_pyfunction!(ridge_neighbors, module)?)?;
    module.add_function(wrap_pyfunction!(ridge_targets, module)?)?;
    module.add_function(wrap_pyfunction!(common_users, module)?)?;
    module.add_function(wrap_pyfunction!(replace_targets, module)?)
}
