//! Alternating least squares for implicit feedback: items given users, then users given items, epoch after epoch.
//!
//! The solutions are exact (`model::als`), so the loss never rises:
//!
//!   Σ_{(u,i) observed} c_ui (1 − ⟨p_u, q_i⟩)² + α₀ Σ_all ⟨p_u, q_i⟩² + Σ_u λ_u ‖p_u‖² + Σ_i λ_i ‖q_i‖²
//!
//! Users come last, so that somebody folded in from a history gets the bits that training gave them.
//!
//! With conjugate gradients a row takes a few steps from where the epoch before left it, which does not raise the loss
//! either; what is served are users solved exactly, once, for the items as they are.

use crate::data::Csr;
use crate::model::als::{Fixed, Penalty, rotate, solve, step};
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::train::progress::Resumable;
use crate::{Error, Result};

/// The length that users start with: small, so that the first items are led by what was observed (Rendle et al. 2022).
const START_LENGTH: f32 = 0.1;
/// The stream of the starting numbers.
const START: u64 = 1;

/// Both sides, and the interactions by user and by item.
pub struct Trainer {
    by_user: Csr,
    by_item: Csr,
    penalty: Penalty,
    factors: usize,
    /// Steps of conjugate gradients for each row of an epoch; `None` solves it.
    steps: Option<usize>,
    users: Vec<f32>,
    items: Vec<f32>,
    /// The diagonal of the items' Gramian.
    gramian: Vec<f32>,
}

impl Resumable for Trainer {
    fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
        vec![
            ("users".into(), self.users.as_mut_slice()),
            ("items".into(), self.items.as_mut_slice()),
            ("the items' Gramian".into(), self.gramian.as_mut_slice()),
        ]
    }
}

impl Trainer {
    /// Checks the options and draws the users' starting vectors. The values of `interactions` are the weights c > 0.
    pub fn new(interactions: &Csr, factors: usize, penalty: Penalty, steps: Option<usize>, seed: u64) -> Result<Self> {
        if interactions.is_empty() {
            return Err(Error::InvalidData("there is no interaction to learn from.".into()));
        }
        if let Some(at) = interactions.values().iter().position(|&c| c <= 0.0) {
            return Err(Error::InvalidData(format!(
                "the weight of entry {at} is {}; a weight must be above 0.",
                interactions.values()[at]
            )));
        }
        if factors == 0 || factors > 4096 {
            return Err(Error::InvalidParameter(format!("factors is {factors}; it must be between 1 and 4096.")));
        }
        let draws = Stream::new(seed, START);
        let scale = START_LENGTH / (factors as f32).sqrt();
        Ok(Self {
            users: (0..interactions.n_rows() * factors).map(|i| scale * draws.normal(i as u64)).collect(),
            items: vec![0.0; interactions.n_columns() * factors],
            gramian: vec![0.0; factors],
            by_user: interactions.clone(),
            by_item: interactions.transpose(),
            penalty,
            factors,
            steps,
        })
    }

    /// Both sides; the loss divided by the number of interactions.
    pub fn epoch(&mut self, context: &Context) -> Result<f64> {
        let Self { by_user, by_item, penalty, factors, steps, users, items, gramian } = self;
        let update = |entries: &Csr, fixed: &Fixed<'_>, out: &mut [f32]| match *steps {
            Some(steps) => step(entries, fixed, *penalty, steps, out, context),
            None => solve(entries, fixed, *penalty, out, context),
        };
        // What steps begin from turns with the other side.
        let turned = steps.is_some();
        let of_users = rotate(users, if turned { items } else { &mut [] }, *factors, context)?;
        update(by_item, &Fixed::diagonal(users, &of_users), items)?;
        *gramian = rotate(items, if turned { users } else { &mut [] }, *factors, context)?;
        let of_rows = update(by_user, &Fixed::diagonal(items, gramian), users)?;
        let held: f64 = (0..by_item.n_rows())
            .map(|item| {
                let square = items[item * *factors..][..*factors].iter().map(|&x| f64::from(x) * f64::from(x));
                f64::from(penalty.of_row(by_item.row(item).len(), by_user.n_rows())) * square.sum::<f64>()
            })
            .sum();
        Ok((of_rows + held) / by_user.len() as f64)
    }

    /// User vectors (`n_users` × d), solved for the items; item vectors (`n_items` × d) and the diagonal of their Gramian (d).
    pub fn state(&self, context: &Context) -> Result<[Vec<f32>; 3]> {
        let mut users = self.users.clone();
        if self.steps.is_some() {
            solve(&self.by_user, &Fixed::diagonal(&self.items, &self.gramian), self.penalty, &mut users, context)?;
        }
        Ok([users, self.items.clone(), self.gramian.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::simd::Level;
    use crate::train::fixtures::interactions;

    const PENALTY: Penalty = Penalty { unobserved_weight: 0.1, regularization: 0.01, exponent: 1.0 };

    /// The loss as it is written above, over all pairs.
    fn naive_loss(trainer: &Trainer, data: &Csr) -> f64 {
        let (d, users, items) = (trainer.factors, &trainer.users, &trainer.items);
        let mut loss = 0.0;
        let square = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let frequency = |n: usize, other: usize| {
            f64::from(PENALTY.regularization)
                * (n as f64 + f64::from(PENALTY.unobserved_weight) * other as f64).powf(f64::from(PENALTY.exponent))
        };
        for (user, p) in users.chunks_exact(d).enumerate() {
            loss += frequency(data.row(user).len(), data.n_columns()) * square(p);
            for (item, q) in items.chunks_exact(d).enumerate() {
                let score: f64 = p.iter().zip(q).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
                loss += f64::from(PENALTY.unobserved_weight) * score * score;
                if let Ok(at) = data.row(user).binary_search(&(item as u32)) {
                    loss += f64::from(data.row_values(user)[at]) * (1.0 - score).powi(2);
                }
            }
        }
        for (item, q) in items.chunks_exact(d).enumerate() {
            loss += frequency(data.transpose().row(item).len(), data.n_rows()) * square(q);
        }
        loss / data.len() as f64
    }

    #[test]
    fn the_loss_is_the_formula_and_never_rises() {
        let data = interactions(|at| 1.0 + (at % 3) as f32);
        let context = Context::new(Some(2)).unwrap();
        for steps in [None, Some(1), Some(3)] {
            let mut trainer = Trainer::new(&data, 6, PENALTY, steps, 1).unwrap();
            let mut before = f64::INFINITY;
            for _ in 0..6 {
                let loss = trainer.epoch(&context).unwrap();
                let truth = naive_loss(&trainer, &data);
                assert!((loss - truth).abs() < 1e-4 * truth, "{steps:?}: {loss} and {truth}");
                assert!(loss <= before * (1.0 + 1e-6), "{steps:?}: {loss} after {before}");
                before = loss;
            }
        }
    }

    #[test]
    fn threads_and_levels_give_the_same_bits() {
        let data = interactions(|_| 1.0);
        let run = |context: &Context| {
            [None, Some(3)].map(|steps| {
                let mut trainer = Trainer::new(&data, 9, PENALTY, steps, 1).unwrap();
                let losses = [(); 3].map(|()| trainer.epoch(context).unwrap().to_bits());
                (trainer.state(context).unwrap(), losses)
            })
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        for threads in [2, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth);
            }
        }
    }

    #[test]
    fn weights_of_zero_are_refused() {
        let data = Csr::new(vec![0, 1], vec![0], vec![0.0], 1).unwrap();
        assert!(matches!(Trainer::new(&data, 2, PENALTY, None, 0), Err(Error::InvalidData(_))));
    }
}
