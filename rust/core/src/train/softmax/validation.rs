//! The loss of pairs held out of training.

use super::gradient::unit_user;
use super::panel::{self, Softmax, USERS};
use super::trainer::{Buffers, Trainer, USERS_PER_SLICE, purpose};
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::{dot, gather_scaled, ln};
use crate::{Error, Result};

impl Trainer {
    /// The mean loss of held-out pairs (users × items), each user represented by the history of training. Users
    /// without a history are left out. Negatives are those of one fixed draw, so that epochs can be compared.
    pub fn validation_loss(&mut self, targets: &Csr, context: &Context) -> Result<f64> {
        let users = self.validated(targets)?;
        self.draw_negatives(Stream::new(self.options.seed, purpose::VALIDATION), context);
        self.negative_vectors(context);
        let mut sum = 0.0;
        for users in users.chunks(USERS_PER_SLICE) {
            context.cancel.check()?;
            sum += self.validation_slice(targets, users, context);
        }
        let n_pairs: usize = users.iter().map(|&u| targets.row(u as usize).len()).sum();
        Ok(sum / n_pairs.max(1) as f64)
    }

    /// The users with a history and held-out pairs, which have to be over the users and items of training.
    pub(super) fn validated(&self, targets: &Csr) -> Result<Vec<u32>> {
        let (n_users, n_items) = (self.attention.users.n_rows(), self.attention.users.n_columns());
        if targets.n_rows() != n_users || targets.n_columns() != n_items {
            return Err(Error::InvalidData(format!(
                "validation pairs are {} × {}; training had {n_users} users × {n_items} items.",
                targets.n_rows(),
                targets.n_columns()
            )));
        }
        let has_targets = |&user: &u32| !targets.row(user as usize).is_empty();
        Ok(self.active.iter().copied().filter(has_targets).collect())
    }

    /// The summed loss of the held-out pairs of a slice of users.
    pub(super) fn validation_slice(&mut self, targets: &Csr, users: &[u32], context: &Context) -> f64 {
        let (d, level, tau) = (self.options.factors, context.level, self.options.temperature);
        let Self { attention, buffers: b, log_weights, phase_times, .. } = self;
        let n = b.negatives.len();
        let Buffers { v, inverse_norms, q, packs, exponentials, losses, .. } = b;
        let softmax = Softmax { level, d, negatives: q, log_weights, temperature: tau, phase_times };
        let panels = packs.chunks_mut(USERS * d).zip(exponentials.chunks_mut(USERS * n));
        context.for_each_task(
            users.chunks(USERS).zip(panels.zip(losses.chunks_mut(USERS))),
            || (vec![0.0; USERS * d], vec![0.0; d]),
            |(p, positives), (users, ((pack, exponentials), losses))| {
                let p = &mut p[..users.len() * d];
                for (&user, p) in users.iter().zip(p.chunks_exact_mut(d)) {
                    unit_user(level, attention, user as usize, v, p);
                }
                panel::pack(p, d, pack);
                let denominators = softmax.run(pack, exponentials, &mut []);
                for (at, (&user, p)) in users.iter().zip(p.chunks_exact(d)).enumerate() {
                    let targets = targets.row(user as usize);
                    positives.fill(0.0);
                    gather_scaled(level, targets, inverse_norms, 1.0, v, positives);
                    let row = f64::from(denominators.shifts[at]) + ln(f64::from(denominators.sums[at]));
                    losses[at] = targets.len() as f64 * row - f64::from(dot(level, p, positives) / tau);
                }
            },
        );
        losses[..users.len()].iter().sum()
    }
}
