//! What is learned, and how.

use crate::model::layers::check_widths;
use crate::{Error, Result};

/// How the network is built and learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// g: numbers of an embedding that are multiplied; 0 leaves the product out.
    pub product: usize,
    /// e: numbers of an embedding that the layers read; 0 leaves them out.
    pub embedding: usize,
    /// Widths of the layers; none without `embedding`.
    pub widths: Vec<usize>,
    /// Epochs over which the learning rate decays by half a cosine.
    pub epochs: usize,
    /// Purchases of a step.
    pub batch_size: usize,
    /// Items drawn against each purchase.
    pub negatives: usize,
    /// The rate at the start.
    pub learning_rate: f32,
    /// λ: the loss of a sample has λ/2 (‖p_u‖² + ‖q_i‖²) besides, the squares of its embeddings.
    pub regularization: f32,
    /// The part of the layers' outputs that a step leaves out.
    pub dropout: f32,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl Options {
    /// Whether there are layers.
    pub fn has_layers(&self) -> bool {
        !self.widths.is_empty()
    }

    /// Numbers of an embedding.
    pub fn width(&self) -> usize {
        self.product + self.embedding
    }

    /// A purchase and its negatives.
    pub fn group(&self) -> usize {
        1 + self.negatives
    }

    pub(super) fn check(&self) -> Result<()> {
        let bad = |name: &str, value: &dyn std::fmt::Display, range: &str| {
            Err(Error::InvalidParameter(format!("{name} is {value}; it must be {range}.")))
        };
        if self.has_layers() {
            check_widths(&self.widths)?;
        }
        if self.width() == 0 || self.has_layers() != (self.embedding > 0) {
            return Err(Error::InvalidParameter(
                "a network has a product, or layers with embeddings to read, or both.".into(),
            ));
        }
        match self {
            o if o.epochs == 0 => bad("epochs", &0, "at least 1"),
            o if o.batch_size == 0 => bad("batch_size", &0, "at least 1"),
            o if o.negatives == 0 || o.negatives > 1000 => bad("n_negatives", &o.negatives, "between 1 and 1000"),
            o if !(o.learning_rate > 0.0 && o.learning_rate.is_finite()) => {
                bad("learning_rate", &o.learning_rate, "a finite number above 0")
            }
            o if !(o.regularization >= 0.0 && o.regularization.is_finite()) => {
                bad("regularization", &o.regularization, "a finite number of at least 0")
            }
            o if !(0.0..1.0).contains(&o.dropout) => bad("dropout", &o.dropout, "at least 0 and below 1"),
            _ => Ok(()),
        }
    }
}
