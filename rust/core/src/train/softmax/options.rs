//! Options of the softmax trainer, and which values of them are allowed.

use crate::model::attention::Prior;
use crate::{Error, Result};

/// Options of the softmax trainer.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// Epochs over which the learning rate decays.
    pub epochs: usize,
    /// Users in a step; `None`: a thirtieth of all, at least 256, so that the cost stays linear in the data.
    pub batch_size: Option<usize>,
    /// Prior weights of the interactions of a history.
    pub prior: Prior,
    /// β, the exponent of the attention's denominator.
    pub attention_exponent: f32,
    /// Whether an item's vector aggregates its users.
    pub item_attention: bool,
    /// τ of the softmax.
    pub temperature: f32,
    /// Negatives of a step.
    pub negatives: usize,
    /// α, the power of popularity by which they are drawn.
    pub negative_exponent: f32,
    /// Adam's rate at the start.
    pub learning_rate: f32,
    /// L2 penalty on the item vectors.
    pub regularization: f32,
    /// Start from the spectrum of the data, or from random numbers.
    pub spectral_start: bool,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        let bad = |name: &str, value: &dyn std::fmt::Display, must: &str| {
            Err(Error::InvalidParameter(format!("{name} is {value}; it must be {must}.")))
        };
        let positive = |x: f32| x > 0.0 && x.is_finite();
        match self {
            o if o.factors == 0 || o.factors > 4096 => bad("factors", &o.factors, "between 1 and 4096"),
            o if o.epochs == 0 => bad("epochs", &o.epochs, "at least 1"),
            o if o.batch_size == Some(0) => bad("batch_size", &0, "at least 1"),
            o if o.negatives == 0 => bad("negatives", &0, "at least 1"),
            o if !positive(o.temperature) => bad("temperature", &o.temperature, "a positive number"),
            o if !positive(o.learning_rate) => bad("learning_rate", &o.learning_rate, "a positive number"),
            o if !(0.0..=2.0).contains(&o.negative_exponent) => {
                bad("negative_exponent", &o.negative_exponent, "between 0 and 2")
            }
            o if !(o.regularization >= 0.0 && o.regularization.is_finite()) => {
                bad("regularization", &o.regularization, "at least 0")
            }
            _ => Ok(()),
        }
    }
}
