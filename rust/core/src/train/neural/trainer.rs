//! Epochs of steps over the purchases, and what is served of what they learned.

use super::options::Options;
use super::parameters::{Moving, Parameters};
use super::passes::{Dropout, Found, Network, Samples, Scratch};
use super::{PURCHASES_PER_TASK, purpose};
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::vector::{self, Adam, axpy};
use crate::train::progress::Resumable;
use crate::train::samples::{Places, draw_negative};
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// Rows of a table that one task of a step changes, or that one task of serving computes.
const ROWS_PER_TASK: usize = 256;

/// What serving needs: vectors as `model::layers` reads them, or whose inner product is the score where there are no layers.
pub struct State {
    /// `n_users` × d
    pub users: Vec<f32>,
    /// `n_items` × d
    pub items: Vec<f32>,
    /// The numbers of `model::layers`; none without layers.
    pub layers: Vec<f32>,
    /// d
    pub factors: usize,
}

/// A network in training.
pub struct Trainer {
    options: Options,
    interactions: Csr,
    /// The user of each entry.
    users: Vec<u32>,
    parameters: Parameters,
    steps: u64,
    buffers: Buffers,
}

/// The batch of a step and what it finds, allocated once.
#[derive(Default)]
struct Buffers {
    users: Vec<u32>,
    items: Vec<u32>,
    labels: Vec<f32>,
    counts: Vec<f32>,
    by_users: Vec<f32>,
    by_items: Vec<f32>,
    /// One gradient of all weights for each task; the first becomes their sum.
    by_weights: Vec<f32>,
    losses: Vec<f64>,
    user_places: Places,
    item_places: Places,
}

impl Resumable for Trainer {
    fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
        let Parameters { users, items, weights, .. } = &mut self.parameters;
        let mut found: Vec<(String, &mut [f32])> = Vec::new();
        for (name, table) in [("users", users), ("items", items), ("weights", weights)] {
            found.push((name.into(), &mut table.values));
            found.push((format!("{name}: first moments"), &mut table.first));
            found.push((format!("{name}: second moments"), &mut table.second));
        }
        found
    }

    fn steps(&mut self) -> Option<&mut u64> {
        Some(&mut self.steps)
    }

    fn derive(&mut self) {
        self.parameters.turn(&self.options);
    }
}

impl Trainer {
    /// Checks the options and draws the starting numbers.
    pub fn new(interactions: &Csr, options: Options) -> Result<Self> {
        options.check()?;
        let (n_users, n_items) = (interactions.n_rows(), interactions.n_columns());
        let users = (0..n_users as u32)
            .flat_map(|user| std::iter::repeat_n(user, interactions.row(user as usize).len()))
            .collect();
        let parameters = Parameters::new(n_users, n_items, &options);
        let buffers = Buffers::default();
        Ok(Self { options, interactions: interactions.clone(), users, parameters, steps: 0, buffers })
    }

    /// One pass over all purchases in a random order; the mean loss of a sample, each before its step.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let seed = self.options.seed;
        let order = Stream::new(seed, purpose::ORDER).sub(epoch as u64).permutation(self.users.len());
        let draws = Stream::new(seed, purpose::NEGATIVES).sub(epoch as u64);
        let total_steps = (self.options.epochs * order.len().div_ceil(self.options.batch_size)) as f64;
        let (mut loss, mut count) = (0.0, 0.0);
        let batch_size = self.options.batch_size;
        for (at, purchases) in order.chunks(batch_size).enumerate() {
            context.cancel.check()?;
            let mut buffers = std::mem::take(&mut self.buffers);
            self.fill(&mut buffers, purchases, (at * batch_size) as u64, draws, context);
            let dropout = (self.options.dropout > 0.0).then(|| Dropout {
                draws: Stream::new(seed, purpose::DROPOUT).sub(self.steps),
                rate: self.options.dropout,
                first: 0,
            });
            let counted: f32 = buffers.counts.iter().sum();
            loss += self.gradients(&mut buffers, counted, dropout, context);
            count += f64::from(counted);
            let decay = half_cosine(self.steps as f64 / total_steps) as f32;
            self.update(&mut buffers, counted, decay, context);
            self.buffers = buffers;
        }
        let loss = loss / count.max(1.0);
        let Parameters { users, items, weights, .. } = &self.parameters;
        let tables = [("the users' embeddings", users), ("the items' embeddings", items), ("the weights", weights)];
        let broken = tables.into_iter().find(|(_, table)| !table.values.iter().all(|x| x.is_finite()));
        let what = match broken {
            _ if !loss.is_finite() => format!("the training loss became {loss}"),
            Some((name, _)) => format!("{name} left the finite numbers"),
            None => return Ok(loss),
        };
        Err(Error::Diverged(format!(
            "{what} in epoch {} at learning rate {}; try a smaller learning_rate.",
            epoch + 1,
            self.options.learning_rate
        )))
    }

    /// The batch of these purchases, the `first`-th of the epoch and those after it. Where a user has nearly everything, a
    /// negative that was not found does not count.
    fn fill(&self, buffers: &mut Buffers, purchases: &[u32], first: u64, draws: Stream, context: &Context) {
        let (group, n_items) = (self.options.group(), self.interactions.n_columns());
        let n = purchases.len() * group;
        let Buffers { users, items, labels, counts, .. } = buffers;
        users.clear();
        users.extend(purchases.iter().map(|&at| self.users[at as usize]));
        for (list, size) in [(&mut *labels, n), (&mut *counts, n)] {
            list.clear();
            list.resize(size, 0.0);
        }
        items.resize(n, 0);
        let size = PURCHASES_PER_TASK * group;
        let tasks = items.chunks_mut(size).zip(labels.chunks_mut(size)).zip(counts.chunks_mut(size)).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, ((items, labels), counts))| {
                for (at, items) in items.chunks_exact_mut(group).enumerate() {
                    let purchase = task * PURCHASES_PER_TASK + at;
                    let entry = purchases[purchase] as usize;
                    let history = self.interactions.row(self.users[entry] as usize);
                    items.fill(self.interactions.columns()[entry]);
                    (labels[at * group], counts[at * group]) = (1.0, 1.0);
                    let draws = draws.sub(first + purchase as u64);
                    for (number, item) in items[1..].iter_mut().enumerate() {
                        if let Some(negative) = draw_negative(draws, number as u64, n_items, history) {
                            *item = negative;
                            counts[at * group + 1 + number] = 1.0;
                        }
                    }
                }
            },
        );
    }

    /// Passes 1 and 2: gradients of the mean loss of the batch into the buffers; the summed loss.
    fn gradients(&self, buffers: &mut Buffers, counted: f32, dropout: Option<Dropout>, context: &Context) -> f64 {
        let (width, n_weights) = (self.options.width(), self.parameters.weights.values.len());
        let Buffers { users, items, labels, counts, by_users, by_items, by_weights, losses, .. } = buffers;
        let n_tasks = users.len().div_ceil(PURCHASES_PER_TASK);
        let group = items.len() / users.len().max(1);
        by_users.resize(users.len() * width, 0.0);
        by_items.resize(items.len() * width, 0.0);
        by_weights.resize(n_tasks * n_weights, 0.0);
        losses.resize(n_tasks, 0.0);
        let samples = Samples { users, items, labels, counts, group, inverse: 1.0 / counted.max(1.0) };
        let network = Network::new(&self.options, &self.parameters);
        let tasks = by_users
            .chunks_mut(PURCHASES_PER_TASK * width)
            .zip(by_items.chunks_mut(PURCHASES_PER_TASK * group * width))
            .zip(by_weights.chunks_exact_mut(n_weights))
            .zip(&mut *losses)
            .enumerate();
        context.for_each_task(tasks, Scratch::default, |scratch, (task, (((users, items), weights), loss))| {
            let dropout = dropout.map(|dropout| Dropout { first: task * PURCHASES_PER_TASK * group, ..dropout });
            let samples = samples.part(task, PURCHASES_PER_TASK);
            *loss = network.task(context.level, samples, dropout, scratch, Found { users, items, weights });
        });
        let (sum, others) = by_weights.split_at_mut(n_weights.min(n_tasks * n_weights));
        for other in others.chunks_exact(n_weights) {
            axpy(context.level, 1.0, other, sum);
        }
        losses.iter().sum()
    }

    /// Pass 3 and a step of Adam; the learning rate is multiplied by `decay`.
    fn update(&mut self, buffers: &mut Buffers, counted: f32, decay: f32, context: &Context) {
        self.steps += 1;
        let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), self.steps as f32);
        let step = Adam {
            rate: self.options.learning_rate * decay / correction(vector::BETA1),
            second: 1.0 / correction(vector::BETA2),
            regularization: 0.0,
        };
        let penalty = self.options.regularization / counted.max(1.0);
        let Buffers { users, items, by_users, by_items, by_weights, user_places, item_places, .. } = buffers;
        let sides = [(&*users, user_places), (&*items, item_places)];
        context.for_each_task(sides.into_iter(), || (), |(), (rows, places)| places.fill(rows));
        let width = self.options.width();
        let Parameters { users, items, weights, .. } = &mut self.parameters;
        // A group is one place of its user, and as many samples.
        let by_group = penalty * self.options.group() as f32;
        update_table(users, width, &buffers.user_places, by_users, by_group, step, context);
        update_table(items, width, &buffers.item_places, by_items, penalty, step, context);
        let Moving { values, first, second } = weights;
        vector::adam(context.level, step, &by_weights[..values.len()], values, first, second);
        self.parameters.turn(&self.options);
    }

    /// Gradients of the mean loss of samples by the numbers of the users, the items and the weights, and that loss; for
    /// checks. No output is left out.
    pub fn sample_gradients(
        &self,
        users: &[u32],
        items: &[u32],
        labels: &[f32],
        context: &Context,
    ) -> Result<([Vec<f32>; 3], f64)> {
        let group = items.len() / users.len().max(1);
        let in_range = users.iter().all(|&user| (user as usize) < self.interactions.n_rows())
            && items.iter().all(|&item| (item as usize) < self.interactions.n_columns());
        if group == 0 || items.len() != users.len() * group || labels.len() != items.len() || !in_range {
            return Err(Error::InvalidData("samples: users, the same number of items for each, labels.".into()));
        }
        let mut buffers = Buffers {
            users: users.to_vec(),
            items: items.to_vec(),
            labels: labels.to_vec(),
            counts: vec![1.0; items.len()],
            ..Buffers::default()
        };
        let loss = self.gradients(&mut buffers, items.len() as f32, None, context) / items.len() as f64;
        let width = self.options.width();
        let scatter = |rows: &[u32], found: &[f32], n: usize| {
            let mut sums = vec![0.0; n * width];
            for (&row, found) in rows.iter().zip(found.chunks_exact(width)) {
                axpy(context.level, 1.0, found, &mut sums[row as usize * width..][..width]);
            }
            sums
        };
        let by_users = scatter(&buffers.users, &buffers.by_users, self.interactions.n_rows());
        let by_items = scatter(&buffers.items, &buffers.by_items, self.interactions.n_columns());
        buffers.by_weights.truncate(self.parameters.weights.values.len());
        Ok(([by_users, by_items, buffers.by_weights], loss))
    }

    /// Embeddings of users and items, and all weights, as they stand.
    pub fn parameters(&self) -> [&[f32]; 3] {
        [&self.parameters.users.values, &self.parameters.items.values, &self.parameters.weights.values]
    }

    /// What serving needs of the network as it stands.
    pub fn state(&self, context: &Context) -> State {
        let Parameters { users, items, weights, shape, .. } = &self.parameters;
        let (w, g) = (&weights.values, self.options.product);
        if !self.options.has_layers() {
            let served = |table: &Moving, last: f32, factors: Option<&[f32]>| {
                let mut out = Vec::with_capacity(table.values.len() / g * (g + 1));
                for row in table.values.chunks_exact(g) {
                    match factors {
                        Some(factors) => out.extend(row.iter().zip(factors).map(|(x, h)| x * h)),
                        None => out.extend_from_slice(row),
                    }
                    out.push(last);
                }
                out
            };
            let users = served(users, 1.0, None);
            let items = served(items, w[shape.product - 1], Some(&w[shape.product..]));
            return State { users, items, layers: Vec::new(), factors: g + 1 };
        }
        let first = self.options.widths[0];
        let (zeros, ones) = (vec![0.0; first], vec![1.0; g]);
        let users = self.served(
            users,
            &ones,
            &w[shape.first_bias..shape.rest],
            &w[shape.first_user..shape.first_item],
            context,
        );
        let items = self.served(items, &w[shape.product..], &zeros, &w[shape.first_item..shape.first_bias], context);
        State { users, items, layers: w[shape.rest..shape.product].to_vec(), factors: g + first }
    }

    /// Rows of [product part times `factors` | `bias` + embedding · `matrix`].
    fn served(&self, table: &Moving, factors: &[f32], bias: &[f32], matrix: &[f32], context: &Context) -> Vec<f32> {
        let (g, e, first, width) = (factors.len(), self.options.embedding, bias.len(), self.options.width());
        let mut out = vec![0.0; table.values.len() / width * (g + first)];
        let tasks = out.chunks_mut(ROWS_PER_TASK * (g + first)).zip(table.values.chunks(ROWS_PER_TASK * width));
        context.for_each_task(
            tasks,
            || (),
            |(), (out, rows)| {
                let mut sums = bias.repeat(rows.len() / width);
                let embeddings = View { data: &rows[g..], row: width, column: 1 };
                multiply_add(context.level, &mut sums, first, embeddings, 0, matrix, e);
                for ((out, row), sums) in
                    out.chunks_exact_mut(g + first).zip(rows.chunks_exact(width)).zip(sums.chunks_exact(first))
                {
                    for ((out, x), factor) in out.iter_mut().zip(row).zip(factors) {
                        *out = x * factor;
                    }
                    out[g..].copy_from_slice(sums);
                }
            },
        );
        out
    }
}

/// One step of Adam on the rows that the batch used; each place adds its gradient and `penalty` times the row.
fn update_table(
    table: &mut Moving,
    width: usize,
    places: &Places,
    found: &[f32],
    penalty: f32,
    step: Adam,
    context: &Context,
) {
    let size = ROWS_PER_TASK * width;
    let Moving { values, first, second } = table;
    let tasks = values.chunks_mut(size).zip(first.chunks_mut(size)).zip(second.chunks_mut(size)).enumerate();
    context.for_each_task(
        tasks,
        || vec![0.0; width],
        |sum, (task, ((values, first), second))| {
            let from = task * ROWS_PER_TASK;
            let begin = places.rows.partition_point(|&row| (row as usize) < from);
            for (at, &row) in places.rows[begin..].iter().enumerate() {
                let Some(at_row) = (row as usize).checked_sub(from).filter(|at| *at < ROWS_PER_TASK) else { break };
                sum.fill(0.0);
                for &place in places.of(begin + at) {
                    axpy(context.level, 1.0, &found[place as usize * width..][..width], sum);
                }
                let part = at_row * width..(at_row + 1) * width;
                axpy(context.level, penalty * places.of(begin + at).len() as f32, &values[part.clone()], sum);
                let (values, first) = (&mut values[part.clone()], &mut first[part.clone()]);
                vector::adam(context.level, step, sum, values, first, &mut second[part]);
            }
        },
    );
}
