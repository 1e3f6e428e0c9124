//! A batch in the order in which it is computed: pairs grouped by user, and who touches which item.
//!
//! All sums of the backward pass run over these lists in their order, one owner for each row that is summed into, so
//! threads cannot change a bit and need no locks.

use crate::data::Csr;

/// What a step learns from, by positions.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Users of the pairs.
    pub users: Vec<u32>,
    /// Their items. With `group` > 1 each positive is followed by its negatives.
    pub items: Vec<u32>,
    /// y of each pair, or nothing for losses that compare.
    pub targets: Vec<f32>,
    /// Pairs that belong together.
    pub group: usize,
    /// Negatives that all pairs share.
    pub negatives: Vec<u32>,
    /// Their log ω.
    pub log_weights: Vec<f32>,
}

/// Positions grouped by an owner.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Where each owner's members begin; one more than there are owners.
    pub offsets: Vec<u32>,
    /// The members.
    pub members: Vec<u32>,
}

impl Lists {
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

const NOWHERE: u32 = u32::MAX;

/// Distinct positions and the place of each among them.
#[derive(Clone, Debug, Default)]
struct Distinct {
    place: Vec<u32>,
}

impl Distinct {
    fn add(&mut self, position: u32, into: &mut Vec<u32>) {
        let place = &mut self.place[position as usize];
        if *place == NOWHERE {
            *place = into.len() as u32;
            into.push(position);
        }
    }

    fn sort(&mut self, found: &mut [u32]) {
        found.sort_unstable();
        for (place, &position) in found.iter().enumerate() {
            self.place[position as usize] = place as u32;
        }
    }

    fn forget(&mut self, found: &[u32]) {
        for &position in found {
            self.place[position as usize] = NOWHERE;
        }
    }
}

/// Whether a glance shows that at least so many of the positions differ: each sets one bit among 16 for each position, by
/// its hash, and different bits have different positions. In the nearest cache, where the places of all users are not.
fn differ(positions: &[u32], enough: usize, marks: &mut Vec<u64>) -> bool {
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

/// How a batch is laid out.
#[allow(clippy::struct_excessive_bools, reason = "orthogonal switches")]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether histories count.
    pub histories: bool,
    /// Whether every pair attends by itself.
    pub row_per_pair: bool,
    /// Whether every item is touched.
    pub all_items: bool,
    /// Whether the lists of the backward pass are needed.
    pub backward: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The distinct users, rising.
    pub slots: Vec<u32>,
    /// Where each slot's pairs begin.
    pub pair_from: Vec<usize>,
    /// Pairs of a slot that came with the input; the rest are shared negatives.
    pub given: Vec<usize>,
    /// The item of each pair as a place in `candidates`.
    pub pairs: Vec<u32>,
    /// The slot of each pair.
    pub pair_slots: Vec<u32>,
    /// Where each pair stood in the input; nowhere for shared negatives.
    pub source: Vec<u32>,
    /// The distinct items of all pairs and negatives, rising.
    pub candidates: Vec<u32>,
    /// The shared negatives as places in `candidates`.
    pub negatives: Vec<u32>,
    /// Items that get a gradient, rising.
    pub touched: Vec<u32>,
    /// Pairs by candidate.
    pub by_candidate: Lists,
    /// Entries of the slots' histories by touched item, as numbers of `entries`.
    pub by_item: Lists,
    /// Slot and place within its history for each entry.
    pub entries: Vec<(u32, u32)>,
    /// Where each slot's attention weights begin: rows × length of the history.
    pub weights_from: Vec<usize>,
    row_per_pair: bool,
    users: Distinct,
    items: Distinct,
    order: Lists,
    marks: Vec<u64>,
}

impl Layout {
    /// Room for so many users and items.
    pub fn new(n_users: usize, n_items: usize) -> Self {
        let nowhere = |n| Distinct { place: vec![NOWHERE; n] };
        Self { users: nowhere(n_users), items: nowhere(n_items), ..Self::default() }
    }

    /// Rows of p: the whole batch's.
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

    /// Where the pairs stand that each user reads, user after user; nothing where few users come twice.
    pub fn by_user(&mut self, users: &[u32]) -> Option<&[u32]> {
        let enough = users.len() - users.len() / 4;
        if differ(users, enough, &mut self.marks) {
            return None;
        }
        self.slots.clear();
        for &user in users {
            self.users.add(user, &mut self.slots);
        }
        let repeats = self.slots.len() < enough;
        if repeats {
            let place = &self.users.place;
            self.order.fill(self.slots.len(), users.len(), |at| place[users[at] as usize]);
        }
        self.users.forget(&self.slots);
        repeats.then_some(&self.order.members)
    }

    /// Lays out a batch.
    pub fn compose(&mut self, input: &Input, histories: &Csr, plan: Plan) {
        let group = input.group.max(1);
        let n_groups = input.users.len() / group;
        self.row_per_pair = plan.row_per_pair;
        // 1. Slots, and the groups of each in the order of the input.
        self.slots.clear();
        for &user in input.users.iter().step_by(group) {
            self.users.add(user, &mut self.slots);
        }
        self.users.sort(&mut self.slots);
        let users = &self.users;
        self.order.fill(self.slots.len(), n_groups, |at| users.place[input.users[at * group] as usize]);
        // 2. Candidates.
        self.candidates.clear();
        for &item in input.items.iter().chain(&input.negatives) {
            self.items.add(item, &mut self.candidates);
        }
        self.items.sort(&mut self.candidates);
        // 3. Pairs.
        let appended = if plan.row_per_pair { input.negatives.as_slice() } else { &[] };
        for list in [&mut self.pairs, &mut self.pair_slots, &mut self.source, &mut self.negatives] {
            list.clear();
        }
        self.pair_from.clear();
        self.given.clear();
        let place = &self.items.place;
        self.negatives.extend(input.negatives.iter().map(|&item| place[item as usize]));
        for slot in 0..self.slots.len() {
            let from = self.pairs.len();
            self.pair_from.push(from);
            for &at in self.order.row(slot) {
                for source in at as usize * group..(at as usize + 1) * group {
                    self.pairs.push(place[input.items[source] as usize]);
                    self.source.push(source as u32);
                }
            }
            self.given.push(self.pairs.len() - from);
            self.pairs.extend(appended.iter().map(|&item| place[item as usize]));
            self.source.resize(self.pairs.len(), NOWHERE);
            self.pair_slots.resize(self.pairs.len(), slot as u32);
        }
        self.pair_from.push(self.pairs.len());
        self.weights_from.clear();
        self.weights_from.push(0);
        for (slot, &user) in self.slots.iter().enumerate() {
            let rows = if plan.row_per_pair { self.pair_from[slot + 1] - self.pair_from[slot] } else { 1 };
            let length = if plan.histories { histories.row(user as usize).len() } else { 0 };
            self.weights_from.push(self.weights_from[slot] + rows * length);
        }
        if plan.backward {
            self.touch(histories, plan);
        }
        self.items.forget(&self.candidates);
        if plan.backward {
            self.items.forget(&self.touched);
        }
        self.users.forget(&self.slots);
    }

    /// Who touches what; `items.place` holds the candidates before, and the touched items afterwards.
    fn touch(&mut self, histories: &Csr, plan: Plan) {
        let pairs = &self.pairs;
        self.by_candidate.fill(self.candidates.len(), pairs.len(), |pair| pairs[pair]);
        self.touched.clear();
        self.entries.clear();
        if plan.all_items {
            self.touched.extend(0..histories.n_columns() as u32);
        } else {
            self.touched.extend(&self.candidates);
        }
        if plan.histories {
            for (slot, &user) in self.slots.iter().enumerate() {
                let history = histories.row(user as usize);
                self.entries.extend((0..history.len() as u32).map(|at| (slot as u32, at)));
                if !plan.all_items {
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
            items.place[histories.row(slots[slot as usize] as usize)[at as usize] as usize]
        });
    }

    /// The place of each candidate among the touched items.
    pub fn candidate_places(&self, into: &mut Vec<u32>) {
        into.clear();
        let mut place = 0;
        for &item in &self.candidates {
            while self.touched[place] != item {
                place += 1;
            }
            into.push(place as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_brought_together_where_a_quarter_comes_again() {
        let mut layout = Layout::new(5000, 1);
        let all: Vec<u32> = (0..5000).map(|at| at * 37 % 5000).collect();
        for n in [0, 1, 2, 3, 64, 1000, 5000] {
            assert_eq!(layout.by_user(&all[..n]), None, "{n}");
        }
        for n in [4, 64, 1000] {
            // As many as may come again without more than a quarter doing so, and one more.
            for (again, together) in [(n / 4, false), (n / 4 + 1, true)] {
                let users: Vec<u32> = (0..n).map(|at| if at < again { all[n - 1] } else { all[at] }).collect();
                let order = layout.by_user(&users).map(<[u32]>::to_vec);
                assert_eq!(order.is_some(), together, "{n} {again}");
                if let Some(order) = order {
                    let ordered: Vec<u32> = order.iter().map(|&at| users[at as usize]).collect();
                    let changes = ordered.windows(2).filter(|pair| pair[0] != pair[1]).count();
                    assert_eq!(changes + 1, n - again, "{n}");
                    let mut sorted = order;
                    sorted.sort_unstable();
                    assert_eq!(sorted, (0..n as u32).collect::<Vec<_>>());
                }
            }
        }
    }
}
