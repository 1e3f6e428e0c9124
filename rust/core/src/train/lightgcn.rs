//! LightGCN (He, Deng, Wang, Li, Zhang, Wang, LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation,
//! SIGIR 2020): embeddings propagated over the graph of purchases, ranked pair against pair.
//!
//! ```text
//! f      = 1/(K + 1) Σ_{k = 0..K} Â^k e        Â: users and items, 1/√(n_u n_i) between u and each i that u has
//! loss   = mean of −ln σ(⟨f_u, f_i − f_j⟩) over purchases (u, i) and items j that u does not have
//!        + λ/2 · mean of ‖e_u‖² + ‖e_i‖² + ‖e_j‖²
//! ```
//!
//! The mean is taken as Horner's scheme takes it, e + Â(e + Â(e + Â e)): K products and no sum of their own. Â is symmetric, so
//! slopes go back through the same products. A step is one batch of purchases; as each step propagates over the whole graph,
//! batches are large. Steps of Adam move all embeddings, for all of them have a slope.
//!
//! Each product adds up a row in the order of its entries, and slopes are added up row by row in the order of the samples: no
//! number of threads and no instruction set changes a bit.

use crate::data::Csr;
use crate::model::attention::propagate_onto;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::sigmoid;
use crate::runtime::simd::sparse::Accumulate;
use crate::runtime::simd::vector::{self, Adam, axpy, count_power, dot, exp_f64, ln, scale};
use crate::train::progress::Resumable;
use crate::train::samples::{Places, draw_negative};
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// Standard deviation of the embeddings at the start, as in the paper's software.
const START_SCALE: f32 = 0.1;
/// Samples, or rows, of one task.
const SAMPLES_PER_TASK: usize = 256;
const ROWS_PER_TASK: usize = 128;

/// Streams of random numbers, by purpose.
mod purpose {
    pub const USERS: u64 = 1;
    pub const ITEMS: u64 = 2;
    pub const ORDER: u64 = 3;
    pub const NEGATIVES: u64 = 4;
}

/// How the embeddings are learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in an embedding.
    pub factors: usize,
    /// K, how many steps of the graph an embedding is propagated.
    pub n_layers: usize,
    /// Epochs over which the learning rate decays by half a cosine.
    pub epochs: usize,
    /// Purchases of a step.
    pub batch_size: usize,
    /// The rate at the start.
    pub learning_rate: f32,
    /// λ.
    pub regularization: f32,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// Numbers of all users and of all items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Both {
    /// `n_users` × d
    pub users: Vec<f32>,
    /// `n_items` × d
    pub items: Vec<f32>,
}

/// What serving needs.
pub struct State {
    /// f, whose inner products are the scores.
    pub vectors: Both,
    /// What an item adds to the f of a user who has it and n items in all, times √n: `n_items` × d.
    pub contributions: Vec<f32>,
}

/// Who has what, from both sides, with the weights of Â.
struct Graph {
    users: Csr,
    items: Csr,
    by_user: Vec<f32>,
    by_item: Vec<f32>,
}

/// Embeddings in training.
pub struct Trainer {
    options: Options,
    graph: Graph,
    /// The user of each entry.
    owners: Vec<u32>,
    embeddings: Both,
    first: Both,
    second: Both,
    steps: u64,
    /// f, and the slopes by f and by the embeddings.
    vectors: Both,
    by_vectors: Both,
    slopes: Both,
    spare: Both,
    batch: Batch,
}

/// Purchases of a step.
#[derive(Default)]
struct Batch {
    users: Vec<u32>,
    /// An item that the user has and one that the user does not have, in turn.
    items: Vec<u32>,
    by_margin: Vec<f32>,
    losses: Vec<f64>,
    user_places: Places,
    item_places: Places,
}

impl Graph {
    fn new(interactions: &Csr) -> Self {
        let users = interactions.clone();
        let (items, positions) = users.transpose_with_positions();
        let inverse_roots =
            |rows: &Csr| -> Vec<f32> { (0..rows.n_rows()).map(|row| count_power(rows.row(row).len(), -0.5)).collect() };
        let (of_users, of_items) = (inverse_roots(&users), inverse_roots(&items));
        let by_user: Vec<f32> = (0..users.n_rows())
            .flat_map(|user| users.row(user).iter().map(move |&item| (user, item as usize)))
            .map(|(user, item)| of_users[user] * of_items[item])
            .collect();
        let by_item = positions.iter().map(|&at| by_user[at as usize]).collect();
        Self { users, items, by_user, by_item }
    }

    /// Σ_{k = 0..K} Â^k x into `out`; `spare` is scratch of the same shape.
    fn sum(&self, n_layers: usize, d: usize, x: &Both, out: &mut Both, spare: &mut Both, context: &Context) {
        out.clone_from(x);
        spare.users.resize(x.users.len(), 0.0);
        spare.items.resize(x.items.len(), 0.0);
        for _ in 0..n_layers {
            let (users, items) = (Accumulate::Table(&x.users), Accumulate::Table(&x.items));
            propagate_onto(context, d, &self.users, &self.by_user, &out.items, users, &mut spare.users);
            propagate_onto(context, d, &self.items, &self.by_item, &out.users, items, &mut spare.items);
            std::mem::swap(out, spare);
        }
    }
}

impl Resumable for Trainer {
    fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
        let mut found: Vec<(String, &mut [f32])> = Vec::new();
        for (name, both) in [
            ("embeddings", &mut self.embeddings),
            ("first moments", &mut self.first),
            ("second moments", &mut self.second),
        ] {
            found.push((format!("{name} of users"), &mut both.users));
            found.push((format!("{name} of items"), &mut both.items));
        }
        found
    }

    fn steps(&mut self) -> Option<&mut u64> {
        Some(&mut self.steps)
    }
}

impl Trainer {
    /// Checks the options and draws the starting numbers.
    pub fn new(interactions: &Csr, options: Options) -> Result<Self> {
        let bad = |name: &str, value: &dyn std::fmt::Display, range: &str| {
            Err(Error::InvalidParameter(format!("{name} is {value}; it must be {range}.")))
        };
        match &options {
            o if o.factors == 0 => return bad("factors", &0, "at least 1"),
            o if !(1..=16).contains(&o.n_layers) => return bad("n_layers", &o.n_layers, "between 1 and 16"),
            o if o.epochs == 0 => return bad("epochs", &0, "at least 1"),
            o if o.batch_size == 0 => return bad("batch_size", &0, "at least 1"),
            o if !(o.learning_rate > 0.0 && o.learning_rate.is_finite()) => {
                return bad("learning_rate", &o.learning_rate, "a finite number above 0");
            }
            o if !(o.regularization >= 0.0 && o.regularization.is_finite()) => {
                return bad("regularization", &o.regularization, "a finite number of at least 0");
            }
            _ => {}
        }
        let (n_users, n_items) = (interactions.n_rows(), interactions.n_columns());
        let random = |n: usize, purpose: u64| -> Vec<f32> {
            let draws = Stream::new(options.seed, purpose);
            (0..n * options.factors).map(|at| START_SCALE * draws.normal(at as u64)).collect()
        };
        let embeddings = Both { users: random(n_users, purpose::USERS), items: random(n_items, purpose::ITEMS) };
        let zeros = Both { users: vec![0.0; embeddings.users.len()], items: vec![0.0; embeddings.items.len()] };
        let owners = (0..n_users as u32)
            .flat_map(|user| std::iter::repeat_n(user, interactions.row(user as usize).len()))
            .collect();
        Ok(Self {
            graph: Graph::new(interactions),
            owners,
            first: zeros.clone(),
            second: zeros.clone(),
            steps: 0,
            vectors: Both::default(),
            by_vectors: zeros,
            slopes: Both::default(),
            spare: Both::default(),
            batch: Batch::default(),
            embeddings,
            options,
        })
    }

    /// One pass over all purchases in a random order; the mean of −ln σ over them, each before its step.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let (seed, batch_size) = (self.options.seed, self.options.batch_size);
        let order = Stream::new(seed, purpose::ORDER).sub(epoch as u64).permutation(self.owners.len());
        let draws = Stream::new(seed, purpose::NEGATIVES).sub(epoch as u64);
        let total_steps = (self.options.epochs * order.len().div_ceil(batch_size)) as f64;
        let (mut loss, mut count) = (0.0, 0);
        for (at, purchases) in order.chunks(batch_size).enumerate() {
            context.cancel.check()?;
            self.fill(purchases, (at * batch_size) as u64, draws);
            loss += self.gradient(context)?;
            count += self.batch.users.len();
            self.update(half_cosine(self.steps as f64 / total_steps) as f32, context);
        }
        let loss = loss / count.max(1) as f64;
        let finite = |table: &[f32]| table.iter().all(|x| x.is_finite());
        if loss.is_finite() && finite(&self.embeddings.users) && finite(&self.embeddings.items) {
            return Ok(loss);
        }
        Err(Error::Diverged(format!(
            "the training loss became {loss}, or an embedding left the finite numbers, in epoch {} at learning rate {}; try \
             a smaller learning_rate.",
            epoch + 1,
            self.options.learning_rate
        )))
    }

    /// The batch of these purchases, the `first`-th of the epoch and those after it; without those of users who have nearly
    /// everything.
    fn fill(&mut self, purchases: &[u32], first: u64, draws: Stream) {
        let pairs = &self.graph.users;
        let Batch { users, items, .. } = &mut self.batch;
        users.clear();
        items.clear();
        for (at, &entry) in purchases.iter().enumerate() {
            let user = self.owners[entry as usize];
            let history = pairs.row(user as usize);
            if let Some(negative) = draw_negative(draws.sub(first + at as u64), 0, pairs.n_columns(), history) {
                users.push(user);
                items.extend([pairs.columns()[entry as usize], negative]);
            }
        }
    }

    /// The slopes of the batch's mean loss by the embeddings into `slopes`; the summed loss without the penalty.
    fn gradient(&mut self, context: &Context) -> Result<f64> {
        let (d, n_layers, level) = (self.options.factors, self.options.n_layers, context.level);
        let share = 1.0 / (n_layers + 1) as f32;
        // 1. f, but for the factor 1/(K + 1).
        self.graph.sum(n_layers, d, &self.embeddings, &mut self.vectors, &mut self.spare, context);
        context.cancel.check()?;
        // 2. Margins: the loss, and its slope by each.
        let Batch { users, items, by_margin, losses, user_places, item_places } = &mut self.batch;
        let inverse = 1.0 / users.len().max(1) as f32;
        let vectors = &self.vectors;
        let user = |at: u32| &vectors.users[at as usize * d..][..d];
        let item = |at: u32| &vectors.items[at as usize * d..][..d];
        by_margin.resize(users.len(), 0.0);
        losses.clear();
        losses.resize(users.len().div_ceil(SAMPLES_PER_TASK), 0.0);
        let tasks = by_margin.chunks_mut(SAMPLES_PER_TASK).zip(&mut *losses).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, (by_margin, loss))| {
                for (at, slope) in by_margin.iter_mut().enumerate() {
                    let at = task * SAMPLES_PER_TASK + at;
                    let of_user = user(users[at]);
                    let margin =
                        dot(level, of_user, item(items[2 * at])) - dot(level, of_user, item(items[2 * at + 1]));
                    let margin = margin * share * share;
                    *loss += f64::from(-margin).max(0.0) + ln(1.0 + exp_f64(-f64::from(margin.abs()).min(700.0)));
                    *slope = -sigmoid(level, -margin) * inverse * share * share;
                }
            },
        );
        let loss = losses.iter().sum();
        context.cancel.check()?;
        // 3. Slopes by f, row by row.
        let by_margin = &*by_margin;
        let (users, items) = (&*users, &*items);
        let sides = [(users.as_slice(), &mut *user_places), (items.as_slice(), &mut *item_places)];
        context.for_each_task(sides.into_iter(), || (), |(), (rows, places)| places.fill(rows));
        add_slopes(&mut self.by_vectors.users, d, user_places, context, |place, slopes| {
            axpy(level, by_margin[place], item(items[2 * place]), slopes);
            axpy(level, -by_margin[place], item(items[2 * place + 1]), slopes);
        });
        add_slopes(&mut self.by_vectors.items, d, item_places, context, |place, slopes| {
            let slope = by_margin[place / 2];
            axpy(level, if place % 2 == 0 { slope } else { -slope }, user(users[place / 2]), slopes);
        });
        // 4. Back over the graph.
        self.graph.sum(n_layers, d, &self.by_vectors, &mut self.slopes, &mut self.spare, context);
        context.cancel.check()?;
        // 5. The penalty of the embeddings that the batch uses, as often as it does.
        let penalty = self.options.regularization * inverse;
        for (slopes, table, places) in [
            (&mut self.slopes.users, &self.embeddings.users, &*user_places),
            (&mut self.slopes.items, &self.embeddings.items, &*item_places),
        ] {
            for (at, &row) in places.rows.iter().enumerate() {
                let row = row as usize * d..(row as usize + 1) * d;
                axpy(level, penalty * places.of(at).len() as f32, &table[row.clone()], &mut slopes[row]);
            }
        }
        Ok(loss)
    }

    /// A step of Adam on all embeddings; the learning rate is multiplied by `decay`.
    fn update(&mut self, decay: f32, context: &Context) {
        self.steps += 1;
        let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), self.steps as f32);
        let step = Adam {
            rate: self.options.learning_rate * decay / correction(vector::BETA1),
            second: 1.0 / correction(vector::BETA2),
            regularization: 0.0,
        };
        let size = ROWS_PER_TASK * self.options.factors;
        for (x, first, second, slopes) in [
            (&mut self.embeddings.users, &mut self.first.users, &mut self.second.users, &self.slopes.users),
            (&mut self.embeddings.items, &mut self.first.items, &mut self.second.items, &self.slopes.items),
        ] {
            let tasks = x.chunks_mut(size).zip(first.chunks_mut(size)).zip(second.chunks_mut(size));
            context.for_each_task(
                tasks.zip(slopes.chunks(size)),
                || (),
                |(), (((x, first), second), slopes)| vector::adam(context.level, step, slopes, x, first, second),
            );
        }
    }

    /// The slopes of the mean loss, with the penalty, of purchases `users[at]`, `items[2 at]` against `items[2 at + 1]`, and
    /// the summed loss without the penalty; for checks.
    pub fn sample_gradients(&mut self, users: &[u32], items: &[u32], context: &Context) -> Result<(Both, f64)> {
        let (n_users, n_items) = (self.graph.users.n_rows(), self.graph.items.n_rows());
        let in_range =
            users.iter().all(|&at| (at as usize) < n_users) && items.iter().all(|&at| (at as usize) < n_items);
        if items.len() != 2 * users.len() || !in_range {
            return Err(Error::InvalidData("samples: users, and two items for each.".into()));
        }
        (self.batch.users, self.batch.items) = (users.to_vec(), items.to_vec());
        let loss = self.gradient(context)?;
        Ok((self.slopes.clone(), loss))
    }

    /// The embeddings as they stand.
    pub fn embeddings(&self) -> &Both {
        &self.embeddings
    }

    /// What serving needs of the embeddings as they stand.
    pub fn state(&mut self, context: &Context) -> State {
        let (d, n_layers) = (self.options.factors, self.options.n_layers);
        let share = 1.0 / (n_layers + 1) as f32;
        let mut before = Both::default();
        self.graph.sum(n_layers - 1, d, &self.embeddings, &mut before, &mut self.spare, context);
        let mut contributions = before.items;
        for (row, contribution) in contributions.chunks_exact_mut(d).enumerate() {
            scale(context.level, count_power(self.graph.items.row(row).len(), -0.5) * share, contribution);
        }
        let mut vectors = Both::default();
        self.graph.sum(n_layers, d, &self.embeddings, &mut vectors, &mut self.spare, context);
        scale(context.level, share, &mut vectors.users);
        scale(context.level, share, &mut vectors.items);
        State { vectors, contributions }
    }
}

/// Each row that a batch uses: what `add` adds for each of its places, in order; zeros for the others.
fn add_slopes(table: &mut [f32], d: usize, places: &Places, context: &Context, add: impl Fn(usize, &mut [f32]) + Sync) {
    context.for_each_task(
        table.chunks_mut(ROWS_PER_TASK * d).enumerate(),
        || (),
        |(), (task, rows)| {
            rows.fill(0.0);
            let from = task * ROWS_PER_TASK;
            let begin = places.rows.partition_point(|&row| (row as usize) < from);
            for (at, &row) in places.rows[begin..].iter().enumerate() {
                let Some(slopes) = rows.get_mut((row as usize - from) * d..(row as usize + 1 - from) * d) else {
                    break;
                };
                for &place in places.of(begin + at) {
                    add(place as usize, slopes);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::simd::Level;
    use crate::train::fixtures::interactions;

    fn options() -> Options {
        Options {
            factors: 8,
            n_layers: 2,
            epochs: 30,
            batch_size: 100,
            learning_rate: 0.05,
            regularization: 1e-3,
            seed: 3,
        }
    }

    #[test]
    fn threads_and_levels_give_the_same_bits_and_the_loss_falls() {
        let data = interactions(|_| 1.0);
        let run = |context: &Context| {
            let mut trainer = Trainer::new(&data, options()).unwrap();
            let losses: Vec<f64> = (0..30).map(|epoch| trainer.epoch(epoch, context).unwrap()).collect();
            let state = trainer.state(context);
            (losses, state.vectors, state.contributions)
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        assert!(truth.0[29] < 0.6 * truth.0[0], "{:?}", truth.0);
        for threads in [2, 3, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth);
            }
        }
    }

    #[test]
    fn a_users_vector_is_the_own_part_and_what_its_items_add() {
        let data = interactions(|_| 1.0);
        let context = Context::new(Some(1)).unwrap();
        let mut trainer = Trainer::new(&data, options()).unwrap();
        trainer.epoch(0, &context).unwrap();
        let state = trainer.state(&context);
        for user in 0..5 {
            let history = data.row(user);
            for k in 0..8 {
                let added: f32 = history.iter().map(|&item| state.contributions[item as usize * 8 + k]).sum();
                let own = trainer.embeddings.users[user * 8 + k] / 3.0;
                let expected = own + added / (history.len() as f32).sqrt();
                assert!((state.vectors.users[user * 8 + k] - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_rate_too_high_is_an_error_that_says_so() {
        let context = Context::new(Some(1)).unwrap();
        let options = Options { learning_rate: 1e30, ..options() };
        let mut trainer = Trainer::new(&interactions(|_| 1.0), options).unwrap();
        let failed = (0..5).find_map(|epoch| trainer.epoch(epoch, &context).err());
        assert!(matches!(failed, Some(Error::Diverged(message)) if message.contains("learning_rate")));
    }
}
