//! The one scorer of a model: items, users, and every question about them.

use rayon::prelude::*;

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::{Level, chains};
use crate::{Error, Result};

use super::asked::{Asked, Eligible, Filters, Lists};
use super::key::{Best, key, position_of, score_of};
use super::sets::Sets;
use super::sparse::Touched;

/// How the dense part of a score comes from the two vectors.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Σ_k `p_k` `q_k`.
    Inner,
    /// Σ_k `α_k` `p_k` `q_k` with α = softmax(sharpness · p · q); one sharpness for each factor.
    FactorAttention(Vec<f32>),
}

/// Vectors, histories and seen items of some users.
#[derive(Clone, Debug)]
pub struct People {
    vectors: Vec<f32>,
    n: usize,
    history: Option<Csr>,
    seen: Option<Sets>,
    largest: Vec<f32>,
}

/// Items with all that scores need, and the users of the training table.
pub struct Ranker {
    vectors: Vec<f32>,
    n_items: usize,
    d: usize,
    neighbours: Option<Csr>,
    head: Head,
    people: People,
    largest: Vec<f32>,
}

impl Ranker {
    /// Checks item `vectors` (`n_items` × `d`), `neighbours` (row j: what history item j adds to others) and the head.
    pub fn new(vectors: Vec<f32>, n_items: usize, d: usize, neighbours: Option<Csr>, head: Head) -> Result<Self> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n_items >= i32::MAX as usize {
            return bad(format!("{n_items} items do not fit 32-bit positions."));
        }
        check_table(&vectors, n_items, d, "item vectors")?;
        if let Some(neighbours) = &neighbours
            && (neighbours.n_rows() != n_items || neighbours.n_columns() != n_items)
        {
            let (rows, columns) = (neighbours.n_rows(), neighbours.n_columns());
            return bad(format!("neighbours are {rows} × {columns}; there are {n_items} items."));
        }
        if let Head::FactorAttention(sharpness) = &head {
            if sharpness.len() != d {
                return bad(format!("{} numbers of sharpness for {d} factors; give one for each.", sharpness.len()));
            }
            check_finite(sharpness, 1, "sharpness")?;
        }
        let largest = largest(&vectors, d);
        let people = People { vectors: Vec::new(), n: 0, history: None, seen: None, largest: vec![0.0; d] };
        Ok(Self { vectors, n_items, d, neighbours, head, people, largest })
    }

    /// Checks users that fit these items: `vectors` (n × d), and rows of `history` and `seen` for each.
    pub fn people(&self, vectors: Vec<f32>, n: usize, history: Option<Csr>, seen: Option<Sets>) -> Result<People> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n >= i32::MAX as usize {
            return bad(format!("{n} users do not fit 32-bit positions."));
        }
        check_table(&vectors, n, self.d, "user vectors")?;
        if let Some(history) = &history
            && (history.n_rows() != n || history.n_columns() != self.n_items)
        {
            let (rows, columns) = (history.n_rows(), history.n_columns());
            return bad(format!("histories are {rows} × {columns}; there are {n} users and {} items.", self.n_items));
        }
        if let Some(seen) = &seen
            && seen.n_rows() != n
        {
            return bad(format!("{} rows of seen items for {n} users; give one for each.", seen.n_rows()));
        }
        let largest = largest(&vectors, self.d);
        Ok(People { vectors, n, history, seen, largest })
    }

    /// Serves these users from now on.
    pub fn set_users(&mut self, people: People) {
        self.people = people;
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.people.n
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.d
    }

    /// Lists for users of the training table (`None`: everyone, in order).
    pub fn top_n(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        context: &Context,
    ) -> Result<Lists> {
        self.check_users(users.unwrap_or_default())?;
        let asked = self.asked(&self.people, users, filter_seen);
        self.lists(asked, n, filters, context)
    }

    /// Lists for people that the training table does not hold; what they have `seen` is left out.
    pub fn top_n_for(&self, people: &People, n: usize, filters: &Filters, context: &Context) -> Result<Lists> {
        self.lists(self.asked(people, None, true), n, filters, context)
    }

    /// The list of one user on this thread.
    pub fn top_n_one(&self, user: usize, n: usize, filter_seen: bool, level: Level) -> Result<Vec<u64>> {
        check_n(n)?;
        if user >= self.people.n {
            return Err(Error::InvalidData(format!("user {user} is asked for; there are {} users.", self.people.n)));
        }
        let users = [user as u32];
        let asked = self.asked(&self.people, Some(&users), filter_seen);
        let mut work = Work::default();
        let eligible = Eligible { bits: None, count: self.n_items };
        Ok(self.one(&asked, 0, n.min(self.n_items), &eligible, None, level, &mut work).to_vec())
    }

    /// The scores of pairs of a user and an item.
    pub fn scores(&self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if users.len() != items.len() {
            return Err(Error::InvalidData(format!("{} users stand beside {} items.", users.len(), items.len())));
        }
        self.check_users(users)?;
        self.pair_scores(&self.asked(&self.people, Some(users), false), items, context)
    }

    /// The scores of some items for one person outside the training table.
    pub fn scores_for(&self, people: &People, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if people.n != 1 {
            return Err(Error::InvalidData(format!("scores are asked for {} people; give one vector.", people.n)));
        }
        let users = vec![0; items.len()];
        self.pair_scores(&self.asked(people, Some(&users), false), items, context)
    }

    fn check_users(&self, users: &[u32]) -> Result<()> {
        match users.iter().find(|&&user| user as usize >= self.people.n) {
            Some(user) => {
                Err(Error::InvalidData(format!("user {user} is asked for; there are {} users.", self.people.n)))
            }
            None => Ok(()),
        }
    }

    fn asked<'a>(&self, people: &'a People, users: Option<&'a [u32]>, filter_seen: bool) -> Asked<'a> {
        Asked {
            vectors: &people.vectors,
            d: self.d,
            users,
            n_rows: users.map_or(people.n, <[u32]>::len),
            history: people.history.as_ref(),
            seen: people.seen.as_ref().filter(|_| filter_seen),
            largest: &people.largest,
        }
    }

    fn pair_scores(&self, asked: &Asked<'_>, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if let Some(&item) = items.iter().find(|&&item| item as usize >= self.n_items) {
            return Err(Error::InvalidData(format!("item {item} is asked for; there are {} items.", self.n_items)));
        }
        let mut scores = vec![0f32; items.len()];
        context.install(|| {
            scores.par_chunks_mut(256).enumerate().try_for_each_init(Touched::default, |touched, (chunk, scores)| {
                context.cancel.check()?;
                let mut last = None;
                for (at, score) in scores.iter_mut().enumerate() {
                    let row = chunk * 256 + at;
                    let user = asked.users.map(|users| users[row]);
                    if last != Some(user) {
                        self.touch(asked, row, context.level, touched);
                        last = Some(user);
                    }
                    let mut dense = [0f32];
                    self.dense(context.level, asked.vector(row), &items[row..=row], &mut dense);
                    *score = score_of(key(dense[0] + touched.sum(items[row]), 0));
                }
                Ok(())
            })
        })?;
        Ok(scores)
    }

    fn lists(&self, asked: Asked<'_>, n: usize, filters: &Filters, context: &Context) -> Result<Lists> {
        check_n(n)?;
        let eligible = Eligible::new(filters, self.n_items)?;
        if let Some(each) = &filters.allow_each
            && each.n_rows() != asked.n_rows
        {
            return Err(Error::InvalidData(format!(
                "{} lists of allowed items for {} users; give one for each.",
                each.n_rows(),
                asked.n_rows
            )));
        }
        let width = n.min(self.n_items);
        let mut lists = Lists {
            items: vec![0; asked.n_rows * width],
            scores: vec![0.0; asked.n_rows * width],
            counts: vec![0; asked.n_rows],
            width,
        };
        if width == 0 {
            return Ok(lists);
        }
        let rows = lists.items.par_chunks_mut(width).zip(lists.scores.par_chunks_mut(width)).zip(&mut lists.counts);
        context.install(|| {
            rows.enumerate().try_for_each_init(Work::default, |work, (row, ((items, scores), count))| {
                context.cancel.check()?;
                let only = filters.allow_each.as_ref().map(|each| each.row(row));
                let keys = self.one(&asked, row, width, &eligible, only, context.level, work);
                for (at, &key) in keys.iter().enumerate() {
                    items[at] = position_of(key) as i32;
                    scores[at] = score_of(key);
                }
                *count = keys.len() as i32;
                Ok(())
            })
        })?;
        Ok(lists)
    }

    /// One list, all items scored.
    fn one<'w>(
        &self,
        asked: &Asked<'_>,
        row: usize,
        n: usize,
        eligible: &Eligible,
        only: Option<&[u32]>,
        level: Level,
        work: &'w mut Work,
    ) -> &'w [u64] {
        work.best.reset(n);
        self.touch(asked, row, level, &mut work.touched);
        work.items.clear();
        let seen = asked.seen(row);
        let wanted = |item: &u32| eligible.has(*item) && seen.binary_search(item).is_err();
        match only {
            Some(only) => work.items.extend(only.iter().copied().filter(wanted)),
            None => work.items.extend((0..self.n_items as u32).filter(wanted)),
        }
        work.scores.resize(work.items.len(), 0.0);
        self.dense(level, asked.vector(row), &work.items, &mut work.scores);
        for (&item, &dense) in work.items.iter().zip(&work.scores) {
            work.best.offer(key(dense + work.touched.sum(item), item));
        }
        work.best.sorted()
    }

    fn touch(&self, asked: &Asked<'_>, row: usize, level: Level, touched: &mut Touched) {
        let (history, weights) = asked.history(row);
        match &self.neighbours {
            Some(neighbours) => touched.add_up(level, neighbours, history, weights),
            None => touched.clear(),
        }
    }

    /// The dense part of the scores of some items for one vector.
    fn dense(&self, level: Level, vector: &[f32], items: &[u32], scores: &mut [f32]) {
        match &self.head {
            Head::Inner => chains::dots(level, vector, &self.vectors, items, scores),
            Head::FactorAttention(sharpness) => {
                chains::attentions(level, vector, sharpness, &self.vectors, items, scores);
            }
        }
    }
}

/// Memory of one thread, kept from list to list.
#[derive(Default)]
struct Work {
    best: Best,
    touched: Touched,
    items: Vec<u32>,
    scores: Vec<f32>,
}

fn check_n(n: usize) -> Result<()> {
    if n == 0 {
        return Err(Error::InvalidParameter("N is 0; it must be at least 1.".into()));
    }
    Ok(())
}

fn check_table(values: &[f32], n: usize, d: usize, what: &str) -> Result<()> {
    if n.checked_mul(d) != Some(values.len()) {
        return Err(Error::InvalidData(format!("{what}: {} numbers for {n} rows of {d}.", values.len())));
    }
    check_finite(values, d, what)
}

fn check_finite(values: &[f32], d: usize, what: &str) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Error::InvalidData(format!(
            "{what}: row {}, column {} is {}; every number must be finite.",
            at / d,
            at % d,
            values[at]
        ))),
        None => Ok(()),
    }
}

/// The largest magnitude in each column.
fn largest(values: &[f32], d: usize) -> Vec<f32> {
    let mut largest = vec![0f32; d];
    if d > 0 {
        for row in values.chunks_exact(d) {
            for (most, value) in largest.iter_mut().zip(row) {
                *most = most.max(value.abs());
            }
        }
    }
    largest
}
