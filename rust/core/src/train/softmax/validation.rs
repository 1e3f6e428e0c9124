//! The loss of pairs held out of training.

use rayon::prelude::*;

use super::panel::{self, Softmax, USERS};
use super::step::unit_user;
use super::{Buffers, Ranking, USERS_PER_SLICE, purpose};
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::{dot, gather_scaled, ln};
use crate::{Error, Result};

impl Ranking {
    /// The mean loss of held-out pairs (users × items), each user's history being that of training. Users without a
    /// history do not count. Negatives are those of one fixed draw, so that epochs can be compared.
    pub fn validation_loss(&mut self, targets: &Csr, context: &Context) -> Result<f64> {
        let (n_users, n_items) = (self.attention.users.n_rows(), self.attention.users.n_columns());
        if targets.n_rows() != n_users || targets.n_columns() != n_items {
            return Err(Error::InvalidData(format!(
                "validation pairs are {} × {}; training had {n_users} users × {n_items} items.",
                targets.n_rows(),
                targets.n_columns()
            )));
        }
        self.draw_negatives(Stream::new(self.options.seed, purpose::VALIDATION));
        self.negative_vectors(context);
        let wanted = |&user: &u32| !targets.row(user as usize).is_empty();
        let users: Vec<u32> = self.active.iter().copied().filter(wanted).collect();
        let mut sum = 0.0;
        for users in users.chunks(USERS_PER_SLICE) {
            context.cancel.check()?;
            sum += self.validation_slice(targets, users, context);
        }
        let n_pairs: usize = users.iter().map(|&u| targets.row(u as usize).len()).sum();
        Ok(sum / n_pairs.max(1) as f64)
    }

    /// The summed loss of the held-out pairs of a slice of users.
    fn validation_slice(&mut self, targets: &Csr, users: &[u32], context: &Context) -> f64 {
        let (d, level, tau) = (self.options.factors, context.level, self.options.temperature);
        let Self { attention, buffers: b, log_weights, spent, .. } = self;
        let n = b.negatives.len();
        let Buffers { v, inverse_norms, q, packs, exponentials, losses, .. } = b;
        let softmax = Softmax { level, d, negatives: q, log_weights, temperature: tau, spent };
        context.install(|| {
            packs
                .par_chunks_mut(USERS * d)
                .zip(exponentials.par_chunks_mut(USERS * n))
                .zip(losses.par_chunks_mut(USERS))
                .zip(users.par_chunks(USERS))
                .for_each_init(
                    || (vec![0.0; USERS * d], vec![0.0; d]),
                    |(p, together), (((pack, exponentials), losses), users)| {
                        let p = &mut p[..users.len() * d];
                        for (&user, p) in users.iter().zip(p.chunks_exact_mut(d)) {
                            unit_user(level, attention, user as usize, v, p);
                        }
                        panel::pack(p, d, pack);
                        let all = softmax.run(pack, exponentials, &mut []);
                        for (at, (&user, p)) in users.iter().zip(p.chunks_exact(d)).enumerate() {
                            let wanted = targets.row(user as usize);
                            together.fill(0.0);
                            gather_scaled(level, wanted, inverse_norms, 1.0, v, together);
                            let row = f64::from(all.shifts[at]) + ln(f64::from(all.sums[at]));
                            losses[at] = wanted.len() as f64 * row - f64::from(dot(level, p, together) / tau);
                        }
                    },
                );
        });
        losses[..users.len()].iter().sum()
    }
}
