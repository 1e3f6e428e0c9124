//! `_core.ListMaker`: a user's list as the bytes that a server sends, from the rows of its journal on.

use ancf_core::Error;
use ancf_core::data::Numbers;
use ancf_core::model::fold_in::{Attention, History};
use ancf_core::rank::{self, OutputTransform, Sets};
use ancf_core::serve::history::{Continued, Event, Known, Outcome, Purchases, continued};
use ancf_core::serve::json::{push_count, push_number, push_text};
use ancf_core::serve::request::read_get as read_plain_get;
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::enter::{enter_inline, to_python};
use crate::file_bytes::Given;
use crate::ids::IdIndex;
use crate::rank::Ranker;
use crate::sets::{SetArrays, to_sets};

/// Events of each pair, weights and times of each event, and the moment after which none is.
type PurchaseArrays<'py> = (
    Option<PyReadonlyArray1<'py, i32>>,
    Option<PyReadonlyArray1<'py, f32>>,
    Option<PyReadonlyArray1<'py, i64>>,
    Option<i64>,
);

/// A request as it is handed to Python: what stands behind the prefix, the query, and the headers by name.
type RequestResult<'py> = (Bound<'py, PyString>, Bound<'py, PyBytes>, Bound<'py, PyDict>);

/// How a history is folded in, as Python says it (`ancf.scoring.parts.Folding`).
#[derive(FromPyObject)]
struct GivenFolding<'py> {
    priors: Option<PyReadonlyArray1<'py, f32>>,
    half_lives: (Option<f64>, Option<f64>),
    uses_weights: bool,
    sees_sets: (bool, bool),
}

struct Folding {
    priors: Option<Numbers<f32>>,
    half_lives: (Option<f64>, Option<f64>),
    uses_weights: bool,
    /// Whether a history is a set to it: without and with its items left out.
    sees_sets: (bool, bool),
}

/// What an event is to a model (`ancf.serving.counting.Weighed`).
#[derive(FromPyObject)]
struct Weighed<'py>(f64, f64, i32, Option<Bound<'py, PyAny>>, bool);

/// Texts of items by position: ids, names, categories.
struct Texts {
    ids: Py<PyList>,
    names: Option<Py<PyList>>,
    categories: Option<Py<PyList>>,
}

/// Makes the lists of users whose history only grows; for all others it gives None, and the general way is asked.
#[pyclass(module = "ancf._core", frozen)]
pub struct ListMaker {
    ranker: Py<Ranker>,
    user_ids: Py<IdIndex>,
    item_ids: Py<IdIndex>,
    texts: Texts,
    seen: Sets,
    has_all: bool,
    purchases: Option<Purchases>,
    folding: Option<Folding>,
    /// Whether an event counts as a purchase rather than by its weight.
    counted: bool,
    weights: Py<PyDict>,
    seq: Option<i64>,
    until: Option<i64>,
    ending: Vec<u8>,
}

#[pymethods]
impl ListMaker {
    /// `texts`: ids, names and categories of the items. `seen`: the history of each user; `has_all`: whether lists leave out all
    /// of it, or as the ranker says. `purchases`: its events; `counted`: it weighs how many they are. `folding`: how the model
    /// folds a history in; None for one that does so in Python. `weights`: what each type of event is, as far as it is known by
    /// now. `seq` and `until`: what of the journal is learned. `ending`: what stands behind the items.
    #[new]
    #[pyo3(signature = (ranker, user_ids, item_ids, texts, seen, *, has_all, purchases, counted, folding, weights, seq, until, ending))]
    fn new(
        py: Python<'_>,
        ranker: Py<Ranker>,
        user_ids: Py<IdIndex>,
        item_ids: Py<IdIndex>,
        texts: (Py<PyList>, Option<Py<PyList>>, Option<Py<PyList>>),
        seen: SetArrays<'_>,
        has_all: bool,
        purchases: Option<PurchaseArrays<'_>>,
        counted: bool,
        folding: Option<GivenFolding<'_>>,
        weights: Py<PyDict>,
        seq: Option<i64>,
        until: Option<i64>,
        ending: Vec<u8>,
    ) -> PyResult<Self> {
        let n_items = ranker.borrow(py).core().n_items();
        let n_pairs = seen.1.len()?;
        let seen = to_sets(py, &seen, n_items)?;
        let purchases = purchases.map(|arrays| to_purchases(py, &arrays, n_pairs, counted)).transpose()?;
        let folding = folding.map(to_folding).transpose()?;
        let (ids, names, categories) = texts;
        let texts = Texts { ids, names, categories };
        Ok(Self {
            ranker,
            user_ids,
            item_ids,
            texts,
            seen,
            has_all,
            purchases,
            folding,
            counted,
            weights,
            seq,
            until,
            ending,
        })
    }

    /// The list of a user with the newest events that the journal has of them, newest first, as (item, type, quantity, time,
    /// number): whether it is one of a continued history, and its JSON up to the time that it took. None where the general way
    /// must be asked.
    fn make<'py>(
        &self,
        py: Python<'py>,
        user_id: &Bound<'py, PyString>,
        events: &Bound<'py, PyList>,
        n: usize,
        exclude_seen: bool,
    ) -> PyResult<Option<(bool, Bound<'py, PyBytes>)>> {
        let user_text = user_id.to_str()?;
        let Some(row) = self.user_ids.get().parse_and_find(user_text) else { return Ok(None) };
        let row = usize::try_from(row).ok();
        let ranker = self.ranker.bind(py).borrow();
        let known = Known {
            items: row.map_or(&[], |row| self.seen.row(row)),
            had: row.filter(|_| !self.has_all).map(|row| ranker.core().seen(row)),
            first_pair: row.map_or(0, |row| self.seen.start(row)),
            purchases: self.purchases.as_ref(),
        };
        let Some(events) = self.read_events(py, events, row.is_some())? else { return Ok(None) };
        let history = match continued(&known, events.into_iter().rev()) {
            Outcome::Unchanged => None,
            Outcome::Grown(history) => Some(history),
            Outcome::ForOthers => return Ok(None),
        };
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"user_id\":");
        push_text(&mut out, user_text);
        out.extend_from_slice(b",\"items\":[");
        let source = if history.is_some() { "history" } else { "model" };
        let take = |keys: &[u64], output: OutputTransform| self.push_items(py, keys, output, source, &mut out);
        let made = match (&history, row) {
            (None, None) => return Ok(None),
            (None, Some(row)) => {
                enter_inline(py, || ranker.core().top_n_one(row, n, exclude_seen, ranker.level(), take))?
            }
            (Some(history), _) => {
                let Some(folding) = &self.folding else { return Ok(None) };
                if !ranker.is_small() {
                    return Ok(None);
                }
                enter_inline(py, || self.rank(&ranker, folding, &known, row, history, n, exclude_seen, take))?
            }
        };
        if !made? {
            return Ok(None);
        }
        out.extend_from_slice(&self.ending);
        Ok(Some((history.is_some(), PyBytes::new(py, &out))))
    }
}

impl ListMaker {
    /// The events that the model has not learned, newest first; None where one takes back or rejects, or is of a type that was
    /// never looked up.
    fn read_events(&self, py: Python<'_>, events: &Bound<'_, PyList>, is_known: bool) -> PyResult<Option<Vec<Event>>> {
        let (weights, item_ids) = (self.weights.bind(py), self.item_ids.get());
        let mut found = Vec::with_capacity(events.len());
        for event in events.iter() {
            let event = event.cast_into::<PyTuple>()?;
            let Some(weighed) = weights.get_item(event.get_item(1)?)? else { return Ok(None) };
            let Weighed(weight, share, had, rejects, trained) = weighed.extract()?;
            let (quantity, at): (f64, i64) = (event.get_item(2)?.extract()?, event.get_item(3)?.extract()?);
            if rejects.is_some() || had < 0 || !(weight > 0.0 && quantity > 0.0) {
                return Ok(None);
            }
            let item = event.get_item(0)?.cast_into::<PyString>()?;
            let Some(item) = item_ids.parse_and_find(item.to_str()?) else { return Ok(None) };
            let Ok(item) = u32::try_from(item) else { continue };
            let is_trained = is_known && trained;
            if let (true, Some(last)) = (is_trained, self.seq)
                && event.get_item(4)?.extract::<i64>()? <= last
            {
                continue;
            }
            let is_learned_with_pair = is_trained && self.until.is_some_and(|until| at <= until);
            let amount = if self.counted { share } else { weight * quantity };
            found.push(Event { item, amount, at, is_had: had > 0, is_learned_with_pair });
        }
        Ok(Some(found))
    }

    /// Ranks for a continued history.
    fn rank<T>(
        &self,
        ranker: &Ranker,
        folding: &Folding,
        known: &Known<'_>,
        row: Option<usize>,
        history: &Continued,
        n: usize,
        exclude_seen: bool,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T, Error> {
        let (always, with_all_left_out) = folding.sees_sets;
        let is_set = always || (with_all_left_out && exclude_seen && history.had.is_none());
        let (weights, times) = if is_set {
            (None, None)
        } else {
            let (weights, times) = history.numbers(known);
            let is_timed = row.is_none() || self.purchases.as_ref().is_some_and(Purchases::is_timed);
            (folding.uses_weights.then_some(weights), is_timed.then_some(times))
        };
        let (half_life, repeat_half_life) = folding.half_lives;
        let attention = folding.priors.as_ref().map(|priors| Attention { priors, half_life, repeat_half_life });
        let had = if exclude_seen { history.had.as_deref().unwrap_or(&history.items) } else { &[] };
        let items = History { items: &history.items, weights: weights.as_deref(), times: times.as_deref() };
        ranker.core().top_n_for_items(&items, attention.as_ref(), had, n, ranker.level(), take)
    }

    /// Appends the items of a list; whether there are any.
    fn push_items(
        &self,
        py: Python<'_>,
        keys: &[u64],
        output: OutputTransform,
        source: &str,
        out: &mut Vec<u8>,
    ) -> PyResult<bool> {
        let Texts { ids, names, categories } = &self.texts;
        for (at, &key) in keys.iter().enumerate() {
            let item = rank::position_of(key) as usize;
            out.extend_from_slice(if at > 0 { b",{\"item_id\":" } else { b"{\"item_id\":" });
            push_text(out, ids.bind(py).get_item(item)?.cast::<PyString>()?.to_str()?);
            out.extend_from_slice(b",\"score\":");
            push_number(out, f64::from(output.score(key)));
            out.extend_from_slice(b",\"rank\":");
            push_count(out, at + 1);
            out.extend_from_slice(b",\"source\":\"");
            out.extend_from_slice(source.as_bytes());
            out.push(b'"');
            for (list, name) in [(names, &b",\"name\":"[..]), (categories, b",\"category\":")] {
                let Some(list) = list else { continue };
                let text = list.bind(py).get_item(item)?;
                if !text.is_none() {
                    out.extend_from_slice(name);
                    push_text(out, text.cast::<PyString>()?.to_str()?);
                }
            }
            out.push(b'}');
        }
        Ok(!keys.is_empty())
    }
}

fn to_purchases(
    py: Python<'_>,
    (counts, weights, times, until): &PurchaseArrays<'_>,
    n_pairs: usize,
    counted: bool,
) -> PyResult<Purchases> {
    let counts = counts.as_ref().map(Given::of).transpose()?.map(|counts| counts.into_numbers(|count: i32| count));
    let weights =
        weights.as_ref().map(Given::of).transpose()?.map(|weights| weights.into_numbers(|weight: f32| weight));
    let times = times.as_ref().map(Given::of).transpose()?.map(|times| times.into_numbers(|time: i64| time));
    Purchases::new(n_pairs, counts, weights, times, *until, counted)
        .ok_or_else(|| to_python(py, &Error::InvalidData("events do not fit their pairs.".into())))
}

fn to_folding(given: GivenFolding<'_>) -> PyResult<Folding> {
    let priors = match &given.priors {
        Some(priors) => Some(Given::of(priors)?.into_numbers(|prior: f32| prior)),
        None => None,
    };
    Ok(Folding { priors, half_lives: given.half_lives, uses_weights: given.uses_weights, sees_sets: given.sees_sets })
}

/// What a plain GET request asks of the paths with a prefix: what stands behind that, the query, and the headers by name, the
/// last of each; None where a general parser must look at it.
#[pyfunction]
fn read_get<'py>(py: Python<'py>, data: &[u8], prefix: &str) -> PyResult<Option<RequestResult<'py>>> {
    let Some(found) = read_plain_get(data, prefix) else { return Ok(None) };
    let headers = PyDict::new(py);
    for (name, value) in &found.headers {
        headers.set_item(PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes()))?;
    }
    Ok(Some((PyString::new(py, found.subject), PyBytes::new(py, found.query.as_bytes()), headers)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ListMaker>()?;
    module.add_function(wrap_pyfunction!(read_get, module)?)
}
