//! The network over positions, one step at a time or trained by epochs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ancf_core::model::attention::Prior;
use ancf_core::runtime::Context;
use ancf_core::runtime::pool::requested_num_threads;
use ancf_core::runtime::simd::Level;
use ancf_core::train::network::{
    self, AttentionKind, Batch, Head, Loss, Optimizer, Options, Parameters, PredictionCost, Table, TrainingOptions,
};
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, to_csr, to_positions, to_rows};
use crate::enter::{Size, enter, enter_inline, to_python};
use crate::progress::{Progress, progress, resume};

/// The model's options by the names of `ancf.ANCFModel`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own, by its public name")]
pub struct NetworkOptions {
    embedding_dim: usize,
    attention: String,
    attention_exponent: f32,
    item_attention: bool,
    user_factors: bool,
    use_weights: bool,
    half_life: Option<f32>,
    factor_attention: bool,
    similarity: String,
    output: String,
    layer: String,
    biases: bool,
    loss: String,
    temperature: f32,
    optimizer: String,
    learning_rate: f32,
    regularization: f32,
    init_scale: f32,
    seed: u64,
}

fn parse_choice<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T> {
    choices.iter().find(|(word, _)| *word == value).map(|&(_, choice)| choice).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        Error::InvalidParameter(format!("{name} is {value:?}; it must be one of {}.", words.join(", ")))
    })
}

impl NetworkOptions {
    fn options(&self) -> Result<Options> {
        let both = "factor_attention and attention=\"batch\" both weigh the product; choose one.";
        let head = match (self.factor_attention, self.attention == "batch", self.layer == "concat") {
            (true, true, _) => return Err(Error::InvalidParameter(both.into())),
            (true, _, true) | (_, true, true) => {
                return Err(Error::InvalidParameter(
                    "layer=\"concat\" has no product that attention could weigh; take layer=\"product\".".into(),
                ));
            }
            (true, ..) => Head::Factor,
            (_, true, _) => Head::Batch,
            (.., true) => Head::Concat,
            _ => Head::Product,
        };
        parse_choice("layer", &self.layer, &[("product", ()), ("concat", ())])?;
        Ok(Options {
            factors: self.embedding_dim,
            attention_kind: parse_choice(
                "attention",
                &self.attention,
                &[
                    ("none", AttentionKind::None),
                    ("batch", AttentionKind::None),
                    ("mean", AttentionKind::Fixed(Prior::Mean)),
                    ("degree", AttentionKind::Fixed(Prior::Degree)),
                    ("learned", AttentionKind::Learned),
                    ("target", AttentionKind::Target),
                ],
            )?,
            attention_exponent: self.attention_exponent,
            item_attention: self.item_attention,
            user_factors: self.user_factors,
            head,
            cosine: parse_choice("similarity", &self.similarity, &[("product", false), ("cosine", true)])?,
            sigmoid: parse_choice("output", &self.output, &[("linear", false), ("sigmoid", true)])?,
            biases: self.biases,
            loss: parse_choice(
                "loss",
                &self.loss,
                &[("mse", Loss::Mse), ("bce", Loss::Bce), ("bpr", Loss::Bpr), ("softmax", Loss::Softmax)],
            )?,
            temperature: self.temperature,
            optimizer: parse_choice(
                "optimizer",
                &self.optimizer,
                &[("sgd", Optimizer::Sgd), ("adagrad", Optimizer::Adagrad), ("adam", Optimizer::Adam)],
            )?,
            learning_rate: self.learning_rate,
            regularization: self.regularization,
            half_life: self.half_life,
            init_scale: self.init_scale,
            seed: self.seed,
        })
    }

    fn network(
        &self,
        py: Python<'_>,
        history: &CsrArrays<'_>,
        n_items: usize,
        ages: Option<&[f32]>,
    ) -> PyResult<network::Network> {
        let history = to_csr(py, history, n_items)?;
        self.options()
            .and_then(|options| network::Network::new(&history, self.use_weights, ages.map(<[f32]>::to_vec), options))
            .map_err(|e| to_python(py, &e))
    }
}

type Positions<'py> = PyReadonlyArray1<'py, i64>;
type Numbers<'py> = PyReadonlyArray1<'py, f32>;

/// The positions of a contiguous int64 array, if that is what it is and all are below `n`.
fn positions_in_range(array: &Bound<'_, PyAny>, n: usize) -> Option<Vec<u32>> {
    let array = array.cast::<PyArray1<i64>>().ok()?.try_readonly().ok()?;
    let given = array.as_slice().ok()?;
    // A negative position is a large one here; without an early exit the whole pass is widened.
    let highest = given.iter().fold(0, |highest, &at| highest.max(at as u64));
    (highest < n as u64).then(|| given.iter().map(|&at| at as u32).collect())
}

/// Multiply-adds up to which a call need not watch for Ctrl-C: 10 to 20 ms without vector instructions.
const MAX_UNWATCHED_COST: usize = 1 << 24;

fn size_of_batch(n: usize) -> Size {
    if n > 256 { Size::Large } else { Size::Small }
}

fn to_shape<'py>(py: Python<'py>, table: &Table, values: Vec<f32>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match values.len().checked_div(table.columns) {
        None => values.into_pyarray(py).into_any(),
        Some(rows) => values.into_pyarray(py).reshape([rows, table.columns])?.into_any(),
    })
}

fn by_name<'py>(
    py: Python<'py>,
    parameters: &Parameters,
    of: impl Fn(&Table) -> Vec<f32>,
) -> PyResult<Bound<'py, PyDict>> {
    let dictionary = PyDict::new(py);
    for table in parameters.tables() {
        dictionary.set_item(table.name, to_shape(py, table, of(table))?)?;
    }
    Ok(dictionary)
}

/// The model over positions; see `ancf.ANCFModel`.
#[pyclass(frozen, module = "ancf._core")]
pub struct Network {
    model: Mutex<network::Network>,
    loss: Loss,
    n_users: usize,
    n_items: usize,
    /// The work of a prediction, known without waiting for a step that another thread may be taking.
    work: PredictionCost,
    level: Level,
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, network::Network> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scores<'py>(
        &self,
        py: Python<'py>,
        users: &[u32],
        items: &[u32],
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let found = match self.model.try_lock() {
            // What takes microseconds does not wait for a pool and keeps the GIL, unless a step is being taken.
            Ok(mut model) if self.work.is_one_task(users.len()) => enter_inline(py, || {
                requested_num_threads(num_threads)?;
                model.predictions(users, items, &Context::single_threaded(self.level))
            })?,
            free => {
                drop(free);
                let size = if self.work.total(users.len()) < MAX_UNWATCHED_COST { Size::Short } else { Size::Large };
                enter(py, size, num_threads, |context| self.lock().predictions(users, items, context))?
            }
        };
        Ok(PyArray1::from_slice(py, &found))
    }

    fn input(
        &self,
        users: &Positions<'_>,
        items: &Positions<'_>,
        targets: Option<Numbers<'_>>,
        negatives: Option<Positions<'_>>,
        log_weights: Option<Numbers<'_>>,
    ) -> PyResult<Batch> {
        let (users, items) = (to_positions(users)?, to_positions(items)?);
        let negatives = negatives.as_ref().map(to_positions).transpose()?.unwrap_or_default();
        let numbers = |array: Option<Numbers<'_>>| -> PyResult<Vec<f32>> {
            Ok(array.map(|array| array.as_slice().map(<[f32]>::to_vec)).transpose()?.unwrap_or_default())
        };
        let (targets, log_weights) = (numbers(targets)?, numbers(log_weights)?);
        if self.loss != Loss::Bpr || users.is_empty() || users.len() != items.len() {
            return Ok(Batch { users, items, targets, group: 1, negatives, log_weights });
        }
        let n = negatives.len() / users.len();
        let mut grouped = Batch { targets, group: 1 + n, log_weights, ..Batch::default() };
        for (at, (&user, &item)) in users.iter().zip(&items).enumerate() {
            grouped.users.resize(grouped.users.len() + 1 + n, user);
            grouped.items.push(item);
            grouped.items.extend_from_slice(&negatives[at * n..(at + 1) * n]);
        }
        Ok(grouped)
    }
}

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (history, n_items, options, *, ages=None))]
    fn new(
        py: Python<'_>,
        history: CsrArrays<'_>,
        n_items: usize,
        options: NetworkOptions,
        ages: Option<Numbers<'_>>,
    ) -> PyResult<Self> {
        let ages = ages.as_ref().map(|ages| ages.as_slice()).transpose()?;
        let model = options.network(py, &history, n_items, ages)?;
        let (loss, work, n_users) = (model.options().loss, model.prediction_cost(), history.0.as_slice()?.len() - 1);
        let level = Level::detect().map_err(|e| to_python(py, &e))?;
        Ok(Self { model: Mutex::new(model), loss, n_users, n_items, work, level })
    }

    /// Copies of all parameters by name.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        by_name(py, &self.lock().parameters, |table| table.values.to_vec())
    }

    /// Replaces the numbers of one parameter.
    fn set_parameter(&self, py: Python<'_>, name: &str, values: Numbers<'_>) -> PyResult<()> {
        let values = values.as_slice()?;
        self.lock().parameters.set(name, values).map_err(|e| to_python(py, &e))
    }

    /// Predictions of pairs, float32 (n,).
    #[pyo3(signature = (users, items, num_threads=None))]
    fn forward<'py>(
        &self,
        py: Python<'py>,
        users: Positions<'py>,
        items: Positions<'py>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        self.scores(py, &to_positions(&users)?, &to_positions(&items)?, num_threads)
    }

    /// The same for two contiguous int64 arrays of equal length, all positions in range. Anything else gives None, and the
    /// caller finds out what is wrong.
    #[pyo3(signature = (users, items, num_threads=None))]
    fn forward_if_ready<'py>(
        &self,
        py: Python<'py>,
        users: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        num_threads: Option<usize>,
    ) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        match (positions_in_range(users, self.n_users), positions_in_range(items, self.n_items)) {
            (Some(users), Some(items)) if users.len() == items.len() => {
                self.scores(py, &users, &items, num_threads).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The mean loss of a batch, and its gradient by every parameter.
    #[pyo3(signature = (users, items, targets=None, negatives=None, log_weights=None, num_threads=None))]
    fn backward<'py>(
        &self,
        py: Python<'py>,
        users: Positions<'py>,
        items: Positions<'py>,
        targets: Option<Numbers<'py>>,
        negatives: Option<Positions<'py>>,
        log_weights: Option<Numbers<'py>>,
        num_threads: Option<usize>,
    ) -> PyResult<(f64, Bound<'py, PyDict>)> {
        let input = self.input(&users, &items, targets, negatives, log_weights)?;
        let loss =
            enter(py, size_of_batch(input.users.len()), num_threads, |context| self.lock().gradient(&input, context))?;
        Ok((loss, by_name(py, &self.lock().parameters, Table::dense_gradient)?))
    }

    /// One step of the optimizer; the mean loss before it.
    #[pyo3(signature = (users, items, targets=None, negatives=None, log_weights=None, num_threads=None))]
    fn step<'py>(
        &self,
        py: Python<'py>,
        users: Positions<'py>,
        items: Positions<'py>,
        targets: Option<Numbers<'py>>,
        negatives: Option<Positions<'py>>,
        log_weights: Option<Numbers<'py>>,
        num_threads: Option<usize>,
    ) -> PyResult<f64> {
        let input = self.input(&users, &items, targets, negatives, log_weights)?;
        enter(py, size_of_batch(input.users.len()), num_threads, |context| self.lock().step(&input, context))
    }
}

/// Item vectors, user vectors, attention weights of all entries.
type ServingVectors<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// The model with the pairs that it learns from; see `ancf.ANCF`.
#[pyclass(frozen, module = "ancf._core")]
pub struct NetworkTrainer {
    training: Mutex<network::Trainer>,
    factors: usize,
    n_items: usize,
}

impl NetworkTrainer {
    fn lock(&self) -> MutexGuard<'_, network::Trainer> {
        self.training.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NetworkTrainer {
    #[new]
    #[pyo3(signature = (pairs, n_items, options, *, weights=None, ages=None, decay_epochs, batch_size, negatives, negative_exponent, user_dropout, spectral_start, num_threads=None))]
    fn new(
        py: Python<'_>,
        pairs: CsrArrays<'_>,
        n_items: usize,
        options: NetworkOptions,
        weights: Option<Numbers<'_>>,
        ages: Option<Numbers<'_>>,
        decay_epochs: Option<usize>,
        batch_size: usize,
        negatives: usize,
        negative_exponent: f32,
        user_dropout: f32,
        spectral_start: bool,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let ages = ages.as_ref().map(|ages| ages.as_slice()).transpose()?;
        let targets = to_csr(py, &pairs, n_items)?;
        let history = (pairs.0, pairs.1, weights.unwrap_or(pairs.2));
        let mut model = options.network(py, &history, n_items, ages)?;
        let schedule = TrainingOptions { decay_epochs, batch_size, negatives, negative_exponent, user_dropout };
        let factors = options.embedding_dim;
        let training = enter(py, Size::Large, num_threads, |context| {
            if spectral_start {
                model.spectral_start(&targets, context)?;
            }
            network::Trainer::new(model, targets, schedule)
        })?;
        Ok(Self { training: Mutex::new(training), factors, n_items })
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.training, num_threads)
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
        resume(py, &self.training, &numbers, steps, num_threads)
    }

    /// One pass over all pairs; the mean loss.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| self.lock().epoch(epoch, context))
    }

    /// The mean loss of held-out pairs (indptr, items, targets).
    #[pyo3(signature = (targets, num_threads=None))]
    fn validation_loss(&self, py: Python<'_>, targets: CsrArrays<'_>, num_threads: Option<usize>) -> PyResult<f64> {
        let targets = to_csr(py, &targets, self.n_items)?;
        enter(py, Size::Large, num_threads, |context| self.lock().validation_loss(&targets, context))
    }

    /// Copies of all parameters by name.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        by_name(py, &self.lock().network.parameters, |table| table.values.to_vec())
    }

    /// Item vectors (n_items, d) as they stand.
    #[pyo3(signature = (num_threads=None))]
    fn item_vectors<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let items = enter(py, Size::Large, num_threads, |context| Ok(self.lock().network.item_vectors(context)))?;
        to_rows(py, items, self.factors)
    }

    /// Item vectors (n_items, d), user vectors (n_users, d), and the attention weight of every entry.
    #[pyo3(signature = (num_threads=None))]
    fn vectors<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<ServingVectors<'py>> {
        let (items, users, weights) =
            enter(py, Size::Large, num_threads, |context| Ok(self.lock().network.vectors(context)))?;
        Ok((to_rows(py, items, self.factors)?, to_rows(py, users, self.factors)?, weights.into_pyarray(py)))
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Network>()?;
    module.add_class::<NetworkTrainer>()
}
