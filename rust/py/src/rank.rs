//! `_core.Ranker`: the one scorer of a model.

use ancf_core::Error;
use ancf_core::model::fold_in::{Attention, History};
use ancf_core::rank::{self, ByRules, Filters, Plan, Users};
use ancf_core::runtime::simd::Level;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};

use crate::convert::{CsrArrays, LayerArrays, to_csr, to_layers};
use crate::enter::{Size, enter, enter_inline, to_python, with_table};
use crate::file_bytes::Given;
use crate::freed_beside::FreedBeside;
use crate::heads::{self, GivenHead};
use crate::ids::IdIndex;
use crate::lists::{ListResult, ListsResult, to_arrays, to_list, to_vectors};
use crate::rules::{ListRules, unit_vectors};
use crate::sets::{SetArrays, to_sets};

/// Below so many multiplications a hand-off to the pool costs more than the work.
const MAX_INLINE_COST: usize = 4_000_000;

/// Lists and multiplications up to which a call need not watch for Ctrl-C: milliseconds, and 15 where all is scored without
/// vector instructions.
const FEW_ROWS: usize = 64;
const MAX_UNWATCHED_COST: usize = 1 << 28;

/// Scores and exact top-N over item vectors (n_items, d), float32.
///
/// `neighbors`: (indptr, items, values), row j what history item j adds to others; more rows than items are sources that
/// histories may name beside the items; or `dense_neighbors` (n_items, n_items), the same for all items.
///
/// `head`: "inner", "factor_attention" with `sharpness` (d,), or "target_attention" with `keys` and `queries` (n_items,
/// d_keys), `item_logits` (n_items,) and `attention_exponent`; the latter two may have an `item_bias` (n_items,); or "layers"
/// with `layers`: how many factors are multiplied, the widths of the layers, and their numbers, see
/// `ancf_core::model::layers`. Target attention reads the values of the users' histories as additions to the logits. Weights
/// of an output layer over p · q (GMF) belong in the item vectors, and a bias of an inner product is one more factor.
/// `link`: "identity" or "sigmoid", the last step of every score that comes out; with the users' `shift` it is applied after
/// the lists are in order.
#[pyclass(module = "ancf._core")]
pub struct Ranker {
    ranker: FreedBeside,
    level: Level,
}

#[pymethods]
impl Ranker {
    #[new]
    #[pyo3(signature = (item_vectors, *, neighbors=None, dense_neighbors=None, head="inner", sharpness=None, item_bias=None, keys=None, queries=None, item_logits=None, attention_exponent=None, layers=None, link="identity"))]
    fn new(
        py: Python<'_>,
        item_vectors: PyReadonlyArray2<'_, f32>,
        neighbors: Option<CsrArrays<'_>>,
        dense_neighbors: Option<PyReadonlyArray2<'_, f32>>,
        head: &str,
        sharpness: Option<PyReadonlyArray1<'_, f32>>,
        item_bias: Option<PyReadonlyArray1<'_, f32>>,
        keys: Option<PyReadonlyArray2<'_, f32>>,
        queries: Option<PyReadonlyArray2<'_, f32>>,
        item_logits: Option<PyReadonlyArray1<'_, f32>>,
        attention_exponent: Option<f32>,
        layers: Option<LayerArrays<'_>>,
        link: &str,
    ) -> PyResult<Self> {
        let (n_items, d) = (item_vectors.shape()[0], item_vectors.shape()[1]);
        let neighbors = neighbors.map(|rows| to_csr(py, &rows, n_items)).transpose()?;
        let dense = match &dense_neighbors {
            Some(_) if neighbors.is_some() => {
                let message = "neighbors and dense_neighbors are given; a model has one of them.".into();
                return Err(to_python(py, &Error::InvalidParameter(message)));
            }
            Some(weights) => Some(with_table(py, values(py, weights, "neighbors")?, Ok)?),
            None => None,
        };
        let owned = |numbers: Option<PyReadonlyArray1<'_, f32>>| -> PyResult<_> {
            Ok(numbers.map(|numbers| numbers.as_slice().map(<[f32]>::to_vec)).transpose()?)
        };
        let table = |table: Option<PyReadonlyArray2<'_, f32>>, name| {
            let owned = |table: PyReadonlyArray2<'_, f32>| -> PyResult<_> {
                Ok((
                    [table.shape()[0], table.shape()[1]],
                    values(py, &table, name)?.into_numbers(|value| value).into_vec(),
                ))
            };
            table.map(owned).transpose()
        };
        let given = GivenHead {
            sharpness: owned(sharpness)?,
            bias: owned(item_bias)?,
            keys: table(keys, "keys")?,
            queries: table(queries, "queries")?,
            logits: owned(item_logits)?,
            exponent: attention_exponent,
            layers: layers.map(|arrays| to_layers(py, &arrays)).transpose()?,
        };
        with_table(py, values(py, &item_vectors, "item vectors")?, |vectors| {
            if given.bias.as_ref().is_some_and(Vec::is_empty) && n_items > 0 {
                return Err(Error::InvalidData(format!("item_bias is empty; there are {n_items} items.")));
            }
            let (head, link) = (given.head(head)?, heads::link(link)?);
            let level = Level::detect()?;
            let ranker = rank::Ranker::new(vectors, n_items, d, neighbors, head)?.with_link(link);
            let ranker = match dense {
                Some(weights) => ranker.with_dense_neighbors(weights)?,
                None => ranker,
            };
            Ok(Self { ranker: FreedBeside::new(ranker), level })
        })
    }

    /// Sets the users of the training table: vectors (n_users, d), weighted histories for the sparse part, what each has
    /// seen, and what is added to the scores of each that come out (n_users,).
    #[pyo3(signature = (user_vectors, history=None, seen=None, shift=None))]
    fn set_users(
        &mut self,
        py: Python<'_>,
        user_vectors: PyReadonlyArray2<'_, f32>,
        history: Option<CsrArrays<'_>>,
        seen: Option<SetArrays<'_>>,
        shift: Option<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<()> {
        let users = self.new_users(py, &user_vectors, history, seen, shift)?;
        self.ranker.set_users(users);
        Ok(())
    }

    /// The n best items of users by position (None: everyone), as (items (m, width), scores (m, width), counts (m,)).
    /// `finish=False` leaves out the last step of the scores, for `ListRules`; `finish` takes it.
    #[pyo3(signature = (users, n, *, filter_seen=true, allow=None, allow_each=None, deny=None, num_threads=None, plan=None, finish=true))]
    fn top_n<'py>(
        &self,
        py: Python<'py>,
        users: Option<PyReadonlyArray1<'py, i64>>,
        n: usize,
        filter_seen: bool,
        allow: Option<PyReadonlyArray1<'py, u8>>,
        allow_each: Option<SetArrays<'py>>,
        deny: Option<PyReadonlyArray1<'py, i64>>,
        num_threads: Option<usize>,
        plan: Option<&str>,
        finish: bool,
    ) -> PyResult<ListsResult<'py>> {
        let plan = to_plan(py, plan)?;
        let filters = self.filters(py, allow, allow_each, deny)?;
        let users = users.map(|users| positions(py, &users, self.ranker.n_users(), "user")).transpose()?;
        let m = users.as_ref().map_or(self.ranker.n_users(), Vec::len);
        let lists = enter(py, self.size(m), num_threads, |context| {
            if finish {
                self.ranker.top_n(users.as_deref(), n, filter_seen, &filters, plan, context)
            } else {
                self.ranker.rank(users.as_deref(), n, filter_seen, &filters, context)
            }
        })?;
        to_arrays(py, lists)
    }

    /// The n best items of one user, on this thread: (items (c,), scores (c,)).
    fn top_n_one<'py>(&self, py: Python<'py>, user: usize, n: usize, filter_seen: bool) -> PyResult<ListResult<'py>> {
        enter_inline(py, || {
            self.ranker.top_n_one(user, n, filter_seen, self.level, |keys, output| to_list(py, keys, output))
        })
    }

    /// The same for the user with an id; None for an unknown one, and where the arguments are of other types than text or a
    /// whole number, a whole number above 0, and a bool: somebody else has to look at them.
    fn top_n_of_id<'py>(
        &self,
        py: Python<'py>,
        user_ids: &Bound<'py, IdIndex>,
        user_id: &Bound<'py, PyAny>,
        n: &Bound<'py, PyAny>,
        filter_seen: &Bound<'py, PyAny>,
    ) -> PyResult<Option<ListResult<'py>>> {
        let is_plain = (user_id.is_exact_instance_of::<PyString>() || user_id.is_exact_instance_of::<PyInt>())
            && n.is_exact_instance_of::<PyInt>();
        let (true, Ok(filter_seen)) = (is_plain, filter_seen.cast::<PyBool>()) else { return Ok(None) };
        let Some(n) = n.extract::<usize>().ok().filter(|&n| n > 0) else { return Ok(None) };
        let Ok(user) = usize::try_from(user_ids.get().find(user_id)?) else { return Ok(None) };
        self.top_n_one(py, user, n, filter_seen.is_true()).map(Some)
    }

    /// The same for one user outside the training table, whose items (rising positions) weigh 1 or their `weights`, or with
    /// attention `priors` (n_items,) what they weigh when they are folded in: by their `times` in seconds and the half-lives
    /// in days of the item-item weights and of repetitions. With `filter_seen` the list leaves out the history, or only
    /// what of it they `had`.
    #[pyo3(signature = (history, n, filter_seen, priors=None, *, weights=None, times=None, half_lives=(None, None), had=None))]
    fn top_n_for_items<'py>(
        &self,
        py: Python<'py>,
        history: Vec<u32>,
        n: usize,
        filter_seen: bool,
        priors: Option<PyReadonlyArray1<'py, f32>>,
        weights: Option<Vec<f32>>,
        times: Option<Vec<i64>>,
        half_lives: (Option<f64>, Option<f64>),
        had: Option<Vec<u32>>,
    ) -> PyResult<ListResult<'py>> {
        let (half_life, repeat_half_life) = half_lives;
        let attention = match &priors {
            Some(priors) => Some(Attention { priors: priors.as_slice()?, half_life, repeat_half_life }),
            None => None,
        };
        let had = if filter_seen { had.as_deref().unwrap_or(&history) } else { &[] };
        let history = History { items: &history, weights: weights.as_deref(), times: times.as_deref() };
        let find = || {
            self.ranker.top_n_for_items(&history, attention.as_ref(), had, n, self.level, |keys, output| {
                to_vectors(keys, output)
            })
        };
        let (items, scores) = if self.size(1) == Size::Small {
            enter_inline(py, find)?
        } else {
            enter(py, Size::Short, Some(1), |_| find())?
        };
        Ok((PyArray1::from_slice(py, &items), PyArray1::from_slice(py, &scores)))
    }

    /// As `top_n`, for users outside the training table: vectors (m, d), histories, and what each list leaves out.
    #[pyo3(signature = (vectors, history, exclude, n, *, allow=None, allow_each=None, deny=None, shift=None, num_threads=None, plan=None, finish=true))]
    fn top_n_for<'py>(
        &self,
        py: Python<'py>,
        vectors: PyReadonlyArray2<'py, f32>,
        history: Option<CsrArrays<'py>>,
        exclude: Option<SetArrays<'py>>,
        n: usize,
        allow: Option<PyReadonlyArray1<'py, u8>>,
        allow_each: Option<SetArrays<'py>>,
        deny: Option<PyReadonlyArray1<'py, i64>>,
        shift: Option<PyReadonlyArray1<'py, f32>>,
        num_threads: Option<usize>,
        plan: Option<&str>,
        finish: bool,
    ) -> PyResult<ListsResult<'py>> {
        let plan = to_plan(py, plan)?;
        let filters = self.filters(py, allow, allow_each, deny)?;
        let users = self.new_users(py, &vectors, history, exclude, shift)?;
        let size = self.size(vectors.shape()[0]);
        let lists = enter(py, size, num_threads, |context| {
            if finish {
                self.ranker.top_n_for(&users, n, &filters, plan, context)
            } else {
                self.ranker.rank_for(&users, n, &filters, context)
            }
        })?;
        to_arrays(py, lists)
    }

    /// The best lists of n items that obey rules, as `top_n(finish=False)` gives them, with factors from 0 to 1 for some items of
    /// each user, and unit `vectors` of the items where diversity compares them. None where rankings have to be asked for one
    /// by one, for `ListRules.arrange`.
    #[pyo3(signature = (users, n, rules, *, faded=None, vectors=None, filter_seen=true, allow=None, deny=None, num_threads=None))]
    fn top_n_by_rules<'py>(
        &self,
        py: Python<'py>,
        users: Option<PyReadonlyArray1<'py, i64>>,
        n: usize,
        rules: &Bound<'py, ListRules>,
        faded: Option<CsrArrays<'py>>,
        vectors: Option<PyReadonlyArray2<'py, f32>>,
        filter_seen: bool,
        allow: Option<PyReadonlyArray1<'py, u8>>,
        deny: Option<PyReadonlyArray1<'py, i64>>,
        num_threads: Option<usize>,
    ) -> PyResult<Option<ListsResult<'py>>> {
        let filters = self.filters(py, allow, None, deny)?;
        let users = users.map(|users| positions(py, &users, self.ranker.n_users(), "user")).transpose()?;
        let m = users.as_ref().map_or(self.ranker.n_users(), Vec::len);
        let faded = faded.map(|rows| to_csr(py, &rows, self.ranker.n_items())).transpose()?;
        let vectors = vectors.as_ref().map(unit_vectors).transpose()?;
        let (rules, tables) = rules.get().core();
        let by = ByRules { rules, tables, faded: faded.as_ref(), vectors };
        let lists = enter(py, self.size(m), num_threads, |context| {
            self.ranker.top_n_by_rules(users.as_deref(), n, filter_seen, &filters, by, context)
        })?;
        lists.map(|lists| to_arrays(py, lists)).transpose()
    }

    /// The same for users outside the training table, given as in `top_n_for`.
    #[pyo3(signature = (user_vectors, history, exclude, n, rules, *, faded=None, vectors=None, allow=None, deny=None, num_threads=None))]
    fn top_n_by_rules_for<'py>(
        &self,
        py: Python<'py>,
        user_vectors: PyReadonlyArray2<'py, f32>,
        history: Option<CsrArrays<'py>>,
        exclude: Option<SetArrays<'py>>,
        n: usize,
        rules: &Bound<'py, ListRules>,
        faded: Option<CsrArrays<'py>>,
        vectors: Option<PyReadonlyArray2<'py, f32>>,
        allow: Option<PyReadonlyArray1<'py, u8>>,
        deny: Option<PyReadonlyArray1<'py, i64>>,
        num_threads: Option<usize>,
    ) -> PyResult<Option<ListsResult<'py>>> {
        let filters = self.filters(py, allow, None, deny)?;
        let users = self.new_users(py, &user_vectors, history, exclude, None)?;
        let faded = faded.map(|rows| to_csr(py, &rows, self.ranker.n_items())).transpose()?;
        let vectors = vectors.as_ref().map(unit_vectors).transpose()?;
        let (rules, tables) = rules.get().core();
        let by = ByRules { rules, tables, faded: faded.as_ref(), vectors };
        let lists = enter(py, self.size(user_vectors.shape()[0]), num_threads, |context| {
            self.ranker.top_n_by_rules_for(&users, n, &filters, by, context)
        })?;
        lists.map(|lists| to_arrays(py, lists)).transpose()
    }

    /// The last step of scores (m, width) of which row r holds counts[r], with a shift (m,) for each row.
    #[pyo3(signature = (scores, counts, shift=None))]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        scores: PyReadonlyArray2<'py, f32>,
        counts: PyReadonlyArray1<'py, i32>,
        shift: Option<PyReadonlyArray1<'py, f32>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (rows, width) = (scores.shape()[0], scores.shape()[1]);
        let (scores, counts) =
            (values(py, &scores, "scores")?.into_numbers(|value| value).into_vec(), counts.as_slice()?.to_vec());
        let mut lists = rank::Lists { scores, counts, width, ..Default::default() };
        let shift = shift.as_ref().map(|shift| shift.as_slice()).transpose()?;
        enter(py, Size::Small, None, |context| self.ranker.finish(shift, &mut lists, context))?;
        lists.scores.into_pyarray(py).reshape([rows, width])
    }

    /// Scores of pairs of users and items by position, (k,).
    fn scores<'py>(
        &self,
        py: Python<'py>,
        users: PyReadonlyArray1<'py, i64>,
        items: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let users = positions(py, &users, self.ranker.n_users(), "user")?;
        let items = positions(py, &items, self.ranker.n_items(), "item")?;
        let size = if items.len() < 10_000 { Size::Small } else { Size::Large };
        Ok(enter(py, size, None, |context| self.ranker.scores(&users, &items, context))?.into_pyarray(py))
    }

    /// Scores of items for one user outside the training table: `vectors` (1, d), its history, its shift (1,); (k,).
    #[pyo3(signature = (vectors, history, items, *, shift=None))]
    fn scores_for<'py>(
        &self,
        py: Python<'py>,
        vectors: PyReadonlyArray2<'py, f32>,
        history: Option<CsrArrays<'py>>,
        items: PyReadonlyArray1<'py, i64>,
        shift: Option<PyReadonlyArray1<'py, f32>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let users = self.new_users(py, &vectors, history, None, shift)?;
        let items = positions(py, &items, self.ranker.n_items(), "item")?;
        Ok(enter(py, Size::Small, None, |context| self.ranker.scores_for(&users, &items, context))?.into_pyarray(py))
    }

    /// Which path lists of n items for everyone would take, and why: {n, simd, path, why}.
    fn plan<'py>(&self, py: Python<'py>, n: usize) -> PyResult<Bound<'py, PyDict>> {
        let report = PyDict::new(py);
        report.set_item("n", n)?;
        report.set_item("simd", self.level.name())?;
        let choice = self.ranker.plan(n, self.level);
        report.set_item("path", choice.path.name())?;
        report.set_item("why", choice.reason)?;
        Ok(report)
    }

    /// Users of the training table.
    #[getter]
    fn n_users(&self) -> usize {
        self.ranker.n_users()
    }

    /// Items.
    #[getter]
    fn n_items(&self) -> usize {
        self.ranker.n_items()
    }

    /// Numbers in a vector.
    #[getter]
    fn factors(&self) -> usize {
        self.ranker.factors()
    }
}

impl Ranker {
    /// Whether a list takes so little that nobody waits for it.
    pub fn is_small(&self) -> bool {
        self.size(1) == Size::Small
    }

    /// The ranker itself.
    pub fn core(&self) -> &rank::Ranker {
        &self.ranker
    }

    /// The instruction set that it uses.
    pub fn level(&self) -> Level {
        self.level
    }

    fn size(&self, n_rows: usize) -> Size {
        let work = n_rows.saturating_mul(self.ranker.n_items()).saturating_mul(self.ranker.cost().max(8));
        if work < MAX_INLINE_COST {
            Size::Small
        } else if n_rows <= FEW_ROWS && work < MAX_UNWATCHED_COST && self.ranker.serves_few_fast() {
            Size::Short
        } else {
            Size::Large
        }
    }

    fn new_users(
        &self,
        py: Python<'_>,
        vectors: &PyReadonlyArray2<'_, f32>,
        history: Option<CsrArrays<'_>>,
        seen: Option<SetArrays<'_>>,
        shift: Option<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<Users> {
        let n_items = self.ranker.n_items();
        let (n, d) = (vectors.shape()[0], vectors.shape()[1]);
        let history = history.map(|rows| to_csr(py, &rows, self.ranker.n_sources())).transpose()?;
        let seen = seen.map(|rows| to_sets(py, &rows, n_items)).transpose()?;
        let shift = shift.map(|shift| shift.as_slice().map(<[f32]>::to_vec)).transpose()?;
        let factors = self.ranker.factors();
        with_table(py, values(py, vectors, "user vectors")?, |vectors| {
            if d != factors {
                let message = format!("user vectors have {d} factors; the items have {factors}.");
                return Err(Error::InvalidData(message));
            }
            let users = self.ranker.new_users(vectors, n, history, seen)?;
            match shift {
                Some(shift) => users.with_shift(shift),
                None => Ok(users),
            }
        })
    }

    fn filters(
        &self,
        py: Python<'_>,
        allow: Option<PyReadonlyArray1<'_, u8>>,
        allow_each: Option<SetArrays<'_>>,
        deny: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<Filters> {
        let n_items = self.ranker.n_items();
        Ok(Filters {
            allow: allow.map(|mask| mask.as_slice().map(|m| m.iter().map(|&flag| flag != 0).collect())).transpose()?,
            allow_each: allow_each.map(|rows| to_sets(py, &rows, n_items)).transpose()?,
            deny: deny.map(|deny| positions(py, &deny, n_items, "item")).transpose()?.unwrap_or_default(),
        })
    }
}

fn to_plan(py: Python<'_>, plan: Option<&str>) -> PyResult<Plan> {
    match plan {
        None => Ok(Plan::Auto),
        Some("plain") => Ok(Plan::Plain),
        Some("pruned") => Ok(Plan::Pruned),
        Some(other) => Err(to_python(
            py,
            &Error::InvalidParameter(format!("plan is {other:?}; it must be \"plain\", \"pruned\" or None.")),
        )),
    }
}

fn values<'a>(py: Python<'_>, table: &'a PyReadonlyArray2<'_, f32>, what: &str) -> PyResult<Given<'a, f32, f32>> {
    Given::of(table).map_err(|_| {
        let remedy = "must be C-contiguous; pass them through numpy.ascontiguousarray.";
        to_python(py, &Error::InvalidData(format!("{what} {remedy}")))
    })
}

fn positions(py: Python<'_>, given: &PyReadonlyArray1<'_, i64>, n: usize, what: &str) -> PyResult<Vec<u32>> {
    let given = given.as_slice()?;
    if let Some(&wrong) = given.iter().find(|&&p| p < 0 || p as usize >= n) {
        let error = Error::InvalidData(format!("{what} position {wrong} is out of range; there are {n}."));
        return Err(to_python(py, &error));
    }
    Ok(given.iter().map(|&p| p as u32).collect())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Ranker>()
}
