//! Items that may enter a list, and how some of them are chosen.

use crate::runtime::simd::Level;
use crate::runtime::simd::select::{Wanted, select};

use super::byte_rows::UserBytes;
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
    /// Upper bounds of the scores of the first of them, as far as these are known.
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
        self.bounds.clear();
        self.user_is_set = false;
    }

    /// Leaves no candidates.
    pub fn clear(&mut self) {
        self.items.clear();
        self.sums.clear();
    }

    /// Makes those of some neighbors candidates that are not settled.
    pub fn set_open(&mut self, level: Level, items: &[u32], sums: &[f32], settled: Settled) {
        self.clear();
        let wanted = Wanted { most: settled.open_up_to(), ..Wanted::with_bits(None) };
        select(level, items, sums, sums, wanted, &mut self.items, &mut self.sums);
    }
}
