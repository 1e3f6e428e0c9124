//! The one scorer of a model: items, users, and every question about them.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::data::Csr;
use crate::model::fold_in;
use crate::runtime::Context;
use crate::runtime::simd::{Level, chains};
use crate::{Error, Result};

use super::batch::ThresholdSeed;
use super::index::{Index, norm_up};
use super::key::{Best, key};
use super::neighbor_sums::NeighborSums;
use super::output::{Link, OutputTransform};
use super::query::{EligibleItems, Filters, Lists, Query};
use super::sets::Sets;
use super::single;
use super::target_attention::{self, Target, TargetSearch};

/// Scores or lists that are worth a task of their own.
pub(super) const ROWS_PER_TASK: usize = 256;

/// How the dense part of a score comes from the two vectors.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Σ_k `p_k` `q_k`.
    Inner,
    /// Σ_k `α_k` `p_k` `q_k` with α = softmax(sharpness · p · q), and the item's bias.
    FactorAttention {
        /// One for each factor.
        sharpness: Vec<f32>,
        /// One for each item, or none at all.
        bias: Vec<f32>,
    },
    /// ⟨p, q⟩ and what the candidate makes of the history, whose weights are then logits; see `target`.
    TargetAttention(Target),
}

/// Which way to the lists; all give the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// What measured rules choose.
    #[default]
    Auto,
    /// Every score in f32.
    Plain,
    /// The compact table first, even where it does not pay.
    Pruned,
}

/// Vectors, histories and seen items of some users.
#[derive(Clone, Debug)]
pub struct Users {
    vectors: Vec<f32>,
    n: usize,
    history: Option<Csr>,
    seen: Option<Sets>,
    shift: Option<Vec<f32>>,
    largest: Vec<f32>,
    max_abs_logit: f64,
    longest: usize,
}

/// Items with all that scores need, and the users of the training table.
pub struct Ranker {
    vectors: Vec<f32>,
    n_items: usize,
    d: usize,
    neighbors: Option<Csr>,
    head: Head,
    link: Link,
    users: Users,
    largest: Vec<f32>,
    max_abs_logit: f64,
    max_abs_neighbor: f32,
    lengths: OnceLock<Vec<f32>>,
    index: OnceLock<Index>,
    front: OnceLock<ThresholdSeed>,
}

impl Users {
    /// The same people, with a number for each that is added to the scores that come out.
    pub fn with_shift(mut self, shift: Vec<f32>) -> Result<Self> {
        check_table(&shift, self.n, 1, "shifts of users")?;
        self.shift = Some(shift);
        Ok(self)
    }
}

impl Ranker {
    /// Checks item `vectors` (`n_items` × `d`), `neighbors` (row j: what history item j adds to others) and the head.
    pub fn new(vectors: Vec<f32>, n_items: usize, d: usize, neighbors: Option<Csr>, head: Head) -> Result<Self> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n_items >= i32::MAX as usize {
            return bad(format!("{n_items} items do not fit 32-bit positions."));
        }
        check_table(&vectors, n_items, d, "item vectors")?;
        if let Some(neighbors) = &neighbors
            && (neighbors.n_rows() < n_items || neighbors.n_columns() != n_items)
        {
            let (rows, columns) = (neighbors.n_rows(), neighbors.n_columns());
            return bad(format!("neighbours are {rows} × {columns}; there are {n_items} items."));
        }
        if let Head::FactorAttention { sharpness, bias } = &head {
            if sharpness.len() != d {
                return bad(format!("{} numbers of sharpness for {d} factors; give one for each.", sharpness.len()));
            }
            check_finite(sharpness, 1, "sharpness")?;
            if !bias.is_empty() {
                check_table(bias, n_items, 1, "item biases")?;
            }
        }
        let mut max_abs_logit = 0.0;
        if let Head::TargetAttention(target) = &head {
            if neighbors.is_some() {
                return Err(Error::InvalidParameter(
                    "target attention reads the histories as logits; neighbours do not go with it.".into(),
                ));
            }
            target.check(n_items)?;
            max_abs_logit = target.max_abs_logit();
        }
        let largest = largest(&vectors, d);
        let values = neighbors.as_ref().map_or(&[][..], Csr::values);
        let max_abs_neighbor = values.iter().fold(0f32, |most, value| most.max(value.abs()));
        let users = Users {
            vectors: Vec::new(),
            n: 0,
            history: None,
            seen: None,
            shift: None,
            largest: vec![0.0; d],
            max_abs_logit: 0.0,
            longest: 0,
        };
        Ok(Self {
            vectors,
            n_items,
            d,
            neighbors,
            head,
            link: Link::Identity,
            users,
            largest,
            max_abs_logit,
            max_abs_neighbor,
            lengths: OnceLock::new(),
            index: OnceLock::new(),
            front: OnceLock::new(),
        })
    }

    /// Checks users that fit these items: `vectors` (n × d), and rows of `history` and `seen` for each.
    pub fn new_users(&self, vectors: Vec<f32>, n: usize, history: Option<Csr>, seen: Option<Sets>) -> Result<Users> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n >= i32::MAX as usize {
            return bad(format!("{n} users do not fit 32-bit positions."));
        }
        check_table(&vectors, n, self.d, "user vectors")?;
        if let Some(history) = &history
            && (history.n_rows() != n || history.n_columns() != self.n_sources())
        {
            let (rows, columns) = (history.n_rows(), history.n_columns());
            let sources = self.n_sources();
            return bad(format!("histories are {rows} × {columns}; there are {n} users and {sources} sources."));
        }
        if let Some(seen) = &seen
            && seen.n_rows() != n
        {
            return bad(format!("{} rows of seen items for {n} users; give one for each.", seen.n_rows()));
        }
        let largest = largest(&vectors, self.d);
        if !matches!(self.head, Head::TargetAttention(_)) {
            let reach = self.reach(&largest) + history.as_ref().map_or(0.0, |history| self.sparse_reach(history));
            if reach > f64::from(f32::MAX) {
                return bad(format!(
                    "scores could reach {reach:.1e}, more than a float32 holds; scale the vectors down."
                ));
            }
        }
        let (mut max_abs_logit, mut longest) = (0.0, 0);
        if let Some(history) = &history {
            max_abs_logit = history.values().iter().fold(0f64, |most, &value| most.max(f64::from(value).abs()));
            longest = history.offsets().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        }
        Ok(Users { vectors, n, history, seen, shift: None, largest, max_abs_logit, longest })
    }

    /// The same scorer with this last step.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Serves these users from now on.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.users.n
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// What a history may name: the rows of the neighbors, of which there may be more than items.
    pub fn n_sources(&self) -> usize {
        self.neighbors.as_ref().map_or(self.n_items, Csr::n_rows)
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
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        self.check_users(users.unwrap_or_default())?;
        let query = self.query(&self.users, users, filter_seen);
        self.lists(query, n, filters, plan, context)
    }

    /// Lists for people that the training table does not hold; what they have `seen` is left out.
    pub fn top_n_for(
        &self,
        people: &Users,
        n: usize,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        self.lists(self.query(people, None, true), n, filters, plan, context)
    }

    /// The list of one user on this thread; `take` gets its keys, best first, and how their scores come out.
    pub fn top_n_one<T>(
        &self,
        user: usize,
        n: usize,
        filter_seen: bool,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        if user >= self.users.n {
            return Err(Error::InvalidData(format!("user {user} is asked for; there are {} users.", self.users.n)));
        }
        let users = [user as u32];
        Ok(self.top_n_inline(&self.query(&self.users, Some(&users), filter_seen), n, level, take))
    }

    /// The list of one person of whom only the items are known, each bought once and lately, on this thread. With
    /// attention `priors` the history is folded in as `model::fold_in` does it; without, each item weighs 1.
    pub fn top_n_folded<T>(
        &self,
        history: &[u32],
        priors: Option<&[f32]>,
        n: usize,
        filter_seen: bool,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        // Checks the positions, too, before anything is looked up by them.
        let seen = Sets::new(vec![0, history.len()], history.to_vec(), self.n_items)?;
        let ones = vec![1.0; history.len()];
        let mut vector = vec![0.0; self.d];
        if let Some(priors) = priors {
            check_table(priors, self.n_items, 1, "attention priors")?;
            fold_in::user_vector(level, history, &ones, priors, &self.vectors, &mut vector);
        }
        let spoken = self.neighbors.as_ref().map(|neighbors| {
            let (mut columns, mut values) = (Vec::new(), Vec::new());
            if priors.is_some() {
                let counts = (neighbors.n_rows() > self.n_items).then_some(&ones[..]);
                fold_in::speak(history, &ones, counts, self.n_items, &mut columns, &mut values);
            } else {
                (columns, values) = (history.to_vec(), ones);
            }
            Csr::new(vec![0, columns.len()], columns, values, neighbors.n_rows())
        });
        let people = self.new_users(vector, 1, spoken.transpose()?, Some(seen))?;
        Ok(self.top_n_inline(&self.query(&people, None, filter_seen), n, level, take))
    }

    /// The first list asked for, on this thread.
    fn top_n_inline<T>(
        &self,
        query: &Query<'_>,
        n: usize,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> T {
        let output = self.output_transform(query, 0, level);
        let take = |keys: &[u64]| take(keys, output);
        let n = n.min(self.n_items);
        if n == 0 {
            return take(&[]);
        }
        let eligible = EligibleItems { bits: None, count: self.n_items };
        let prunes = self.prunes_one(query, n, self.n_items);
        if prunes || (self.d == 0 && self.biases().is_empty()) {
            let index = prunes.then(|| self.index(None));
            return single::list(self, index, query, 0, n, &eligible, level, take);
        }
        let mut work = Scratch::default();
        if let Head::TargetAttention(target) = &self.head
            && !self.may_overflow(query)
            && (self.d > 0 || target.bias.is_empty())
        {
            work.best.reset(n);
            let items = eligible.positions();
            TargetSearch { ranker: self, target, query: *query, items: &items }.one(0, level, &mut work.best);
            return take(work.best.sorted());
        }
        take(self.one(query, 0, n, &eligible, None, level, &mut work))
    }

    /// The scores of pairs of a user and an item.
    pub fn scores(&self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if users.len() != items.len() {
            return Err(Error::InvalidData(format!("{} users stand beside {} items.", users.len(), items.len())));
        }
        self.check_users(users)?;
        self.pair_scores(&self.query(&self.users, Some(users), false), items, context)
    }

    /// The scores of some items for one person outside the training table.
    pub fn scores_for(&self, people: &Users, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if people.n != 1 {
            return Err(Error::InvalidData(format!("scores are asked for {} people; give one vector.", people.n)));
        }
        let users = vec![0; items.len()];
        self.pair_scores(&self.query(people, Some(&users), false), items, context)
    }

    fn check_users(&self, users: &[u32]) -> Result<()> {
        match users.iter().find(|&&user| user as usize >= self.users.n) {
            Some(user) => {
                Err(Error::InvalidData(format!("user {user} is asked for; there are {} users.", self.users.n)))
            }
            None => Ok(()),
        }
    }

    pub(super) fn everyone(&self) -> Query<'_> {
        self.query(&self.users, None, true)
    }

    fn query<'a>(&self, people: &'a Users, users: Option<&'a [u32]>, filter_seen: bool) -> Query<'a> {
        Query {
            vectors: &people.vectors,
            d: self.d,
            users,
            n_rows: users.map_or(people.n, <[u32]>::len),
            history: people.history.as_ref(),
            seen: people.seen.as_ref().filter(|_| filter_seen),
            shift: people.shift.as_deref(),
            largest: &people.largest,
            max_abs_logit: people.max_abs_logit,
            longest: people.longest,
        }
    }

    fn pair_scores(&self, query: &Query<'_>, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if let Some(&item) = items.iter().find(|&&item| item as usize >= self.n_items) {
            return Err(Error::InvalidData(format!("item {item} is asked for; there are {} items.", self.n_items)));
        }
        let mut scores = vec![0f32; items.len()];
        let score = |touched: &mut NeighborSums, (chunk, scores): (usize, &mut [f32])| {
            context.cancel.check()?;
            let mut last = None;
            for (at, score) in scores.iter_mut().enumerate() {
                let row = chunk * ROWS_PER_TASK + at;
                let user = query.users.map(|users| users[row]);
                if last != Some(user) {
                    self.sum_neighbors(query, row, context.level, touched);
                    last = Some(user);
                }
                let mut dense = [0f32];
                self.dense(context.level, query, row, &items[row..=row], &mut dense);
                let key = key(dense[0] + touched.sum(items[row]), 0);
                *score = self.output_transform(query, row, context.level).score(key);
            }
            Ok(())
        };
        if context.stays(items.len().div_ceil(ROWS_PER_TASK)) {
            let mut touched = NeighborSums::default();
            scores.chunks_mut(ROWS_PER_TASK).enumerate().try_for_each(|part| score(&mut touched, part))?;
        } else {
            let parts = scores.par_chunks_mut(ROWS_PER_TASK).enumerate();
            context.install(|| parts.try_for_each_init(NeighborSums::default, score))?;
        }
        Ok(scores)
    }

    pub(super) fn output_transform(&self, query: &Query<'_>, row: usize, level: Level) -> OutputTransform {
        OutputTransform { shift: query.shift(row), link: self.link, level }
    }

    /// Whether the lists of a few users take microseconds each: nothing has to be made for them first.
    pub fn is_quick(&self) -> bool {
        self.head == Head::Inner && self.index.get().is_some()
    }

    /// The norm of each item, rounded up, on first use; where no bound holds for them, none.
    pub(super) fn lengths(&self) -> Option<&[f32]> {
        let bounded = self.head == Head::Inner && Index::fits(self.d);
        bounded.then(|| &**self.lengths.get_or_init(|| self.vectors.chunks_exact(self.d).map(norm_up).collect()))
    }

    /// The compact table of all items, ordered on first use.
    pub(super) fn index(&self, context: Option<&Context>) -> &Index {
        self.index.get_or_init(|| Index::new(&self.vectors, self.d, context))
    }

    /// Its first blocks, as short lists want them.
    pub(super) fn front(&self, index: &Index) -> &ThresholdSeed {
        self.front.get_or_init(|| ThresholdSeed::new(index, &self.vectors, self.n_items, 1))
    }

    /// Whether the compact table can serve this head and these vectors at all.
    fn prunes(&self, query: &Query<'_>) -> bool {
        self.head == Head::Inner && Index::fits(self.d) && self.n_items > 0 && !self.may_overflow(query)
    }

    /// Whether it can serve lists of `n` out of `count` items for one user after the other.
    pub(super) fn prunes_one(&self, query: &Query<'_>, n: usize, count: usize) -> bool {
        n * 4 <= count && self.prunes(query)
    }

    /// The largest sum of products that users of these magnitudes could meet.
    fn reach(&self, users: &[f32]) -> f64 {
        users.iter().zip(&self.largest).map(|(&user, &item)| f64::from(user) * f64::from(item)).sum()
    }

    /// The same for the sparse part.
    fn sparse_reach(&self, history: &Csr) -> f64 {
        let row = |weights: &[f32]| weights.iter().map(|&weight| f64::from(weight).abs()).sum::<f64>();
        let most = (0..history.n_rows()).map(|user| row(history.row_values(user))).fold(0.0, f64::max);
        most * f64::from(self.max_abs_neighbor)
    }

    /// Whether a chain over these vectors could leave the range of f32; then only chains one by one are safe to compare.
    pub(super) fn may_overflow(&self, query: &Query<'_>) -> bool {
        if let Head::TargetAttention(target) = &self.head {
            let most = target_attention::score_bound(target, self.max_abs_logit, query, &self.largest);
            return most.is_nan() || most > f64::from(f32::MAX) / 4.0;
        }
        let mut most = 0f64;
        let mut sum = 0f64;
        for k in 0..self.d {
            let product = f64::from(query.largest[k]) * f64::from(self.largest[k]);
            let sharpness = match &self.head {
                Head::Inner | Head::TargetAttention(_) => 1.0,
                Head::FactorAttention { sharpness, .. } => f64::from(sharpness[k]).abs().max(1.0),
            };
            sum += product;
            most = most.max(product * sharpness);
        }
        let bias = self.biases().iter().fold(0f32, |most, bias| most.max(bias.abs()));
        sum.max(most).max(f64::from(bias)) > f64::from(f32::MAX) / 4.0
    }

    /// The bias of each item; empty where the head has none.
    pub(super) fn biases(&self) -> &[f32] {
        match &self.head {
            Head::FactorAttention { bias, .. } => bias,
            Head::TargetAttention(target) => &target.bias,
            Head::Inner => &[],
        }
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// One list, all items scored.
    pub(super) fn one<'w>(
        &self,
        query: &Query<'_>,
        row: usize,
        n: usize,
        eligible: &EligibleItems,
        only: Option<&[u32]>,
        level: Level,
        work: &'w mut Scratch,
    ) -> &'w [u64] {
        work.best.reset(n);
        self.sum_neighbors(query, row, level, &mut work.touched);
        work.items.clear();
        let seen = query.seen(row);
        let wanted = |item: &u32| eligible.has(*item) && seen.binary_search(item).is_err();
        match only {
            Some(only) => work.items.extend(only.iter().copied().filter(wanted)),
            None => work.items.extend((0..self.n_items as u32).filter(wanted)),
        }
        work.scores.resize(work.items.len(), 0.0);
        self.dense(level, query, row, &work.items, &mut work.scores);
        for (&item, &dense) in work.items.iter().zip(&work.scores) {
            work.best.offer(key(dense + work.touched.sum(item), item));
        }
        work.best.sorted()
    }

    pub(super) fn sum_neighbors(&self, query: &Query<'_>, row: usize, level: Level, touched: &mut NeighborSums) {
        let (history, weights) = query.history(row);
        match &self.neighbors {
            Some(neighbors) => touched.add_up(level, neighbors, history, weights),
            None => touched.clear(),
        }
    }

    /// The dense part of the scores of some items for one row.
    pub(super) fn dense(&self, level: Level, query: &Query<'_>, row: usize, items: &[u32], scores: &mut [f32]) {
        let vector = query.vector(row);
        match &self.head {
            Head::TargetAttention(target) => target_attention::pairs(self, target, query, row, level, items, scores),
            Head::Inner => chains::dots(level, vector, &self.vectors, items, scores),
            Head::FactorAttention { sharpness, bias } => {
                chains::attentions(level, vector, sharpness, &self.vectors, items, scores);
                if !bias.is_empty() {
                    for (score, &item) in scores.iter_mut().zip(items) {
                        *score += bias[item as usize];
                    }
                }
            }
        }
    }
}

/// Memory of one thread, kept from list to list.
#[derive(Default)]
pub(super) struct Scratch {
    best: Best,
    touched: NeighborSums,
    items: Vec<u32>,
    scores: Vec<f32>,
}

pub(super) fn check_n(n: usize) -> Result<()> {
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

pub(super) fn check_finite(values: &[f32], d: usize, what: &str) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Error::InvalidData(format!(
            "{what}: row {}, column {} is {}; every number must be finite.",
            at / d.max(1),
            at % d.max(1),
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
