//! One pass over all users: batches in a random order, a step of Adam after each.

use std::sync::atomic::{AtomicBool, Ordering};

use super::trainer::{Trainer, purpose};
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// The squares of numbers below this add up to a finite f32, whatever the number of factors.
const MAX_ABS: f32 = 1e15;
/// Numbers that one task looks at.
const NUMBERS_PER_TASK: usize = 1 << 16;

impl Trainer {
    /// One pass over all users in a random order; the mean loss per interaction.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let mut users = Stream::new(self.options.seed, purpose::ORDER).sub(epoch as u64).permutation(self.active.len());
        for at in &mut users {
            *at = self.active[*at as usize];
        }
        let batch_size = self.batch_size();
        let mut loss = 0.0;
        for (step, batch) in users.chunks(batch_size).enumerate() {
            self.begin_step(step, context);
            let (batch_loss, pair_weight) = self.batch(batch, context)?;
            if !batch_loss.is_finite() {
                self.check(batch_loss, epoch, context)?;
            }
            let decay = self.decay(self.active.len(), batch_size);
            self.with_places(batch, |trainer| trainer.learn(step, pair_weight, decay, context))?;
            loss += batch_loss;
        }
        self.check(loss, epoch, context)?;
        Ok(loss / self.attention.users.len() as f64)
    }

    /// What the learning rate is multiplied with in the next step, of epochs over `n_active` users.
    pub(super) fn decay(&self, n_active: usize, batch_size: usize) -> f64 {
        half_cosine(self.steps as f64 / (self.options.epochs * n_active.div_ceil(batch_size)) as f64)
    }

    /// Refuses a loss, or item vectors, beyond what can be served.
    pub(super) fn check(&self, loss: f64, epoch: usize, context: &Context) -> Result<()> {
        let rate = self.options.learning_rate;
        let what = match loss {
            _ if !loss.is_finite() => format!("the training loss became {loss}"),
            _ if !self.is_bounded(context) => format!("the item vectors grew beyond {MAX_ABS:e}"),
            _ => return Ok(()),
        };
        Err(Error::Diverged(format!(
            "{what} in epoch {} at learning rate {rate}; try a smaller learning_rate.",
            epoch + 1
        )))
    }

    /// Whether the item vectors can be served.
    fn is_bounded(&self, context: &Context) -> bool {
        let bounded = AtomicBool::new(true);
        context.for_each_task(
            self.x.chunks(NUMBERS_PER_TASK),
            || (),
            |(), x| {
                // Without an exit, several at once; what is no number is not below the bound.
                if x.iter().filter(|x| x.abs() < MAX_ABS).count() < x.len() {
                    bounded.store(false, Ordering::Relaxed);
                }
            },
        );
        bounded.into_inner()
    }

    /// Does something while the users of a batch have their places in it.
    pub(super) fn with_places<T>(&mut self, batch: &[u32], work: impl FnOnce(&mut Self) -> T) -> T {
        for (place, &user) in batch.iter().enumerate() {
            self.buffers.places[user as usize] = place as u32;
        }
        let done = work(self);
        for &user in batch {
            self.buffers.places[user as usize] = u32::MAX;
        }
        done
    }
}
