//! What a call asks for, and what it gets.

use crate::data::Csr;
use crate::{Error, Result};

use super::Sets;

/// Who may get what, beside what a user has seen.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// Items that alone may be listed, one flag for each item.
    pub allow: Option<Vec<bool>>,
    /// Items that alone may be listed, one set for each row asked for.
    pub allow_each: Option<Sets>,
    /// Items that may not be listed.
    pub deny: Vec<u32>,
}

/// Ready lists: row r holds `counts[r]` items, best first, in places `r · width ..`; the rest of a row is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// Positions of the items.
    pub items: Vec<i32>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// Length of each list.
    pub counts: Vec<i32>,
    /// Places in a row.
    pub width: usize,
}

/// The rows asked for: vectors, histories and what is left out, by row.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Vectors, of all users or of the rows asked for.
    pub vectors: &'a [f32],
    /// Numbers in a vector.
    pub d: usize,
    /// The user of each row; `None`: row r is user r.
    pub users: Option<&'a [u32]>,
    /// Rows asked for.
    pub n_rows: usize,
    /// Weighted histories for the sparse part.
    pub history: Option<&'a Csr>,
    /// What is left out of each user's list.
    pub seen: Option<&'a Sets>,
    /// What is added to the scores of each user that come out.
    pub shift: Option<&'a [f32]>,
    /// The largest magnitude of each factor over the vectors.
    pub largest: &'a [f32],
    /// The largest magnitude in the histories.
    pub farthest: f64,
    /// The length of the longest history.
    pub longest: usize,
}

impl<'a> Asked<'a> {
    fn user(&self, row: usize) -> usize {
        self.users.map_or(row, |users| users[row] as usize)
    }

    /// The vector of a row.
    pub fn vector(&self, row: usize) -> &'a [f32] {
        let user = self.user(row);
        &self.vectors[user * self.d..(user + 1) * self.d]
    }

    /// Items and weights of the history of a row.
    pub fn history(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        self.history.map_or((&[], &[]), |history| {
            let user = self.user(row);
            (history.row(user), history.row_values(user))
        })
    }

    /// What is added to the scores of a row that come out.
    pub fn shift(&self, row: usize) -> f32 {
        self.shift.map_or(0.0, |shift| shift[self.user(row)])
    }

    /// Items that the list of a row leaves out, ascending.
    pub fn seen(&self, row: usize) -> &'a [u32] {
        self.seen.map_or(&[], |seen| seen.row(self.user(row)))
    }
}

/// Which items may be listed at all, for every row alike.
pub struct Eligible {
    /// One bit for each item; `None`: all.
    pub bits: Option<Vec<u64>>,
    /// How many may.
    pub count: usize,
}

impl Eligible {
    /// Brings `allow` and `deny` together.
    pub fn new(filters: &Filters, n_items: usize) -> Result<Self> {
        if let Some(allow) = &filters.allow
            && allow.len() != n_items
        {
            return Err(Error::InvalidData(format!(
                "the mask of allowed items has {} entries; there are {n_items} items.",
                allow.len()
            )));
        }
        if let Some(&item) = filters.deny.iter().find(|&&item| item as usize >= n_items) {
            return Err(Error::InvalidData(format!("item {item} is to be left out; there are {n_items} items.")));
        }
        if filters.allow.is_none() && filters.deny.is_empty() {
            return Ok(Self { bits: None, count: n_items });
        }
        let mut bits = vec![0u64; n_items.div_ceil(64)];
        for item in 0..n_items {
            if filters.allow.as_ref().is_none_or(|allow| allow[item]) {
                bits[item / 64] |= 1 << (item % 64);
            }
        }
        for &item in &filters.deny {
            bits[item as usize / 64] &= !(1 << (item % 64));
        }
        let count = bits.iter().map(|word| word.count_ones() as usize).sum();
        Ok(Self { bits: Some(bits), count })
    }

    /// The items that may be listed, ascending.
    pub fn positions(&self) -> Vec<u32> {
        let Some(bits) = &self.bits else { return (0..self.count as u32).collect() };
        let mut positions = Vec::with_capacity(self.count);
        for (word, &bits) in bits.iter().enumerate() {
            let mut left = bits;
            while left != 0 {
                positions.push(word as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        positions
    }

    /// Whether an item may be listed.
    #[inline]
    pub fn has(&self, item: u32) -> bool {
        self.bits.as_ref().is_none_or(|bits| bits[item as usize / 64] >> (item % 64) & 1 == 1)
    }
}
