//! The functions of the models: item-item weights, attention weights, user vectors, score scales.

use ancf_core::data::Csr;
use ancf_core::model::attention::{Attention, Prior, both_sides, propagate};
use ancf_core::model::ease::Ease;
use ancf_core::model::item_knn::{ItemKnn, Similarity};
use ancf_core::model::replaced_weights::{Solved, Trained};
use ancf_core::model::ridge::Ridge;
use ancf_core::model::slim::Slim;
use ancf_core::model::user_knn::{self, UserKnn};
use ancf_core::model::weighting::{Weigher, Weighting};
use ancf_core::model::{fold_in, score_scales as scales, spectral};
use ancf_core::runtime::simd::vector::{dot, ln, power, scale};
use ancf_core::train::network;
use ancf_core::{Error, Result};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_csr, to_rows};
use crate::enter::{LARGE, Size, enter, to_python};

/// Histories from which user vectors are made in the pool.
const MANY_HISTORIES: usize = 16;

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
        let size = if histories.n_rows() > MANY_HISTORIES { Size::Large } else { Size::Small };
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
        // A negative number becomes a position far out of range, which is refused.
        let users: Vec<u32> = users.as_slice()?.iter().map(|&user| user as u32).collect();
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

/// The item-item weights that point to some targets, by local ridge regression, one row for each of them (targets ×
/// `n_items`), before sources are cut to their strongest: bit for bit what `ridge_neighbors` solves for these.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, targets, *, candidates, shrinkage, user_power, source_power, l1=0.0,
                    num_threads=None))]
fn ridge_targets<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    targets: PyReadonlyArray1<'py, i32>,
    candidates: usize,
    shrinkage: f32,
    user_power: f32,
    source_power: f32,
    l1: f32,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let ridge = Ridge { candidates, shrinkage, l1, user_power, source_power, ..Ridge::default() };
    // A negative number becomes a position far out of range, which is refused.
    let targets: Vec<u32> = targets.as_slice()?.iter().map(|&target| target as u32).collect();
    let weights = enter(py, Size::Large, num_threads, |context| ridge.solve_targets(&interactions, &targets, context))?;
    Ok(from_csr(py, weights))
}

/// `ridge_targets` by each of some λ, as `ridge_neighbors` solves them.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, targets, *, candidates, shrinkages, user_power, source_power, l1=0.0,
                    num_threads=None))]
fn ridge_path<'py>(
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
    let targets: Vec<u32> = targets.as_slice()?.iter().map(|&target| target as u32).collect();
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
    // A number that is none becomes a position far out of range, which is refused.
    let users: Vec<u32> = users.as_slice()?.iter().map(|&user| u32::try_from(user).unwrap_or(u32::MAX)).collect();
    let items: Vec<u32> = items.as_slice()?.iter().map(|&item| item as u32).collect();
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
    let targets: Vec<u32> = targets.as_slice()?.iter().map(|&target| target as u32).collect();
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
    use rayon::prelude::*;
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let (items, item_priors) = (item_vectors.as_slice()?, item_priors.as_slice()?);
    if item_priors.len() != n_items {
        return Err(to_python(py, &Error::InvalidData(format!("{} priors for {n_items} items.", item_priors.len()))));
    }
    let size = if histories.n_rows() > MANY_HISTORIES { Size::Large } else { Size::Small };
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

/// Vectors (n, d) and a factor for each.
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
    let size = if histories.n_rows() > MANY_HISTORIES { Size::Large } else { Size::Small };
    let sums = enter(py, size, num_threads, |context| {
        let mut out = vec![0.0; histories.n_rows() * d];
        propagate(context, d, &histories, histories.values(), items, &mut out);
        Ok(out)
    })?;
    to_rows(py, sums, d)
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

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<UserNeighbors>()?;
    module.add_function(wrap_pyfunction!(item_neighbors, module)?)?;
    module.add_function(wrap_pyfunction!(recency_weights, module)?)?;
    module.add_function(wrap_pyfunction!(ease_weights, module)?)?;
    module.add_function(wrap_pyfunction!(slim_weights, module)?)?;
    module.add_function(wrap_pyfunction!(ridge_neighbors, module)?)?;
    module.add_function(wrap_pyfunction!(ridge_path, module)?)?;
    module.add_function(wrap_pyfunction!(common_users, module)?)?;
    module.add_function(wrap_pyfunction!(ridge_targets, module)?)?;
    module.add_function(wrap_pyfunction!(replace_targets, module)?)?;
    module.add_function(wrap_pyfunction!(user_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(sparse_history, module)?)?;
    module.add_function(wrap_pyfunction!(item_priors, module)?)?;
    module.add_function(wrap_pyfunction!(serving_vectors, module)?)?;
    module.add_function(wrap_pyfunction!(score_scales, module)?)?;
    module.add_function(wrap_pyfunction!(gram_parts, module)?)?;
    module.add_function(wrap_pyfunction!(gram_rows, module)?)?;
    module.add_function(wrap_pyfunction!(vector_mean_squares, module)?)?;
    module.add_function(wrap_pyfunction!(neighbor_mean_squares, module)?)?;
    module.add_function(wrap_pyfunction!(history_weights, module)?)?;
    module.add_function(wrap_pyfunction!(weighted_sums, module)?)?;
    module.add_function(wrap_pyfunction!(attention_weights, module)?)?;
    module.add_function(wrap_pyfunction!(item_logits, module)?)
}
