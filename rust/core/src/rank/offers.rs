//! How candidates come into a list: what can enter is told by bounds, the rest is scored.

use crate::runtime::simd::Level;
use crate::runtime::simd::select::{Wanted, select};

use super::bounds::norm;
use super::byte_rows::ByteRows;
use super::candidates::Candidates;
use super::key::Best;
use super::query::{EligibleItems, Query};
use super::scorer::Scorer;
use super::settled::Settled;

/// One of so many bounds is looked at to find what is high.
const SAMPLE_STEP: usize = 4;

/// Fewer items than this, and for each free place, are scored at once: too many of them could enter.
const MIN_BOUNDED: usize = 32;
const MIN_BOUNDED_PER_PLACE: usize = 2;

/// What the rest needs of its dense part is at least this share of what norms allow, or a scan would leave too much.
const MIN_REACH: f64 = 0.15;

/// The scan of all items that follows.
#[derive(Clone, Copy)]
pub struct Scan {
    /// Their largest norm.
    pub largest_norm: f64,
    /// So many neighbors of the highest sums are offered before; the scan looks for the others.
    pub first: usize,
}

impl Scorer {
    /// `offer_neighbors` for the eligible ones of some `neighbors`.
    pub fn offer_eligible_neighbors(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        (items, sums): (&[u32], &[f32]),
        eligible: &EligibleItems,
        to_scan: Option<Scan>,
        candidates: &mut Candidates,
        best: &mut Best,
    ) -> Settled {
        if eligible.bits.is_none() {
            return self.offer_neighbors(query, row, level, (items, sums), to_scan, candidates, best);
        }
        let mut own = std::mem::take(&mut candidates.eligible);
        let mut own_sums = std::mem::take(&mut candidates.eligible_sums);
        own.clear();
        own_sums.clear();
        let wanted = Wanted::with_bits(eligible.bits.as_deref());
        select(level, items, sums, sums, wanted, &mut own, &mut own_sums);
        let settled = self.offer_neighbors(query, row, level, (&own, &own_sums), to_scan, candidates, best);
        (candidates.eligible, candidates.eligible_sums) = (own, own_sums);
        settled
    }

    /// Offers `neighbors`, items that a history adds to with their sums, to the list of a row; gives those that are settled
    /// then. Where a scan of all items follows, it is the ones of the highest sums alone, as far as what the others need is
    /// rare.
    pub fn offer_neighbors(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        (items, sums): (&[u32], &[f32]),
        to_scan: Option<Scan>,
        candidates: &mut Candidates,
        best: &mut Best,
    ) -> Settled {
        candidates.clear();
        if let Some(scan) = to_scan.filter(|scan| items.len() >= 2 * scan.first) {
            let settled = self.offer_highest_sums(query, row, level, (items, sums), scan, candidates, best);
            if let Some(settled) = settled {
                return settled;
            }
        } else {
            candidates.items.extend_from_slice(items);
            candidates.sums.extend_from_slice(sums);
        }
        self.offer(query, row, level, candidates, best);
        Settled::ALL
    }

    /// Offers the neighbors of the highest sums. Gives nothing, and leaves the others as candidates, where too many of them
    /// could still enter.
    fn offer_highest_sums(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        (items, sums): (&[u32], &[f32]),
        scan: Scan,
        candidates: &mut Candidates,
        best: &mut Best,
    ) -> Option<Settled> {
        let sample = &mut candidates.sample;
        sample.clear();
        sample.extend(sums.iter().step_by(SAMPLE_STEP));
        let high = *sample.select_nth_unstable_by(scan.first / SAMPLE_STEP, |a, b| b.total_cmp(a)).1;
        let highest = Wanted { least: high, ..Wanted::with_bits(None) };
        select(level, items, sums, sums, highest, &mut candidates.items, &mut candidates.sums);
        let settled = Settled::from_sum(high);
        let least = MIN_REACH * scan.largest_norm * norm(query.vector(row));
        let reaches = |threshold: f32| f64::from(settled.dense_threshold(threshold)) >= least;
        // Sums that are much the same say nothing.
        let mut most = f32::INFINITY;
        if 2 * candidates.items.len() < items.len() {
            most = high.next_down();
            if self.expected_threshold(query, row, level, candidates, best).is_none_or(reaches) {
                self.offer(query, row, level, candidates, best);
                if best.is_full() && reaches(best.threshold()) {
                    return Some(settled);
                }
            }
        } else {
            candidates.clear();
        }
        let others = Wanted { most, ..Wanted::with_bits(None) };
        select(level, items, sums, sums, others, &mut candidates.items, &mut candidates.sums);
        None
    }

    /// About the threshold of a list to which the candidates are offered, as far as bounds tell it.
    fn expected_threshold(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        candidates: &mut Candidates,
        best: &Best,
    ) -> Option<f32> {
        if best.is_full() {
            return Some(best.threshold());
        }
        let rows = self.byte_rows(level, None).filter(|_| is_bounded(candidates, best))?;
        bound(rows, query, row, level, candidates);
        let Candidates { bounds, sample, .. } = candidates;
        sample.clear();
        sample.extend(bounds.iter().step_by(SAMPLE_STEP));
        let nth = *sample.select_nth_unstable_by(best.n() / SAMPLE_STEP, |a, b| b.total_cmp(a)).1;
        Some(nth)
    }

    /// Offers the candidates to the list of a row: both parts of the score of each that can enter. The list is the same as if
    /// all were offered: with D at least the dense part (see `byte_rows`), no sum of the two in f32 is above that of D and the
    /// sparse part, for rounding keeps the order. Leaves no candidates.
    pub fn offer(&self, query: &Query<'_>, row: usize, level: Level, candidates: &mut Candidates, best: &mut Best) {
        if is_bounded(candidates, best)
            && let Some(rows) = self.byte_rows(level, None)
        {
            bound(rows, query, row, level, candidates);
            let mut bounds = std::mem::take(&mut candidates.bounds);
            let Candidates { items, sums, sample, all, all_sums, .. } = candidates;
            // Roughly the highest ones first, until the list is full: its threshold is near the final one then. In their
            // order, for their rows are read in it.
            sample.clear();
            sample.extend(bounds.iter().step_by(SAMPLE_STEP));
            std::mem::swap(items, all);
            std::mem::swap(sums, all_sums);
            items.clear();
            sums.clear();
            let place = (5 * best.n()).div_ceil(4 * SAMPLE_STEP);
            let (mut place, mut most) = (if best.is_full() { usize::MAX } else { place }, f32::INFINITY);
            loop {
                let Candidates { items, sums, sample, all, all_sums, .. } = candidates;
                let high = if place < sample.len() {
                    *sample.select_nth_unstable_by(place, |a, b| b.total_cmp(a)).1
                } else {
                    f32::NEG_INFINITY
                };
                let high = high.max(best.threshold());
                let wanted = Wanted { least: high, most, bits: None };
                select(level, all, all_sums, &bounds, wanted, items, sums);
                self.offer_all(query, row, level, candidates, best);
                best.tighten();
                if high <= best.threshold() {
                    bounds.clear();
                    candidates.bounds = bounds;
                    return;
                }
                most = high.next_down();
                place = if best.is_full() { usize::MAX } else { 2 * place };
            }
        }
        self.offer_all(query, row, level, candidates, best);
    }

    /// Takes those of the candidates out whose bytes and sums say that they cannot reach the threshold.
    pub fn retain_reaching(
        &self,
        query: &Query<'_>,
        row: usize,
        level: Level,
        threshold: f32,
        candidates: &mut Candidates,
    ) {
        if let Some(rows) = self.byte_rows(level, None) {
            bound(rows, query, row, level, candidates);
            let Candidates { items, sums, bounds, all, all_sums, .. } = candidates;
            std::mem::swap(items, all);
            std::mem::swap(sums, all_sums);
            items.clear();
            sums.clear();
            let wanted = Wanted { least: threshold, ..Wanted::with_bits(None) };
            select(level, all, all_sums, bounds, wanted, items, sums);
            bounds.clear();
        }
    }
}

/// Whether so many candidates are bounded before they are scored.
fn is_bounded(candidates: &Candidates, best: &Best) -> bool {
    // What a full list needs is known from the start.
    let beside = if best.is_full() { 0 } else { MIN_BOUNDED_PER_PLACE * best.n() };
    candidates.items.len() >= MIN_BOUNDED + beside
}

/// Bounds of the candidates' scores, as far as they are not known.
fn bound(rows: &ByteRows, query: &Query<'_>, row: usize, level: Level, candidates: &mut Candidates) {
    let Candidates { items, sums, user, user_is_set, bounds, .. } = candidates;
    if !*user_is_set {
        rows.set_user(level, query.vector(row), user);
        *user_is_set = true;
    }
    let known = bounds.len();
    rows.score_bounds(level, user, &items[known..], &sums[known..], bounds);
}
