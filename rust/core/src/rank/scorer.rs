//! Everything that scores: the items, the two parts of a score, and the bounds that hold for them.
//!
//! A score is the dense part of its head plus the sum over the neighbors of the history, one f32 addition. Whoever asks,
//! single pairs or lists for all users, gets it from the kernels called here, and so the same bits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::data::{Csr, Numbers};
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::byte_rows::ByteRows;
use super::candidates::Candidates;
use super::checks::{check_items, check_table};
use super::head::{Head, TargetAttention};
use super::index::{Index, ThresholdSeed};
use super::key::{Best, key};
use super::neighbor_sums::{LEFT_OUT, NeighborSums, Neighbors, fetch_first};
use super::output::{Link, OutputTransform};
use super::query::{Query, Users};
use super::sets::Sets;
use super::sketches;

/// Scores or lists that are worth a task of their own.
pub const ROWS_PER_TASK: usize = 256;

/// How many scorers this process has made.
static SCORERS_MADE: AtomicU64 = AtomicU64::new(0);

/// Items with all that scores need.
pub struct Scorer {
    /// No two scorers of a process have the same.
    id: u64,
    vectors: Numbers<f32>,
    n_items: usize,
    d: usize,
    /// Row j: what history item j adds to others.
    neighbors: Option<Neighbors>,
    head: Head,
    link: Link,
    /// The largest magnitude of each factor.
    max_abs: Vec<f32>,
    /// A bound of target attention's logits without the histories' part; 0 for other heads.
    max_abs_logit: f64,
    /// The largest magnitude in `neighbors`.
    max_abs_neighbor: f32,
    /// Made on first use, as the two below.
    byte_rows: OnceLock<ByteRows>,
    index: OnceLock<Index>,
    threshold_seed: OnceLock<ThresholdSeed>,
}

impl Scorer {
    /// Checks item `vectors` (`n_items` × `d`), `neighbors` (row j: what history item j adds to others) and the head.
    pub fn new(vectors: Numbers<f32>, n_items: usize, d: usize, neighbors: Option<Csr>, head: Head) -> Result<Self> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if n_items >= i32::MAX as usize {
            return bad(format!("{n_items} items do not fit 32-bit positions."));
        }
        check_table(&vectors, n_items, d, "item vectors")?;
        if let Some(neighbors) = &neighbors
            && (neighbors.n_rows() < n_items || neighbors.n_columns() != n_items)
        {
            let (rows, columns) = (neighbors.n_rows(), neighbors.n_columns());
            return bad(format!("neighbors are {rows} × {columns}; there are {n_items} items."));
        }
        head.check(n_items, d, neighbors.is_some())?;
        let values = neighbors.as_ref().map_or(&[][..], Csr::values);
        Ok(Self {
            id: SCORERS_MADE.fetch_add(1, Ordering::Relaxed),
            max_abs: max_abs(&vectors, d),
            max_abs_logit: head.target().map_or(0.0, TargetAttention::max_abs_logit),
            max_abs_neighbor: values.iter().fold(0f32, |largest, value| largest.max(value.abs())),
            vectors,
            n_items,
            d,
            neighbors: neighbors.map(Neighbors::sparse),
            head,
            link: Link::Identity,
            byte_rows: OnceLock::new(),
            index: OnceLock::new(),
            threshold_seed: OnceLock::new(),
        })
    }

    /// Sets item-item weights of all items with all (`n_items` × `n_items`, row j: what history item j adds).
    pub fn set_dense_neighbors(&mut self, weights: Numbers<f32>) -> Result<()> {
        check_table(&weights, self.n_items, self.n_items, "neighbors")?;
        self.head.check(self.n_items, self.d, true)?;
        self.max_abs_neighbor = weights.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        self.neighbors = Some(Neighbors::Dense { weights, n_items: self.n_items });
        Ok(())
    }

    /// Sets the last step of every score that comes out.
    pub fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Checks users that fit these items: `vectors` (n × d), and rows of `history` and `seen` for each.
    pub fn new_users(
        &self,
        vectors: Numbers<f32>,
        n: usize,
        history: Option<Csr>,
        seen: Option<Sets>,
    ) -> Result<Users> {
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
        let max_abs = max_abs(&vectors, self.d);
        if self.head.target().is_none() {
            let bound = self.dense_bound(&max_abs) + history.as_ref().map_or(0.0, |history| self.sparse_bound(history));
            if bound > f64::from(f32::MAX) {
                return bad(format!(
                    "scores could reach {bound:.1e}, more than a float32 holds; scale the vectors down."
                ));
            }
        }
        let (mut max_abs_logit, mut longest_history) = (0.0, 0);
        if let Some(history) = &history {
            max_abs_logit = history.values().iter().fold(0f64, |largest, &value| largest.max(f64::from(value).abs()));
            longest_history = history.offsets().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        }
        Ok(Users { vectors, n, history, seen, shift: None, max_abs, max_abs_logit, longest_history })
    }

    /// Its number: no two scorers of a process have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// What a history may name: the rows of the neighbors, of which there may be more than items.
    pub fn n_sources(&self) -> usize {
        self.neighbors.as_ref().map_or(self.n_items, Neighbors::n_rows)
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.d
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last step of every score that comes out.
    pub fn link(&self) -> Link {
        self.link
    }

    /// The item vectors, row by row.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// The item-item weights, if there are any.
    pub fn neighbors(&self) -> Option<&Neighbors> {
        self.neighbors.as_ref()
    }

    /// The scores of pairs: row r of the query with item r.
    pub fn scores(&self, query: &Query<'_>, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        check_items(items, self.n_items)?;
        let mut scores = vec![0f32; items.len()];
        let score = |sums: &mut NeighborSums, (chunk, scores): (usize, &mut [f32])| {
            context.cancel.check()?;
            let mut last = None;
            for (at, score) in scores.iter_mut().enumerate() {
                let row = chunk * ROWS_PER_TASK + at;
                let user = query.users.map(|users| users[row]);
                if last != Some(user) {
                    self.sum_history(query, row, context.level, sums);
                    last = Some(user);
                }
                let mut dense = [0f32];
                self.dense(context.level, query, row, &items[row..=row], &mut dense);
                let key = key(dense[0] + sums.sum(items[row]), 0);
                *score = self.output_transform(query, row, context.level).score(key);
            }
            Ok(())
        };
        if context.runs_inline(items.len().div_ceil(ROWS_PER_TASK)) {
            let mut sums = NeighborSums::default();
            scores.chunks_mut(ROWS_PER_TASK).enumerate().try_for_each(|part| score(&mut sums, part))?;
        } else {
            let parts = scores.par_chunks_mut(ROWS_PER_TASK).enumerate();
            context.install(|| parts.try_for_each_init(NeighborSums::default, score))?;
        }
        Ok(scores)
    }

    /// How the scores of one row come out.
    pub fn output_transform(&self, query: &Query<'_>, row: usize, level: Level) -> OutputTransform {
        OutputTransform { shift: query.shift(row), link: self.link, level }
    }

    /// The sparse part of all scores of one row, and what its list leaves out; the neighbors are collected.
    pub fn sum_neighbors(&self, query: &Query<'_>, row: usize, level: Level, sums: &mut NeighborSums) {
        self.sum_history(query, row, level, sums);
        sums.collect();
    }

    /// The same without a list of the neighbors.
    pub fn sum_history(&self, query: &Query<'_>, row: usize, level: Level, sums: &mut NeighborSums) {
        let (history, weights) = query.history(row);
        match &self.neighbors {
            Some(neighbors) => sums.sum_history(level, neighbors, history, weights, query.seen(row)),
            None => sums.clear(),
        }
    }

    /// Prefetches what `sum_neighbors` reads first of a row that comes next.
    pub fn fetch_neighbors(&self, query: &Query<'_>, row: usize) {
        if let Some(Neighbors::Sparse { rows, .. }) = &self.neighbors {
            fetch_first(rows, query.history(row).0);
        }
    }

    /// The dense part of the scores of some items for one row.
    pub fn dense(&self, level: Level, query: &Query<'_>, row: usize, items: &[u32], scores: &mut [f32]) {
        self.head.dense(level, &self.vectors, query, row, items, scores);
    }

    /// Offers those of the candidates that the row has not seen, both parts of the score of each; where they are `bounded`,
    /// of those that can enter. Leaves no candidates.
    pub fn offer_unseen(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        sums: &NeighborSums,
        candidates: &mut Candidates,
        bounded: bool,
        best: &mut Best,
    ) {
        let Candidates { items, sums: own, .. } = candidates;
        // The sums of a history know what its row has seen.
        let has_sums = self.has_sums(query);
        let seen = if has_sums { &[] } else { query.seen(row) };
        items.retain(|item| sums.sum(*item) != LEFT_OUT && seen.binary_search(item).is_err());
        own.clear();
        own.extend(items.iter().map(|&item| sums.sum(item)));
        if has_sums && bounded {
            self.offer(query, row, level, candidates, best);
        } else {
            self.offer_all(query, row, level, candidates, best);
        }
    }

    /// Offers the candidates, both parts of the score of each. Leaves none.
    pub fn offer_all(&self, query: &Query<'_>, row: usize, level: Level, candidates: &mut Candidates, best: &mut Best) {
        let Candidates { items, sums, scores, .. } = candidates;
        scores.resize(items.len(), 0.0);
        self.dense(level, query, row, items, scores);
        for ((&item, &dense), &sum) in items.iter().zip(&*scores).zip(&*sums) {
            best.offer(key(dense + sum, item));
        }
        candidates.clear();
    }

    /// A row of bytes for each item, made on first use; none where no bound by them holds.
    pub fn byte_rows(&self, level: Level, context: Option<&Context>) -> Option<&ByteRows> {
        let bounded = self.head.is_inner() && Index::supports(self.d);
        bounded.then(|| self.byte_rows.get_or_init(|| ByteRows::new(&self.vectors, self.d, level, context)))
    }

    /// Whether codes of two bits pay.
    pub fn has_sketches(&self) -> bool {
        self.head.is_inner() && sketches::support(self.d)
    }

    /// Whether the histories of a query add to items.
    pub fn has_sums(&self, query: &Query<'_>) -> bool {
        query.history.is_some() && self.neighbors.is_some()
    }

    /// The compact table of all items, ordered on first use.
    pub fn index(&self, context: Option<&Context>) -> &Index {
        self.index.get_or_init(|| Index::new(&self.vectors, self.d, context))
    }

    /// Whether that table is there already.
    pub fn has_index(&self) -> bool {
        self.index.get().is_some()
    }

    /// The items of its first blocks, as short lists want them.
    pub fn threshold_seed(&self, index: &Index) -> &ThresholdSeed {
        self.threshold_seed.get_or_init(|| ThresholdSeed::new(index, &self.vectors, self.n_items, 1))
    }

    /// Whether the compact table can serve this head and these vectors at all.
    pub fn can_prune(&self, query: &Query<'_>) -> bool {
        self.head.is_inner() && Index::supports(self.d) && self.n_items > 0 && !self.may_overflow(query)
    }

    /// The largest sum of products that users of these magnitudes could meet.
    fn dense_bound(&self, users: &[f32]) -> f64 {
        users.iter().zip(&self.max_abs).map(|(&user, &item)| f64::from(user) * f64::from(item)).sum()
    }

    /// The same for the sparse part.
    fn sparse_bound(&self, history: &Csr) -> f64 {
        let row = |weights: &[f32]| weights.iter().map(|&weight| f64::from(weight).abs()).sum::<f64>();
        let largest = (0..history.n_rows()).map(|user| row(history.row_values(user))).fold(0.0, f64::max);
        largest * f64::from(self.max_abs_neighbor)
    }

    /// Whether a chain over these vectors could leave the range of f32; then only chains one by one are safe to compare.
    pub fn may_overflow(&self, query: &Query<'_>) -> bool {
        self.head.may_overflow(query, &self.max_abs, self.max_abs_logit)
    }
}

/// The largest magnitude in each column.
fn max_abs(values: &[f32], d: usize) -> Vec<f32> {
    let mut largest = vec![0f32; d];
    if d > 0 {
        for row in values.chunks_exact(d) {
            for (largest, value) in largest.iter_mut().zip(row) {
                *largest = largest.max(value.abs());
            }
        }
    }
    largest
}
