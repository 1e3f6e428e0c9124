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
    /// OutputSlices in a row.
    pub width: usize,
}

/// The rows asked for: vectors, histories and what is left out, by row.
#[derive(Clone, Copy)]
pub struct Query<'a> {
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
    pub max_abs_logit: f64,
    /// The length of the longest history.
    pub longest: usize,
}

impl<'a> Query<'a> {
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

/// A bit for each flag. Flags are bytes of 0 and 1, and a product brings eight of them together in its highest byte.
fn bits(flags: &[bool]) -> Vec<u64> {
    let eight = |flags: [bool; 8]| u64::from_le_bytes(flags.map(u8::from)).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    let word = |flags: &[bool; 64]| {
        let eights = flags.as_chunks::<8>().0;
        (0..8).fold(0, |word, at| word | eight(eights[at]) << (8 * at))
    };
    let (whole, rest) = flags.as_chunks::<64>();
    let mut last = [false; 64];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(&last);
    whole.iter().chain(last).map(word).collect()
}

/// Which items may be listed at all, for every row alike.
pub struct EligibleItems {
    /// One bit for each item; `None`: all.
    pub bits: Option<Vec<u64>>,
    /// How many may.
    pub count: usize,
}

impl EligibleItems {
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
        let mut bits: Vec<u64> = match &filters.allow {
            Some(allow) => bits(allow),
            None => vec![u64::MAX; n_items.div_ceil(64)],
        };
        if let Some(last) = bits.last_mut() {
            *last &= u64::MAX >> (n_items.next_multiple_of(64) - n_items);
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

    /// Whether so few may that their rows are better brought together than passed over one by one.
    pub fn few(&self, n_items: usize) -> bool {
        self.count * 4 < n_items * 3
    }

    /// Adds those of `items` that may be listed, in their order. Without a branch, which would
    /// be guessed wrongly time and again.
    pub fn pick(&self, items: &[u32], into: &mut Vec<u32>) {
        let mut at = into.len();
        into.resize(at + items.len(), 0);
        for &item in items {
            into[at] = item;
            at += usize::from(self.has(item));
        }
        into.truncate(at);
    }

    /// Whether an item may be listed.
    #[inline]
    pub fn has(&self, item: u32) -> bool {
        self.bits.as_ref().is_none_or(|bits| bits[item as usize / 64] >> (item % 64) & 1 == 1)
    }
}
