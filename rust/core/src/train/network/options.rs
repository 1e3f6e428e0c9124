//! What the network is told.

use crate::model::attention::Prior;
use crate::{Error, Result};

/// How a history becomes a part of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighing {
    /// Not at all.
    None,
    /// With the weights of the prior.
    Fixed(Prior),
    /// With learned logits on top of the degree prior; the user asks.
    Learned,
    /// The same, and the candidate asks.
    Target,
}

impl Weighing {
    /// Whether the logits have parameters.
    pub fn learns(self) -> bool {
        matches!(self, Self::Learned | Self::Target)
    }

    /// The prior of the item attention, and of the history's logits.
    pub fn prior(self) -> Prior {
        if let Self::Fixed(prior) = self { prior } else { Prior::Degree }
    }
}

/// How two vectors become the features of their pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// p ⊙ q.
    Product,
    /// softmax_k(g ⊙ p ⊙ q) ⊙ p ⊙ q.
    Factor,
    /// The product times its share in a softmax over the batch.
    Batch,
    /// [p; q].
    Concat,
}

/// What is made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Squared error of the prediction.
    Mse,
    /// Cross-entropy of the score as a logit.
    Bce,
    /// A positive's score above its negatives'.
    Bpr,
    /// A positive's share among negatives that the batch shares.
    Softmax,
}

impl Loss {
    /// Whether only differences of scores count, so that constants cancel.
    pub fn compares(self) -> bool {
        matches!(self, Self::Bpr | Self::Softmax)
    }
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// Plain gradient descent.
    Sgd,
    /// Rates that fall with the squares seen.
    Adagrad,
    /// Moments of the gradient.
    Adam,
}

/// The model's options; `ancf.reference.Options` has the same.
#[allow(clippy::struct_excessive_bools, reason = "orthogonal options, each on or off")]
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// How a history becomes a part of its user.
    pub weighing: Weighing,
    /// β, the exponent of the attention's denominator.
    pub attention_exponent: f32,
    /// Whether an item's vector takes in its users.
    pub item_attention: bool,
    /// Whether users have a vector of their own.
    pub user_factors: bool,
    /// How two vectors become features.
    pub head: Head,
    /// Whether vectors are divided by their length first.
    pub cosine: bool,
    /// A connected layer, squashed, instead of the plain sum.
    pub sigmoid: bool,
    /// Biases of users, items and all.
    pub biases: bool,
    /// What is made small.
    pub loss: Loss,
    /// τ of the softmax.
    pub temperature: f32,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// The optimizer's rate.
    pub learning_rate: f32,
    /// L2 penalty.
    pub regularization: f32,
    /// Days after which a purchase speaks half as loud; learned from there.
    pub half_life: Option<f32>,
    /// Standard deviation of random vectors at the start.
    pub start_scale: f32,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl Options {
    /// Refuses values and combinations that make no sense.
    pub fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidParameter(message));
        let positive = |name: &str, x: f32| {
            if x > 0.0 && x.is_finite() {
                Ok(())
            } else {
                Err(Error::InvalidParameter(format!("{name} is {x}; it must be a positive number.")))
            }
        };
        positive("temperature", self.temperature)?;
        positive("learning_rate", self.learning_rate)?;
        positive("half_life", self.half_life.unwrap_or(1.0))?;
        if self.factors == 0 || self.factors > 4096 {
            return bad(format!("factors is {}; it must be between 1 and 4096.", self.factors));
        }
        if !(self.regularization >= 0.0 && self.regularization.is_finite()) {
            return bad(format!("regularization is {}; it must be at least 0.", self.regularization));
        }
        if self.weighing == Weighing::None && !self.user_factors {
            return bad(
                "attention=\"none\" without user_factors leaves nothing of a user; switch one of them on.".into()
            );
        }
        if self.half_life.is_some() && !self.weighing.learns() {
            return bad("half_life needs attention=\"learned\" or \"target\", whose logits it is a part of.".into());
        }
        if self.head == Head::Concat && !self.sigmoid {
            return bad("layer=\"concat\" needs output=\"sigmoid\", which has the layer.".into());
        }
        if self.head == Head::Concat && self.loss.compares() {
            return bad(
                "layer=\"concat\" adds a user's part and an item's part, of which a loss that compares items sees the \
                 item's alone; take layer=\"product\", or loss=\"mse\" or \"bce\"."
                    .into(),
            );
        }
        if self.head == Head::Batch && self.loss.compares() {
            return bad("batch attention has the losses \"mse\" and \"bce\" only.".into());
        }
        Ok(())
    }

    /// Whether a query enters the logits.
    pub fn asks(&self) -> bool {
        self.weighing == Weighing::Target || (self.weighing == Weighing::Learned && self.user_factors)
    }
}
