//! What a call asks for: whose lists, from which items.

use crate::data::{Csr, Numbers};
use crate::{Error, Result};

use super::checks::check_table;
use super::sets::{Sets, append_bits};

/// Which items may be listed, apart from those that a user has seen.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// The only items that may be listed, one flag for each item.
    pub allow: Option<Vec<bool>>,
    /// The only items that may be listed, one set for each requested row.
    pub allow_each: Option<Sets>,
    /// Items that may not be listed.
    pub deny: Vec<u32>,
}

/// Vectors, histories and seen items of some users, checked against the items (`Scorer::new_users`).
#[derive(Clone, Debug)]
pub struct Users {
    /// Row-major vectors, `n` × `d`.
    pub(super) vectors: Numbers<f32>,
    /// Number of users.
    pub(super) n: usize,
    /// Weighted histories for the sparse part; with target attention, additions to the logits.
    pub(super) history: Option<Csr>,
    /// What each user's list leaves out.
    pub(super) seen: Option<Sets>,
    /// What is added to each user's scores that come out.
    pub(super) shift: Option<Vec<f32>>,
    /// The largest magnitude of each factor; as many as a vector has numbers.
    pub(super) max_abs: Vec<f32>,
    /// The largest magnitude in the histories.
    pub(super) max_abs_logit: f64,
    /// The length of the longest history.
    pub(super) longest_history: usize,
}

impl Users {
    /// Nobody, with vectors of `d` numbers.
    pub(super) fn no_users(d: usize) -> Self {
        Self {
            vectors: Vec::new().into(),
            n: 0,
            history: None,
            seen: None,
            shift: None,
            max_abs: vec![0.0; d],
            max_abs_logit: 0.0,
            longest_history: 0,
        }
    }

    /// The same users, with a number for each that is added to the scores that come out.
    pub fn with_shift(mut self, shift: Vec<f32>) -> Result<Self> {
        check_table(&shift, self.n, 1, "shifts of users")?;
        self.shift = Some(shift);
        Ok(self)
    }

    /// A query for the `requested` of these users (`None`: everyone, in order).
    pub(super) fn query<'a>(&'a self, requested: Option<&'a [u32]>, filter_seen: bool) -> Query<'a> {
        Query {
            vectors: &self.vectors,
            d: self.max_abs.len(),
            users: requested,
            n_rows: requested.map_or(self.n, <[u32]>::len),
            history: self.history.as_ref(),
            seen: self.seen.as_ref().filter(|_| filter_seen),
            shift: self.shift.as_deref(),
            max_abs: &self.max_abs,
            max_abs_logit: self.max_abs_logit,
            longest_history: self.longest_history,
        }
    }
}

/// The requested rows: vectors, histories and what is left out, by row.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Vectors of all users.
    pub vectors: &'a [f32],
    /// Numbers in a vector.
    pub d: usize,
    /// The user of each row; `None`: row r is user r.
    pub users: Option<&'a [u32]>,
    /// Number of requested rows.
    pub n_rows: usize,
    /// Weighted histories for the sparse part, by user.
    pub history: Option<&'a Csr>,
    /// What is left out of each user's list.
    pub seen: Option<&'a Sets>,
    /// What is added to the scores of each user that come out.
    pub shift: Option<&'a [f32]>,
    /// The largest magnitude of each factor over the vectors.
    pub max_abs: &'a [f32],
    /// The largest magnitude in the histories.
    pub max_abs_logit: f64,
    /// The length of the longest history.
    pub longest_history: usize,
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
fn pack_bits(flags: &[bool]) -> Vec<u64> {
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

/// The items that may be listed, the same for every row.
pub struct EligibleItems {
    /// One bit for each item; `None`: all.
    pub bits: Option<Vec<u64>>,
    /// How many may be listed.
    pub count: usize,
}

impl EligibleItems {
    /// Those that `allow` and `deny` leave.
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
            return Err(Error::InvalidData(format!("item {item} is denied; there are {n_items} items.")));
        }
        if filters.allow.is_none() && filters.deny.is_empty() {
            return Ok(Self { bits: None, count: n_items });
        }
        let mut bits: Vec<u64> = match &filters.allow {
            Some(allow) => pack_bits(allow),
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

    /// Those of them whose bit is set.
    pub fn within(&self, bits: &[u64]) -> Self {
        let both = |(word, own): (&u64, &u64)| word & own;
        let bits: Vec<u64> = match &self.bits {
            Some(own) => bits.iter().zip(own).map(both).collect(),
            None => bits.to_vec(),
        };
        Self { count: bits.iter().map(|word| word.count_ones() as usize).sum(), bits: Some(bits) }
    }

    /// The items that may be listed, ascending.
    pub fn positions(&self) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.count);
        self.append_positions(&mut positions);
        positions
    }

    /// Appends them.
    pub fn append_positions(&self, into: &mut Vec<u32>) {
        match &self.bits {
            Some(bits) => append_bits(bits.iter().copied(), into),
            None => into.extend(0..self.count as u32),
        }
    }

    /// Whether they are so few that a table of their rows alone is faster than skipping the others one by one.
    pub fn worth_gathering(&self, n_items: usize) -> bool {
        self.count * 4 < n_items * 3
    }

    /// Appends those of `items` that may be listed, in their order. Without a branch, which would
    /// be mispredicted time and again.
    pub fn append_eligible(&self, items: &[u32], into: &mut Vec<u32>) {
        if self.bits.is_none() {
            into.extend_from_slice(items);
            return;
        }
        let mut at = into.len();
        into.resize(at + items.len(), 0);
        for &item in items {
            into[at] = item;
            at += usize::from(self.contains(item));
        }
        into.truncate(at);
    }

    /// Takes the others out. Without a branch, as above.
    pub fn keep_eligible(&self, items: &mut Vec<u32>) {
        let Some(bits) = &self.bits else { return };
        let mut kept = 0;
        for at in 0..items.len() {
            let item = items[at];
            items[kept] = item;
            kept += (bits[item as usize / 64] >> (item % 64) & 1) as usize;
        }
        items.truncate(kept);
    }

    /// Whether an item may be listed.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.bits.as_ref().is_none_or(|bits| bits[item as usize / 64] >> (item % 64) & 1 == 1)
    }
}
