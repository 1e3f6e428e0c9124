//! What a call returns: lists, and scores after their last step.
//!
//! ```text
//! output(u, i) = link(score(u, i) + shift_u)
//! ```
//!
//! Lists are in order before that step, so neither the shift nor the link moves an item.

use crate::runtime::simd::{Level, sigmoid};

use super::key::{key, position_of, score_of};

/// Ready lists: row r holds `counts[r]` items, best first, from entry `r · width` on; the rest of a row is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// Positions of the items.
    pub items: Vec<i32>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// Length of each list.
    pub counts: Vec<i32>,
    /// Entries of a row.
    pub width: usize,
}

impl Lists {
    /// Room for `n_rows` lists of `width` items.
    pub(super) fn empty(n_rows: usize, width: usize) -> Self {
        Self { items: vec![0; n_rows * width], scores: vec![0.0; n_rows * width], counts: vec![0; n_rows], width }
    }
}

/// Writes the keys of a list, best first, as items and scores.
pub fn write_list(keys: &[u64], items: &mut [i32], scores: &mut [f32], count: &mut i32) {
    for (at, &key) in keys.iter().enumerate() {
        items[at] = position_of(key) as i32;
        scores[at] = score_of(key);
    }
    *count = keys.len() as i32;
}

/// The last step of a score that comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// As it is.
    #[default]
    Identity,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
}

/// How the scores of one user come out.
#[derive(Clone, Copy)]
pub struct OutputTransform {
    /// Added first; 0 where a user has none.
    pub shift: f32,
    /// Applied last.
    pub link: Link,
    /// The instruction set, which changes no bit.
    pub level: Level,
}

impl OutputTransform {
    /// The score that comes out for the one inside a key.
    pub fn score(self, of: u64) -> f32 {
        // Through a key once more, so that −0 comes out as 0.
        let shifted = score_of(key(score_of(of) + self.shift, 0));
        match self.link {
            Link::Identity => shifted,
            Link::Sigmoid => sigmoid(self.level, shifted),
        }
    }
}
