//! One pass over all users: batches in a random order, a step of Adam after each.

use std::time::Instant;

use rayon::prelude::*;

use super::trainer::{Trainer, purpose};
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector;
use crate::train::phase_times::Phase;
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// The squares of numbers below this add up to a finite f32, whatever the number of factors.
const MAX_ABS: f32 = 1e15;

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
            let batch_loss = self.gradient(step, batch, context)?;
            if !batch_loss.is_finite() {
                self.check(batch_loss, epoch)?;
            }
            self.update(self.decay(self.active.len(), batch_size), context);
            loss += batch_loss;
        }
        self.check(loss, epoch)?;
        Ok(loss / self.attention.users.len() as f64)
    }

    /// What the learning rate is multiplied with in the next step, of epochs over `n_active` users.
    pub(super) fn decay(&self, n_active: usize, batch_size: usize) -> f64 {
        half_cosine(self.steps as f64 / (self.options.epochs * n_active.div_ceil(batch_size)) as f64)
    }

    /// Refuses a loss, or item vectors, beyond what can be served.
    pub(super) fn check(&self, loss: f64, epoch: usize) -> Result<()> {
        let rate = self.options.learning_rate;
        let what = match loss {
            _ if !loss.is_finite() => format!("the training loss became {loss}"),
            _ if !self.x.iter().all(|x| x.abs() < MAX_ABS) => format!("the item vectors grew beyond {MAX_ABS:e}"),
            _ => return Ok(()),
        };
        Err(Error::Diverged(format!(
            "{what} in epoch {} at learning rate {rate}; try a smaller learning_rate.",
            epoch + 1
        )))
    }

    /// One step of Adam; the learning rate is multiplied by `decay`.
    pub(super) fn update(&mut self, decay: f64, context: &Context) {
        const NUMBERS_PER_TASK: usize = 8192;
        let mut clock = Instant::now();
        self.steps += 1;
        let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), self.steps as f32);
        let step = vector::Adam {
            rate: self.options.learning_rate * decay as f32 / correction(vector::BETA1),
            second: 1.0 / correction(vector::BETA2),
            regularization: self.options.regularization,
        };
        context.install(|| {
            self.x
                .par_chunks_mut(NUMBERS_PER_TASK)
                .zip(self.first.par_chunks_mut(NUMBERS_PER_TASK))
                .zip(self.second.par_chunks_mut(NUMBERS_PER_TASK))
                .zip(self.buffers.dx.par_chunks(NUMBERS_PER_TASK))
                .for_each(|(((x, first), second), gradient)| {
                    vector::adam(context.level, step, gradient, x, first, second);
                });
        });
        self.phase_times.add_all(Phase::Adam, &mut clock, context);
    }
}
