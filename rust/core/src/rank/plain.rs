//! The plain path of a block of users: every score in f32, after all items that a history adds to.

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::tiles::{self, LANES};

use super::batch::{BatchSearch, MAX_ROWS, Scratch, UserTopN};
use super::exclusions::Exclusions;
use super::item_rows::ItemRows;
use super::key::key;
use super::row_sums::RowSums;
use super::settled::Settled;

/// Item rows of one pass: they stay in the level-2 cache while the packs of a block are scored.
const PASS_BYTES: usize = 768 << 10;

/// Offers the first rows of `all` to lists of `n`, where there are any, by the scores of up to 32 users.
fn offer_reached(
    level: Level,
    scores: &[[f32; LANES]],
    n: usize,
    users: &[u32],
    all: &ItemRows<'_>,
    lists: &mut [UserTopN],
    best_of_lanes: &mut Vec<[f32; 8]>,
) {
    // What lists with floors need is known.
    let have_floors = users.iter().all(|&at| lists[at as usize].best.is_full());
    let reached =
        if have_floors { [f32::NEG_INFINITY; LANES] } else { tiles::reached(level, scores, n, best_of_lanes) };
    let mut thresholds = [f32::INFINITY; LANES];
    for ((threshold, reached), &at) in thresholds.iter_mut().zip(reached).zip(users) {
        let list = &mut lists[at as usize];
        if list.best.n() > 0 {
            list.seed_threshold = reached;
            *threshold = list.threshold();
        }
    }
    tiles::collect(level, scores, &mut thresholds, |lane, row, score| {
        let list = &mut lists[users[lane] as usize];
        if score > f32::NEG_INFINITY {
            list.best.offer(key(score, all.position(row as u32)));
        }
        list.threshold()
    });
}

impl BatchSearch<'_> {
    /// Offers an item to a list, number `at` of `exclusions`, unless it may not be listed; gives the list's threshold from then
    /// on.
    #[inline]
    fn offer(&self, list: &mut UserTopN, exclusions: &Exclusions, at: usize, position: u32, score: f32) -> f32 {
        let key = key(score, position);
        if list.best.accepts(key) && self.eligible.contains(position) && !exclusions.contain(at, position) {
            list.best.offer(key);
        }
        list.threshold()
    }

    /// The lists of all rows that need one, each from the scores of all eligible items: less work than to find out which of few
    /// items can enter. What a history adds is added to the scores in their places, and what is left out gets −∞ there.
    pub fn score_all(
        &self,
        first: usize,
        n_rows: usize,
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let d = self.query.d;
        let Scratch { lists, lists_of_part, pack, seed_scores: scores, best_of_lanes, needed, .. } = scratch;
        needed.clear();
        needed.extend((0..n_rows as u32).filter(|&at| lists[at as usize].is_open()));
        let all = self.rows(None);
        for users in needed.chunks(LANES) {
            context.cancel.check()?;
            tiles::pack(users.iter().map(|&at| self.query.vector(first + at as usize)), d, pack);
            scores.resize(all.vectors.len() / d, [0.0; LANES]);
            tiles::products(context.level, pack, &all.vectors, d, scores);
            for (lane, &at) in users.iter().enumerate() {
                let (items, sums) = of_rows.neighbors(at as usize);
                for (&item, &sum) in items.iter().zip(sums) {
                    scores[all.row(item)][lane] += sum;
                }
                for &item in of_rows.left_out(at as usize) {
                    scores[all.row(item)][lane] = f32::NEG_INFINITY;
                }
            }
            offer_reached(context.level, scores, self.n, users, all, lists, best_of_lanes);
            if let Some((part, n)) = self.part
                && users.iter().any(|&at| lists_of_part[at as usize].best.n() > 0)
            {
                offer_reached(context.level, &scores[..part.count], n, users, all, lists_of_part, best_of_lanes);
            }
        }
        Ok(())
    }

    /// The rows of the plain path. In a block of users they are gathered without the other threads, which may be waiting
    /// here.
    pub fn rows(&self, context: Option<&Context>) -> &ItemRows<'_> {
        let part = self.part.map(|(items, _)| items);
        self.rows.get_or_init(|| ItemRows::new(self.scorer, self.eligible, self.gathers(), part, MAX_ROWS, context))
    }

    /// Whether the plain path gets a table of the eligible rows alone. Items of low scores would be found behind all that
    /// are not eligible and score higher.
    pub fn gathers(&self) -> bool {
        self.own_index || self.scores_all || self.eligible.worth_gathering(self.scorer.n_items())
    }

    /// Every score in f32.
    pub fn plain(
        &self,
        first: usize,
        users: &[u32],
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let d = self.query.d;
        if users.is_empty() {
            return Ok(());
        }
        self.settle_all(first, users, context, of_rows, scratch);
        if d == 0 {
            self.fill_without_factors(users, scratch);
            return Ok(());
        }
        scratch.packs.clear();
        for users in users.chunks(LANES) {
            tiles::pack(users.iter().map(|&at| self.query.vector(first + at as usize)), d, &mut scratch.pack);
            scratch.packs.extend_from_slice(&scratch.pack);
        }
        // A multiple of the tiles' 12 and 6 rows.
        let pass = (PASS_BYTES / (4 * d)).next_multiple_of(12);
        let all = self.rows(None);
        for (part, rows) in all.vectors.chunks(pass * d).enumerate() {
            let biases = all.biases.get(part * pass..).unwrap_or_default();
            for (pack, users) in users.chunks(LANES).enumerate() {
                context.cancel.check()?;
                let Scratch { lists, exclusions, packs, .. } = &mut *scratch;
                let vectors = &packs[pack * d * LANES..][..d * LANES];
                let mut thresholds = [f32::INFINITY; LANES];
                for (threshold, &at) in thresholds.iter_mut().zip(users) {
                    *threshold = lists[at as usize].threshold();
                }
                let offer = |lane: usize, row: usize, score: f32| {
                    let position = all.position((part * pass + row) as u32);
                    self.offer(&mut lists[users[lane] as usize], exclusions, pack * LANES + lane, position, score)
                };
                self.scorer.head().score_tiles(context.level, vectors, rows, d, biases, &mut thresholds, offer);
            }
        }
        Ok(())
    }

    /// Offers what is not settled yet of the items that histories add to; all that they name is excluded from then on.
    fn settle_all(&self, first: usize, users: &[u32], context: &Context, of_rows: &RowSums, scratch: &mut Scratch) {
        let Scratch { lists, candidates, exclusions, .. } = scratch;
        exclusions.clear();
        for &at in users {
            let list = &mut lists[at as usize];
            if list.settled != Settled::ALL {
                let (items, sums) = of_rows.neighbors(at as usize);
                candidates.start_row();
                candidates.set_open(context.level, items, sums, list.settled);
                let row = first + at as usize;
                self.scorer.offer(&self.query, row, context.level, candidates, &mut list.best);
                list.settled = Settled::ALL;
            }
            // Without factors most lists need no other items.
            let needed = self.query.d > 0 || list.best.accepts(key(0.0, 0));
            exclusions.push(if needed { of_rows.items(at as usize) } else { &[] });
        }
    }

    /// Without factors every item that no history adds to scores 0: the first ones not excluded are the best.
    fn fill_without_factors(&self, users: &[u32], scratch: &mut Scratch) {
        let Scratch { lists, exclusions, .. } = scratch;
        for (place, &at) in users.iter().enumerate() {
            let list = &mut lists[at as usize];
            for position in 0..self.scorer.n_items() as u32 {
                if !list.best.accepts(key(0.0, position)) {
                    break;
                }
                self.offer(list, exclusions, place, position, 0.0);
            }
        }
    }
}
