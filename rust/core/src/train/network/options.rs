//! Options of the network, and which combinations of them are allowed.

use crate::model::attention::Prior;
use crate::{Error, Result};

/// How the items of a history are weighted in the vector of their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionKind {
    /// The history is not used.
    None,
    /// Fixed weights, those of the prior.
    Fixed(Prior),
    /// Learned logits on top of the degree prior; the query is the user's.
    Learned,
    /// The same; the query is the candidate item's.
    Target,
}

impl AttentionKind {
    /// Whether the logits have parameters.
    pub fn is_learned(self) -> bool {
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

/// The loss that training minimizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Squared error of the prediction.
    Mse,
    /// Cross-entropy of the score as a logit.
    Bce,
    /// Bayesian personalized ranking: a positive's score above those of its negatives.
    Bpr,
    /// Softmax of a positive among negatives that the batch shares.
    Softmax,
}

impl Loss {
    /// Whether only differences of scores matter, so that constants cancel.
    pub fn is_ranking_loss(self) -> bool {
        matches!(self, Self::Bpr | Self::Softmax)
    }
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// Plain gradient descent.
    Sgd,
    /// Rates that decay with the sum of squared gradients.
    Adagrad,
    /// Adam: moments of the gradient.
    Adam,
}

/// The model's options; `ancf.reference.Options` has the same.
#[allow(clippy::struct_excessive_bools, reason = "orthogonal options, each on or off")]
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// How the items of a history are weighted.
    pub attention_kind: AttentionKind,
    /// β, the exponent of the attention's denominator.
    pub attention_exponent: f32,
    /// Whether an item's vector aggregates its users.
    pub item_attention: bool,
    /// Whether users have a vector of their own.
    pub user_factors: bool,
    /// How two vectors become features.
    pub head: Head,
    /// Whether vectors are divided by their length first.
    pub cosine: bool,
    /// A linear layer and a sigmoid instead of the plain sum.
    pub sigmoid: bool,
    /// Biases of users, items and all.
    pub biases: bool,
    /// The loss that training minimizes.
    pub loss: Loss,
    /// τ of the softmax.
    pub temperature: f32,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub learning_rate: f32,
    /// L2 penalty.
    pub regularization: f32,
    /// Days after which an interaction has half the weight; the start of a learned value.
    pub half_life: Option<f32>,
    /// Standard deviation of the initial random vectors.
    pub init_scale: f32,
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
        if self.attention_kind == AttentionKind::None && !self.user_factors {
            return bad(
                "attention=\"none\" without user_factors leaves nothing of a user; switch one of them on.".into()
            );
        }
        if self.half_life.is_some() && !self.attention_kind.is_learned() {
            return bad("half_life needs attention=\"learned\" or \"target\", whose logits it is a part of.".into());
        }
        if self.head == Head::Concat && !self.sigmoid {
            return bad("layer=\"concat\" needs output=\"sigmoid\", which has the layer.".into());
        }
        if self.head == Head::Concat && self.loss.is_ranking_loss() {
            return bad(
                "layer=\"concat\" adds a user's part and an item's part, of which a loss that compares items sees the \
                 item's alone; take layer=\"product\", or loss=\"mse\" or \"bce\"."
                    .into(),
            );
        }
        if self.head == Head::Batch && self.loss.is_ranking_loss() {
            return bad("batch attention has the losses \"mse\" and \"bce\" only.".into());
        }
        Ok(())
    }

    /// Whether the logits have a query.
    pub fn has_queries(&self) -> bool {
        self.attention_kind == AttentionKind::Target
            || (self.attention_kind == AttentionKind::Learned && self.user_factors)
    }
}
