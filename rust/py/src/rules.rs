//! `_core.ListRules`: the best lists that obey rules.

use ancf_core::rank::{AtLeast, AtMost, Diversity, ListRules as Rules, RankingArrays, ReadyRankings, RuleTables};
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, to_csr};
use crate::enter::{Size, enter, to_python};
use crate::lists::{ListsResult, to_arrays};

/// Rankings of m users: items and scores (m, width), counts (m,), and how many were asked for.
type GivenRanking<'py> = (PyReadonlyArray2<'py, i32>, PyReadonlyArray2<'py, f32>, PyReadonlyArray1<'py, i32>, usize);

/// Rows that are arranged on the calling thread.
const FEW_ROWS: usize = 64;

/// Boosts (a positive factor for each item, float64), quotas and pins by position; see `rank/arrange.rs`.
///
/// `at_most`: (code of each item, int32, negative where it is not counted; how many of one code); `at_least`: (a flag for
/// each item; how many); `pins`: (place from 1, item), by rising place. `diversity` compares vectors, or the codes `alike`. `allowed`: flags
/// of what alone `Ranker.top_n_by_rules` may list.
#[pyclass(frozen, module = "ancf._core")]
pub struct ListRules {
    rules: Rules,
    tables: RuleTables,
    n_items: usize,
}

#[pymethods]
impl ListRules {
    #[new]
    #[pyo3(signature = (n_items, *, factors=None, at_most=Vec::new(), at_least=Vec::new(), pins=Vec::new(), diversity=None, alike=None, allowed=None))]
    fn new(
        py: Python<'_>,
        n_items: usize,
        factors: Option<PyReadonlyArray1<'_, f64>>,
        at_most: Vec<(PyReadonlyArray1<'_, i32>, usize)>,
        at_least: Vec<(PyReadonlyArray1<'_, u8>, usize)>,
        pins: Vec<(usize, u32)>,
        diversity: Option<f64>,
        alike: Option<PyReadonlyArray1<'_, i32>>,
        allowed: Option<PyReadonlyArray1<'_, u8>>,
    ) -> PyResult<Self> {
        let factors = factors.map(|factors| factors.as_slice().map(<[f64]>::to_vec)).transpose()?.unwrap_or_default();
        let mut upper = Vec::new();
        for (codes, limit) in at_most {
            upper.push(AtMost { codes: codes.as_slice()?.to_vec(), limit });
        }
        let mut lower = Vec::new();
        for (flags, count) in at_least {
            lower.push(AtLeast { wanted: flags.as_slice()?.iter().map(|&flag| flag != 0).collect(), count });
        }
        let codes = alike.map(|codes| codes.as_slice().map(<[i32]>::to_vec)).transpose()?;
        let diversity = diversity.map(|weight| Diversity { weight, codes });
        let rules = Rules::new(n_items, factors, upper, lower, pins, diversity);
        let rules = match &allowed {
            Some(flags) => {
                let flags: Vec<_> = flags.as_slice()?.iter().map(|&flag| flag != 0).collect();
                rules.and_then(|rules| rules.with_allowed(&flags))
            }
            None => rules,
        };
        let rules = rules.map_err(|e| to_python(py, &e))?;
        Ok(Self { rules, tables: RuleTables::default(), n_items })
    }

    /// Lists of n items out of the first of five rankings (all items, those with a factor above 1, those that a quota "at
    /// least" counts, those that are both, the pins), with factors from 0 to 1 for some items of each user, and unit `vectors`: (items, scores,
    /// counts), and whether each is proven.
    #[pyo3(signature = (n, ranking, boosted=None, wanted=None, wanted_boosted=None, pins=None, *, faded=None, vectors=None, num_threads=None))]
    fn arrange<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        ranking: GivenRanking<'py>,
        boosted: Option<GivenRanking<'py>>,
        wanted: Option<GivenRanking<'py>>,
        wanted_boosted: Option<GivenRanking<'py>>,
        pins: Option<GivenRanking<'py>>,
        faded: Option<CsrArrays<'py>>,
        vectors: Option<PyReadonlyArray2<'py, f32>>,
        num_threads: Option<usize>,
    ) -> PyResult<(ListsResult<'py>, Bound<'py, PyArray1<bool>>)> {
        let faded = faded.map(|rows| to_csr(py, &rows, self.n_items)).transpose()?;
        let from = ReadyRankings {
            rankings: [
                Some(to_arrays_of(&ranking)?),
                boosted.as_ref().map(to_arrays_of).transpose()?,
                wanted.as_ref().map(to_arrays_of).transpose()?,
                wanted_boosted.as_ref().map(to_arrays_of).transpose()?,
            ],
            pins: pins.as_ref().map(to_arrays_of).transpose()?,
            faded: faded.as_ref(),
            vectors: vectors.as_ref().map(unit_vectors).transpose()?,
        };
        let size = if ranking.2.len() <= FEW_ROWS { Size::Small } else { Size::Large };
        let (lists, proven) = enter(py, size, num_threads, |context| self.rules.arrange(&from, n, context))?;
        Ok((to_arrays(py, lists)?, PyArray1::from_vec(py, proven)))
    }
}

impl ListRules {
    /// The rules themselves, and what was made of them for single lists.
    pub fn core(&self) -> (&Rules, &RuleTables) {
        (&self.rules, &self.tables)
    }
}

fn to_arrays_of<'a>((items, scores, counts, asked): &'a GivenRanking<'_>) -> PyResult<RankingArrays<'a>> {
    Ok(RankingArrays {
        items: items.as_slice()?,
        scores: scores.as_slice()?,
        counts: counts.as_slice()?,
        width: items.shape()[1],
        asked: *asked,
    })
}

/// Vectors row by row, and the numbers of each.
pub fn unit_vectors<'a>(vectors: &'a PyReadonlyArray2<'_, f32>) -> PyResult<(&'a [f32], usize)> {
    Ok((vectors.as_slice()?, vectors.shape()[1]))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ListRules>()
}
