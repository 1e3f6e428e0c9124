//! The pairs of a batch, and their layout in the order of computation: grouped by user, with the items that get a gradient.
//!
//! All sums of the backward pass run over these lists in their order, one owner for each row that is summed into, so
//! threads cannot change a bit and need no locks.

use crate::data::Csr;

/// What a step learns from, as positions of users and items.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Users of the pairs.
    pub users: Vec<u32>,
    /// Their items. With `group` > 1 each positive is followed by its negatives.
    pub items: Vec<u32>,
    /// y of each pair; empty for ranking losses.
    pub targets: Vec<f32>,
    /// Pairs of one group: a positive and its negatives.
    pub group: usize,
    /// Negatives that all pairs share.
    pub negatives: Vec<u32>,
    /// Their log ω.
    pub log_weights: Vec<f32>,
}

/// Members grouped by their owners.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// Where each owner's members begin; one more than there are owners.
    pub offsets: Vec<u32>,
    /// The members.
    pub members: Vec<u32>,
}

impl Groups {
    /// The members of one owner.
    pub fn row(&self, owner: usize) -> &[u32] {
        &self.members[self.offsets[owner] as usize..self.offsets[owner + 1] as usize]
    }

    /// Stable counting sort: member m belongs to `owner_of(m)`.
    fn fill(&mut self, n_owners: usize, n_members: usize, owner_of: impl Fn(usize) -> u32) {
        self.offsets.clear();
        self.offsets.resize(n_owners + 1, 0);
        for member in 0..n_members {
            self.offsets[owner_of(member) as usize + 1] += 1;
        }
        for owner in 0..n_owners {
            self.offsets[owner + 1] += self.offsets[owner];
        }
        self.members.clear();
        self.members.resize(n_members, 0);
        for member in 0..n_members {
            let next = &mut self.offsets[owner_of(member) as usize];
            self.members[*next as usize] = member as u32;
            *next += 1;
        }
        self.offsets.rotate_right(1);
        self.offsets[0] = 0;
    }
}

const NONE: u32 = u32::MAX;

/// Distinct positions, and the index of each among them.
#[derive(Clone, Debug, Default)]
struct Distinct {
    index: Vec<u32>,
}

impl Distinct {
    fn add(&mut self, position: u32, into: &mut Vec<u32>) {
        let index = &mut self.index[position as usize];
        if *index == NONE {
            *index = into.len() as u32;
            into.push(position);
        }
    }

    fn sort(&mut self, found: &mut [u32]) {
        found.sort_unstable();
        for (index, &position) in found.iter().enumerate() {
            self.index[position as usize] = index as u32;
        }
    }

    fn clear(&mut self, found: &[u32]) {
        for &position in found {
            self.index[position as usize] = NONE;
        }
    }
}

/// Whether it is quickly seen that at least `enough` of the positions are distinct: each sets one of 16 bits per position,
/// by its hash, and different bits come from different positions. The bits fit the nearest cache, a table of all users does
/// not.
fn are_mostly_distinct(positions: &[u32], enough: usize, marks: &mut Vec<u64>) -> bool {
    let bits = (16 * positions.len()).next_power_of_two().max(64);
    let shift = 64 - bits.trailing_zeros();
    marks.clear();
    marks.resize(bits / 64, 0);
    for &position in positions {
        let bit = u64::from(position).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift;
        marks[bit as usize / 64] |= 1 << (bit % 64);
    }
    marks.iter().map(|mark| mark.count_ones() as usize).sum::<usize>() >= enough
}

/// What the layout of a batch must hold.
#[allow(clippy::struct_excessive_bools, reason = "orthogonal switches")]
#[derive(Clone, Copy, Debug)]
pub struct LayoutOptions {
    /// Whether histories are used.
    pub histories: bool,
    /// Whether every pair has attention weights of its own.
    pub row_per_pair: bool,
    /// Whether every item gets a gradient.
    pub all_items: bool,
    /// Whether the lists of the backward pass are needed.
    pub backward: bool,
}

/// The layout of a batch.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Slots: the distinct users, ascending.
    pub slots: Vec<u32>,
    /// Where each slot's pairs begin.
    pub pair_from: Vec<usize>,
    /// Pairs of a slot that are in the batch; the rest are shared negatives.
    pub given: Vec<usize>,
    /// The item of each pair as an index into `candidates`.
    pub pairs: Vec<u32>,
    /// The slot of each pair.
    pub pair_slots: Vec<u32>,
    /// The index of each pair in the batch; [`NONE`] for shared negatives.
    pub source: Vec<u32>,
    /// The distinct items of all pairs and negatives, ascending.
    pub candidates: Vec<u32>,
    /// The shared negatives as indices into `candidates`.
    pub negatives: Vec<u32>,
    /// Items that get a gradient, ascending.
    pub touched: Vec<u32>,
    /// Pairs by candidate.
    pub by_candidate: Groups,
    /// Entries of the slots' histories by touched item, as indices into `entries`.
    pub by_item: Groups,
    /// Slot and index within its history for each entry.
    pub entries: Vec<(u32, u32)>,
    /// Where each slot's attention weights begin: rows × length of the history.
    pub weights_from: Vec<usize>,
    row_per_pair: bool,
    users: Distinct,
    items: Distinct,
    order: Groups,
    marks: Vec<u64>,
}

impl Layout {
    /// For so many users and items.
    pub fn new(n_users: usize, n_items: usize) -> Self {
        let unset = |n| Distinct { index: vec![NONE; n] };
        Self { users: unset(n_users), items: unset(n_items), ..Self::default() }
    }

    /// Rows of p in the whole batch.
    pub fn n_rows(&self) -> usize {
        if self.row_per_pair { self.pairs.len() } else { self.slots.len() }
    }

    /// Where the rows of a slot begin; `slot` may be the number of slots.
    pub fn row_from(&self, slot: usize) -> usize {
        if self.row_per_pair { self.pair_from[slot] } else { slot }
    }

    /// The row that a pair reads.
    pub fn row_of(&self, pair: usize) -> usize {
        if self.row_per_pair { pair } else { self.pair_slots[pair] as usize }
    }

    /// The indices of the pairs, user after user; `None` where few users occur twice.
    pub fn order_by_user(&mut self, users: &[u32]) -> Option<&[u32]> {
        let enough = users.len() - users.len() / 4;
        if are_mostly_distinct(users, enough, &mut self.marks) {
            return None;
        }
        self.slots.clear();
        for &user in users {
            self.users.add(user, &mut self.slots);
        }
        let has_repeats = self.slots.len() < enough;
        if has_repeats {
            let index = &self.users.index;
            self.order.fill(self.slots.len(), users.len(), |at| index[users[at] as usize]);
        }
        self.users.clear(&self.slots);
        has_repeats.then_some(&self.order.members)
    }

    /// Lays out a batch.
    pub fn build(&mut self, batch: &Batch, histories: &Csr, options: LayoutOptions) {
        let group = batch.group.max(1);
        let n_groups = batch.users.len() / group;
        self.row_per_pair = options.row_per_pair;
        // 1. Slots, and the groups of each in the order of the batch.
        self.slots.clear();
        for &user in batch.users.iter().step_by(group) {
            self.users.add(user, &mut self.slots);
        }
        self.users.sort(&mut self.slots);
        let users = &self.users;
        self.order.fill(self.slots.len(), n_groups, |at| users.index[batch.users[at * group] as usize]);
        // 2. Candidates.
        self.candidates.clear();
        for &item in batch.items.iter().chain(&batch.negatives) {
            self.items.add(item, &mut self.candidates);
        }
        self.items.sort(&mut self.candidates);
        // 3. Pairs.
        let appended = if options.row_per_pair { batch.negatives.as_slice() } else { &[] };
        for list in [&mut self.pairs, &mut self.pair_slots, &mut self.source, &mut self.negatives] {
            list.clear();
        }
        self.pair_from.clear();
        self.given.clear();
        let index = &self.items.index;
        self.negatives.extend(batch.negatives.iter().map(|&item| index[item as usize]));
        for slot in 0..self.slots.len() {
            let from = self.pairs.len();
            self.pair_from.push(from);
            for &at in self.order.row(slot) {
                for source in at as usize * group..(at as usize + 1) * group {
                    self.pairs.push(index[batch.items[source] as usize]);
                    self.source.push(source as u32);
                }
            }
            self.given.push(self.pairs.len() - from);
            self.pairs.extend(appended.iter().map(|&item| index[item as usize]));
            self.source.resize(self.pairs.len(), NONE);
            self.pair_slots.resize(self.pairs.len(), slot as u32);
        }
        self.pair_from.push(self.pairs.len());
        self.weights_from.clear();
        self.weights_from.push(0);
        for (slot, &user) in self.slots.iter().enumerate() {
            let rows = if options.row_per_pair { self.pair_from[slot + 1] - self.pair_from[slot] } else { 1 };
            let length = if options.histories { histories.row(user as usize).len() } else { 0 };
            self.weights_from.push(self.weights_from[slot] + rows * length);
        }
        if options.backward {
            self.index_touched(histories, options);
        }
        self.items.clear(&self.candidates);
        if options.backward {
            self.items.clear(&self.touched);
        }
        self.users.clear(&self.slots);
    }

    /// The lists of the backward pass; `items.index` holds the candidates before, and the touched items afterwards.
    fn index_touched(&mut self, histories: &Csr, options: LayoutOptions) {
        let pairs = &self.pairs;
        self.by_candidate.fill(self.candidates.len(), pairs.len(), |pair| pairs[pair]);
        self.touched.clear();
        self.entries.clear();
        if options.all_items {
            self.touched.extend(0..histories.n_columns() as u32);
        } else {
            self.touched.extend(&self.candidates);
        }
        if options.histories {
            for (slot, &user) in self.slots.iter().enumerate() {
                let history = histories.row(user as usize);
                self.entries.extend((0..history.len() as u32).map(|at| (slot as u32, at)));
                if !options.all_items {
                    for &item in history {
                        self.items.add(item, &mut self.touched);
                    }
                }
            }
        }
        self.items.sort(&mut self.touched);
        let Self { by_item, touched, entries, items, slots, .. } = self;
        by_item.fill(touched.len(), entries.len(), |entry| {
            let (slot, at) = entries[entry];
            items.index[histories.row(slots[slot as usize] as usize)[at as usize] as usize]
        });
    }

    /// The index of each candidate among the touched items.
    pub fn touched_indices(&self, into: &mut Vec<u32>) {
        into.clear();
        let mut index = 0;
        for &item in &self.candidates {
            while self.touched[index] != item {
                index += 1;
            }
            into.push(index as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_grouped_by_user_where_a_quarter_of_the_users_repeats() {
        let mut layout = Layout::new(5000, 1);
        let all: Vec<u32> = (0..5000).map(|at| at * 37 % 5000).collect();
        for n in [0, 1, 2, 3, 64, 1000, 5000] {
            assert_eq!(layout.order_by_user(&all[..n]), None, "{n}");
        }
        for n in [4, 64, 1000] {
            // A quarter of repeats at most, and one more.
            for (n_repeats, grouped) in [(n / 4, false), (n / 4 + 1, true)] {
                let users: Vec<u32> = (0..n).map(|at| if at < n_repeats { all[n - 1] } else { all[at] }).collect();
                let order = layout.order_by_user(&users).map(<[u32]>::to_vec);
                assert_eq!(order.is_some(), grouped, "{n} {n_repeats}");
                if let Some(order) = order {
                    let ordered: Vec<u32> = order.iter().map(|&at| users[at as usize]).collect();
                    let changes = ordered.windows(2).filter(|pair| pair[0] != pair[1]).count();
                    assert_eq!(changes + 1, n - n_repeats, "{n}");
                    let mut sorted = order;
                    sorted.sort_unstable();
                    assert_eq!(sorted, (0..n as u32).collect::<Vec<_>>());
                }
            }
        }
    }
}
