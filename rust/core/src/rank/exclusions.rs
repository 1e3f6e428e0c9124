//! What the plain passes of a block of users skip: items that a history adds to, which are scored by themselves, and items
//! that a list leaves out.

use std::ops::Range;

/// Words of the filter before each search among excluded items.
const FILTER_WORDS: usize = 64;

/// Of more excluded items than this the filter would say little: all are searched for.
const MAX_FILTERED: usize = 8 * FILTER_WORDS;

/// Items that the dense passes skip in the lists of one user: those that a history adds to or that are left out.
struct Exclusion {
    /// The part of [`Exclusions::items`] that is this user's.
    range: Range<usize>,
    /// A bit for each item, by its last twelve: most items need no search.
    filter: [u64; FILTER_WORDS],
}

/// The same for a block of users.
#[derive(Default)]
pub struct Exclusions {
    /// User after user, ascending.
    items: Vec<u32>,
    of_users: Vec<Exclusion>,
}

impl Exclusions {
    /// Forgets all users.
    pub fn clear(&mut self) {
        self.items.clear();
        self.of_users.clear();
    }

    /// Takes these items, in any order, as those of the next user.
    pub fn push(&mut self, items: &[u32]) {
        let from = self.items.len();
        self.items.extend_from_slice(items);
        let own = &mut self.items[from..];
        own.sort_unstable();
        let mut filter = [0; FILTER_WORDS];
        if own.len() > MAX_FILTERED {
            filter = [u64::MAX; FILTER_WORDS];
        } else {
            for &item in &*own {
                filter[item as usize / 64 % FILTER_WORDS] |= 1 << (item % 64);
            }
        }
        self.of_users.push(Exclusion { range: from..self.items.len(), filter });
    }

    /// Whether an item is one of a user's.
    #[inline]
    pub fn contain(&self, at: usize, position: u32) -> bool {
        let Exclusion { range, filter } = &self.of_users[at];
        filter[position as usize / 64 % FILTER_WORDS] >> (position % 64) & 1 == 1
            && self.items[range.clone()].binary_search(&position).is_ok()
    }
}
