//! Users and items in blocks, and one epoch of steps over the cells between them.

use rayon::prelude::*;

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::factor_steps::{Block, Rating};
use crate::runtime::simd::vector::LANES;
use crate::{Error, Result};

/// Bytes of the factors of a cell, so that they stay in the cache of a core.
const BYTES_PER_CELL: usize = 1 << 19;
/// Blocks for which the threads find enough to do, where the table is large enough.
const MIN_BLOCKS: usize = 8;
const MAX_BLOCKS: usize = 64;
/// Users and items of a block at least: items are compared with others of their block.
const MIN_ROWS: usize = 32;
/// Samples between two looks at whether the caller wants to stop.
pub(super) const SAMPLES_PER_SLICE: usize = 1024;
/// The squares of numbers below this add up to a finite f32, whatever the number of factors.
const MAX_ABS: f32 = 1e15;

/// Streams of random numbers, by purpose.
mod purpose {
    pub const USERS: u64 = 1;
    pub const ITEMS: u64 = 2;
    pub const USER_BLOCKS: u64 = 3;
    pub const ORDER: u64 = 4;
    pub const CELLS: u64 = 5;
}

/// Vectors and biases of users and items by their positions, as training has left them.
pub struct State {
    /// `n_users` × d
    pub users: Vec<f32>,
    /// `n_items` × d
    pub items: Vec<f32>,
    /// `n_users`
    pub user_biases: Vec<f32>,
    /// `n_items`
    pub item_biases: Vec<f32>,
}

/// The users or the items: padded vectors and biases in the order of their blocks.
struct Side {
    /// The position of each row, and the row of each position.
    order: Vec<u32>,
    row_of: Vec<u32>,
    vectors: Vec<f32>,
    biases: Vec<f32>,
    /// What the next order is written into.
    spare: Vec<f32>,
}

impl Side {
    fn new(n: usize, d: usize, scale: f32, draws: Stream) -> Self {
        let width = d.next_multiple_of(LANES);
        let mut vectors = vec![0.0; n * width];
        for (row, vector) in vectors.chunks_exact_mut(width).enumerate() {
            for (k, x) in vector[..d].iter_mut().enumerate() {
                *x = scale * draws.normal((row * d + k) as u64);
            }
        }
        let order: Vec<u32> = (0..n as u32).collect();
        Self { row_of: order.clone(), order, vectors, biases: vec![0.0; n], spare: Vec::new() }
    }

    /// Puts the rows into another order.
    fn reorder(&mut self, order: Vec<u32>, context: &Context) {
        const ROWS_PER_TASK: usize = 1024;
        let Some(width) = self.vectors.len().checked_div(order.len()) else { return };
        self.spare.resize(self.vectors.len(), 0.0);
        let (old, row_of) = (&self.vectors, &self.row_of);
        context.install(|| {
            self.spare.par_chunks_mut(ROWS_PER_TASK * width).zip(order.par_chunks(ROWS_PER_TASK)).for_each(
                |(rows, positions)| {
                    for (row, &position) in rows.chunks_exact_mut(width).zip(positions) {
                        row.copy_from_slice(&old[row_of[position as usize] as usize * width..][..width]);
                    }
                },
            );
        });
        std::mem::swap(&mut self.vectors, &mut self.spare);
        self.biases = order.iter().map(|&position| self.biases[row_of[position as usize] as usize]).collect();
        for (row, &position) in order.iter().enumerate() {
            self.row_of[position as usize] = row as u32;
        }
        self.order = order;
    }

    /// The blocks, with the positions of their rows.
    fn blocks<'a>(&'a mut self, bounds: &[usize]) -> Vec<(Block<'a>, &'a [u32])> {
        let width = self.vectors.len() / self.order.len().max(1);
        let (mut vectors, mut biases, mut order) = (&mut *self.vectors, &mut *self.biases, &*self.order);
        let mut blocks = Vec::with_capacity(bounds.len());
        for pair in bounds.windows(2) {
            let n = pair[1] - pair[0];
            let (own_vectors, other_vectors) = vectors.split_at_mut(n * width);
            let (own_biases, other_biases) = biases.split_at_mut(n);
            let (own_order, other_order) = order.split_at(n);
            blocks.push((Block { vectors: own_vectors, biases: own_biases }, own_order));
            (vectors, biases, order) = (other_vectors, other_biases, other_order);
        }
        blocks
    }

    /// Vectors without padding, and biases, by position.
    fn by_position(&self, d: usize) -> (Vec<f32>, Vec<f32>) {
        let width = d.next_multiple_of(LANES);
        let mut vectors = Vec::with_capacity(self.order.len() * d);
        for &row in &self.row_of {
            vectors.extend_from_slice(&self.vectors[row as usize * width..][..d]);
        }
        (vectors, self.row_of.iter().map(|&row| self.biases[row as usize]).collect())
    }
}

/// What one thread works on: the samples between a block of users and a block of items.
pub(super) struct Cell<'a> {
    pub users: Block<'a>,
    pub items: Block<'a>,
    /// The positions of the blocks' rows.
    pub user_positions: &'a [u32],
    pub item_positions: &'a [u32],
    /// Where the items' block begins among all items in the order of their blocks.
    pub item_from: usize,
    /// All interactions.
    pub data: &'a Csr,
    /// Those of the cell, in the order in which they are learned from.
    pub samples: &'a [Rating],
    /// Random numbers of this cell and epoch.
    pub draws: Stream,
}

/// Where n rows are cut into blocks.
fn bounds(n: usize, n_blocks: usize) -> Vec<usize> {
    (0..=n_blocks).map(|block| n * block / n_blocks).collect()
}

/// The interactions, and the factors that are learned from them.
pub(super) struct Strata {
    data: Csr,
    factors: usize,
    seed: u64,
    n_blocks: usize,
    users: Side,
    /// Whether the users are in the order of their blocks, which stays the same, or by position.
    users_are_dealt: bool,
    items: Side,
}

impl Strata {
    /// Vectors of normal numbers with standard deviation `scale`, biases of 0.
    pub fn new(data: &Csr, factors: usize, scale: f32, seed: u64, context: &Context) -> Result<Self> {
        if factors == 0 || factors > 4096 {
            return Err(Error::InvalidParameter(format!("factors is {factors}; it must be between 1 and 4096.")));
        }
        if data.is_empty() {
            return Err(Error::InvalidData("there is no interaction to learn from.".into()));
        }
        let (n_users, n_items) = (data.n_rows(), data.n_columns());
        let bytes = (n_users + n_items) * factors.next_multiple_of(LANES) * size_of::<f32>();
        let n_blocks = bytes.div_ceil(BYTES_PER_CELL).max(MIN_BLOCKS).min(n_users.min(n_items) / MIN_ROWS);
        let mut users = Side::new(n_users, factors, scale, Stream::new(seed, purpose::USERS));
        users.reorder(Stream::new(seed, purpose::USER_BLOCKS).permutation(n_users), context);
        Ok(Self {
            data: data.clone(),
            factors,
            seed,
            n_blocks: n_blocks.clamp(1, MAX_BLOCKS),
            users,
            users_are_dealt: true,
            items: Side::new(n_items, factors, scale, Stream::new(seed, purpose::ITEMS)),
        })
    }

    /// Every interaction once: `start` sees the items in their new order, and `work` takes the steps of a cell and says its
    /// loss. The sum of the losses.
    pub fn epoch<S, T: Sync>(
        &mut self,
        epoch: usize,
        start: impl FnOnce(&[u32]) -> T,
        scratch: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, &T, Cell<'_>) -> Result<f64> + Sync,
        context: &Context,
    ) -> Result<f64> {
        if !self.users_are_dealt {
            let order = Stream::new(self.seed, purpose::USER_BLOCKS).permutation(self.users.order.len());
            self.users.reorder(order, context);
            self.users_are_dealt = true;
        }
        let order = Stream::new(self.seed, purpose::ORDER).sub(epoch as u64).permutation(self.items.order.len());
        self.items.reorder(order, context);
        let shared = start(&self.items.order);
        let n_blocks = self.n_blocks;
        let (user_bounds, item_bounds) =
            (bounds(self.users.order.len(), n_blocks), bounds(self.items.order.len(), n_blocks));
        let draws = Stream::new(self.seed, purpose::CELLS).sub(epoch as u64);
        let samples = self.samples(&user_bounds, &item_bounds, draws, context)?;
        let mut losses = vec![0.0f64; n_blocks * n_blocks];
        let data = &self.data;
        let mut users = self.users.blocks(&user_bounds);
        let mut items: Vec<_> = self.items.blocks(&item_bounds).into_iter().enumerate().collect();
        for losses in losses.chunks_exact_mut(n_blocks) {
            // User block a meets item block a + the number of the round.
            let cells = users.iter_mut().zip(&mut items).zip(&samples).zip(losses).enumerate();
            context.try_for_each_task(cells, &scratch, |scratch, (a, (((users, items), samples), loss))| {
                let (b, (item_block, item_positions)) = items;
                let (user_block, user_positions) = users;
                let cell = Cell {
                    users: user_block.reborrow(),
                    items: item_block.reborrow(),
                    user_positions,
                    item_positions,
                    item_from: item_bounds[*b],
                    data,
                    samples: samples.of(*b),
                    draws: draws.sub((a * n_blocks + *b) as u64).sub(1),
                };
                *loss = work(scratch, &shared, cell)?;
                Ok(())
            })?;
            items.rotate_left(1);
        }
        Ok(losses.into_iter().sum())
    }

    /// The interactions of each user block, by item block and shuffled within.
    fn samples(
        &self,
        user_bounds: &[usize],
        item_bounds: &[usize],
        draws: Stream,
        context: &Context,
    ) -> Result<Vec<Samples>> {
        let n_blocks = self.n_blocks;
        let mut block_of = vec![0u32; self.items.order.len()];
        for (block, pair) in item_bounds.windows(2).enumerate() {
            block_of[pair[0]..pair[1]].fill(block as u32);
        }
        let mut found: Vec<Samples> = (0..n_blocks).map(|_| Samples::default()).collect();
        context.try_for_each_task(
            found.iter_mut().enumerate(),
            || (),
            |(), (a, samples)| {
                context.cancel.check()?;
                let positions = &self.users.order[user_bounds[a]..user_bounds[a + 1]];
                let row_of = &self.items.row_of;
                // 1. A counting sort by item block.
                let mut offsets = vec![0usize; n_blocks + 1];
                for &user in positions {
                    for &item in self.data.row(user as usize) {
                        offsets[block_of[row_of[item as usize] as usize] as usize + 1] += 1;
                    }
                }
                for block in 0..n_blocks {
                    offsets[block + 1] += offsets[block];
                }
                context.cancel.check()?;
                let mut next = offsets.clone();
                samples.ratings = vec![Rating { user: 0, item: 0, value: 0.0 }; offsets[n_blocks]];
                for (local, &user) in positions.iter().enumerate() {
                    for (&item, &value) in self.data.row(user as usize).iter().zip(self.data.row_values(user as usize))
                    {
                        let row = row_of[item as usize];
                        let block = block_of[row as usize] as usize;
                        let item = row - item_bounds[block] as u32;
                        samples.ratings[next[block]] = Rating { user: local as u32, item, value };
                        next[block] += 1;
                    }
                }
                // 2. Fisher-Yates within each cell.
                for block in 0..n_blocks {
                    context.cancel.check()?;
                    let draws = draws.sub((a * n_blocks + block) as u64);
                    let cell = &mut samples.ratings[offsets[block]..offsets[block + 1]];
                    for i in (1..cell.len()).rev() {
                        cell.swap(i, draws.below(i as u64, i as u64 + 1) as usize);
                    }
                }
                samples.offsets = offsets;
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// Every number that an epoch changes, by name, in the order of the positions.
    pub fn numbers(&mut self, context: &Context) -> Vec<(String, &mut [f32])> {
        self.users.reorder((0..self.users.order.len() as u32).collect(), context);
        self.users_are_dealt = false;
        self.items.reorder((0..self.items.order.len() as u32).collect(), context);
        vec![
            ("users".into(), self.users.vectors.as_mut_slice()),
            ("the users' biases".into(), self.users.biases.as_mut_slice()),
            ("items".into(), self.items.vectors.as_mut_slice()),
            ("the items' biases".into(), self.items.biases.as_mut_slice()),
        ]
    }

    /// The interactions.
    pub fn data(&self) -> &Csr {
        &self.data
    }

    /// Whether the factors can be served.
    pub fn check(&self, loss: f64, epoch: usize, rate: f32) -> Result<()> {
        let tables = [&self.users.vectors, &self.items.vectors, &self.users.biases, &self.items.biases];
        if loss.is_finite() && tables.iter().all(|table| table.iter().all(|x| x.abs() < MAX_ABS)) {
            return Ok(());
        }
        Err(Error::Diverged(format!(
            "the training loss became {loss} in epoch {} at learning rate {rate}; try a smaller learning_rate.",
            epoch + 1
        )))
    }

    /// What has been learned.
    pub fn state(&self) -> State {
        let (users, user_biases) = self.users.by_position(self.factors);
        let (items, item_biases) = self.items.by_position(self.factors);
        State { users, items, user_biases, item_biases }
    }
}

/// Interactions of one user block, by item block.
#[derive(Default)]
struct Samples {
    offsets: Vec<usize>,
    ratings: Vec<Rating>,
}

impl Samples {
    fn of(&self, item_block: usize) -> &[Rating] {
        &self.ratings[self.offsets[item_block]..self.offsets[item_block + 1]]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// 300 users and 200 items: six blocks each.
    pub(super) fn table() -> Csr {
        let draws = Stream::new(4, 0);
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for user in 0..300u64 {
            columns.extend((0..200u32).filter(|&i| draws.f32(user * 200 + u64::from(i)) < 0.05));
            offsets.push(columns.len());
        }
        let values = (0..columns.len()).map(|at| at as f32).collect();
        Csr::new(offsets, columns, values, 200).unwrap()
    }

    #[test]
    fn an_epoch_meets_every_interaction_once_and_deals_the_items_anew() {
        let data = table();
        let context = Context::new(Some(3)).unwrap();
        let mut strata = Strata::new(&data, 5, 0.1, 1, &context).unwrap();
        assert!(strata.n_blocks > 1);
        let mut orders = Vec::new();
        for epoch in 0..2 {
            let met = Mutex::new(Vec::new());
            let work = |(): &mut (), (): &(), cell: Cell<'_>| {
                for sample in cell.samples {
                    let user = cell.user_positions[sample.user as usize];
                    let item = cell.item_positions[sample.item as usize];
                    met.lock().unwrap().push((user, item, sample.value as usize));
                }
                Ok(1.0)
            };
            let loss = strata.epoch(epoch, |_| (), || (), work, &context).unwrap();
            assert_eq!(loss, (strata.n_blocks * strata.n_blocks) as f64);
            let mut met = met.into_inner().unwrap();
            met.sort_unstable();
            let wanted: Vec<_> = (0..300u32).flat_map(|u| data.row(u as usize).iter().map(move |&i| (u, i))).collect();
            assert_eq!(met.iter().map(|&(u, i, _)| (u, i)).collect::<Vec<_>>(), wanted);
            assert!(met.iter().enumerate().all(|(at, &(_, _, value))| value == at));
            orders.push(strata.items.order.clone());
        }
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn numbers_stand_by_position_and_change_nothing() {
        let context = Context::new(Some(2)).unwrap();
        let step = |strata: &mut Strata, epoch| {
            let work = |(): &mut (), (): &(), cell: Cell<'_>| {
                for (at, &position) in cell.user_positions.iter().enumerate() {
                    cell.users.biases[at] += position as f32;
                }
                Ok(0.0)
            };
            strata.epoch(epoch, |_| (), || (), work, &context).unwrap();
        };
        let (mut looked, mut plain) =
            (Strata::new(&table(), 5, 0.1, 1, &context).unwrap(), Strata::new(&table(), 5, 0.1, 1, &context).unwrap());
        step(&mut plain, 0);
        step(&mut looked, 0);
        let biases = looked.numbers(&context)[1].1.to_vec();
        assert!(biases.windows(2).all(|pair| pair[1] > pair[0]));
        assert_eq!(biases, plain.state().user_biases);
        step(&mut plain, 1);
        step(&mut looked, 1);
        assert_eq!(
            (looked.state().users, looked.state().user_biases),
            (plain.state().users, plain.state().user_biases)
        );
    }

    #[test]
    fn another_order_changes_nobodys_factors() {
        let context = Context::new(Some(2)).unwrap();
        let mut strata = Strata::new(&table(), 5, 0.1, 1, &context).unwrap();
        let before = strata.state();
        strata.items.biases.copy_from_slice(&(0..200).map(|i| i as f32).collect::<Vec<_>>());
        strata.epoch(0, |_| (), || (), |(), (), _| Ok(0.0), &context).unwrap();
        let after = strata.state();
        assert_eq!((before.users, before.items), (after.users, after.items));
        assert_eq!(after.item_biases, (0..200).map(|i| i as f32).collect::<Vec<_>>());
    }
}
