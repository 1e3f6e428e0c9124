//! Items that may enter a list, and how some of them are chosen.

use super::byte_rows::UserBytes;
use super::query::EligibleItems;
use super::settled::Settled;

/// Items that may enter a list, in memory that is kept from list to list.
#[derive(Default)]
pub struct Candidates {
    /// Their positions.
    pub items: Vec<u32>,
    /// What is added to the dense part of each.
    pub sums: Vec<f32>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// The bytes of the row's user.
    pub user: UserBytes,
    /// Whether `user` is that of the row.
    pub user_is_set: bool,
    /// Upper bounds of their scores.
    pub bounds: Vec<f32>,
    /// Some sums or bounds.
    pub sample: Vec<f32>,
    /// Of whom candidates are chosen, and those of whom that is eligible.
    pub all: Vec<u32>,
    pub all_sums: Vec<f32>,
    pub eligible: Vec<u32>,
    pub eligible_sums: Vec<f32>,
}

impl Candidates {
    /// Forgets the row that was asked for last.
    pub fn start_row(&mut self) {
        self.clear();
        self.user_is_set = false;
    }

    /// Leaves no candidates.
    pub fn clear(&mut self) {
        self.items.clear();
        self.sums.clear();
    }

    /// Makes the eligible ones of some neighbors that are not settled candidates.
    pub fn set_open(&mut self, items: &[u32], sums: &[f32], eligible: &EligibleItems, settled: Settled) {
        let wanted = |item, sum| !settled.holds(sum) & eligible.contains(item);
        select(items, sums, wanted, &mut self.items, &mut self.sums);
    }
}

/// The items that are wanted, with their sums. Without a branch, which would be mispredicted time and again.
#[inline(always)]
pub fn select(
    items: &[u32],
    sums: &[f32],
    wanted: impl Fn(u32, f32) -> bool,
    into: &mut Vec<u32>,
    into_sums: &mut Vec<f32>,
) {
    let mut at = 0;
    into.resize(items.len(), 0);
    into_sums.resize(items.len(), 0.0);
    for (&item, &sum) in items.iter().zip(sums) {
        (into[at], into_sums[at]) = (item, sum);
        at += usize::from(wanted(item, sum));
    }
    into.truncate(at);
    into_sums.truncate(at);
}

/// The same for those whose bound is at least `least`, and below `below` if that is given.
pub fn select_bounded(
    items: &[u32],
    sums: &[f32],
    bounds: &[f32],
    least: f32,
    below: Option<f32>,
    into: &mut Vec<u32>,
    into_sums: &mut Vec<f32>,
) {
    let (mut at, all, below) = (0, below.is_none(), below.unwrap_or(0.0));
    into.resize(items.len(), 0);
    into_sums.resize(items.len(), 0.0);
    for ((&item, &sum), &bound) in items.iter().zip(sums).zip(bounds) {
        (into[at], into_sums[at]) = (item, sum);
        at += usize::from(bound >= least) & usize::from(all || bound < below);
    }
    into.truncate(at);
    into_sums.truncate(at);
}
