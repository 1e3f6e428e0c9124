//! One step: the gradient of a batch, and what the optimizer makes of it.

use super::batch::Batch;
use super::model::{Network, UserDropout};
use super::optimizer;
use crate::runtime::Context;
use crate::{Error, Result};

impl Network {
    /// The mean loss of a batch and, in the tables, its gradient.
    pub fn gradient(&mut self, batch: &Batch, context: &Context) -> Result<f64> {
        self.check_batch(batch)?;
        Ok(self.forward_backward(batch, UserDropout::NONE, context))
    }

    /// One step of the optimizer; the mean loss before it. A step after which a parameter would not be finite is not taken.
    pub fn step(&mut self, batch: &Batch, context: &Context) -> Result<f64> {
        let loss = self.gradient(batch, context)?;
        if !loss.is_finite() {
            return Err(self.diverged(loss, None));
        }
        self.snapshot.save(&self.parameters);
        self.update(1.0, context);
        if let Some(name) = self.snapshot.restore_if_not_finite(&mut self.parameters) {
            self.steps -= 1;
            return Err(Error::Diverged(format!(
                "{name} would leave the finite numbers in step {} at learning rate {}; try a smaller learning_rate.",
                self.steps + 1,
                self.options.learning_rate
            )));
        }
        Ok(loss)
    }

    pub(super) fn diverged(&self, loss: f64, epoch: Option<usize>) -> Error {
        let place = epoch.map_or_else(|| format!("step {}", self.steps + 1), |epoch| format!("epoch {}", epoch + 1));
        Error::Diverged(format!(
            "the training loss became {loss} in {place} at learning rate {}; try a smaller learning_rate.",
            self.options.learning_rate
        ))
    }

    /// One step of the optimizer with the gradients of the tables; the learning rate is multiplied by `decay`.
    pub(super) fn update(&mut self, decay: f32, context: &Context) {
        self.steps += 1;
        optimizer::update(context, &self.options, &mut self.parameters, self.steps, decay);
    }
}
