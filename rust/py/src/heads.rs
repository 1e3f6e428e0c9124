//! Heads and links by their public names, of what Python gives for them.

use ancf_core::model::layers::Layers;
use ancf_core::rank::{Head, Link, TargetAttention};
use ancf_core::{Error, Result};

/// A table: its shape and its numbers.
type Table = ([usize; 2], Vec<f32>);

/// What is given for a head; each takes a part of it.
pub struct GivenHead {
    pub sharpness: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    pub keys: Option<Table>,
    pub queries: Option<Table>,
    pub logits: Option<Vec<f32>>,
    pub exponent: Option<f32>,
    pub layers: Option<Layers>,
}

impl GivenHead {
    /// The head of that name.
    pub fn head(self, name: &str) -> Result<Head> {
        let Self { sharpness, bias, keys, queries, logits, exponent, layers } = self;
        match (name, sharpness, bias, (keys, queries, logits, exponent), layers) {
            ("inner", None, None, (None, None, None, None), None) => Ok(Head::Inner),
            ("layers", None, None, (None, None, None, None), Some(layers)) => Ok(Head::Layers(layers)),
            ("factor_attention", Some(sharpness), bias, (None, None, None, None), None) => {
                Ok(Head::FactorAttention { sharpness, bias: bias.unwrap_or_default() })
            }
            ("target_attention", None, bias, (Some(keys), Some(queries), Some(logits), Some(exponent)), None) => {
                let ((shape, keys), (other, queries)) = (keys, queries);
                if shape != other {
                    return Err(Error::InvalidData(format!(
                        "keys are {} × {} and queries {} × {}; both need the same shape.",
                        shape[0], shape[1], other[0], other[1]
                    )));
                }
                let bias = bias.unwrap_or_default();
                Ok(Head::TargetAttention(TargetAttention { keys, queries, d_keys: shape[1], logits, exponent, bias }))
            }
            ("inner" | "factor_attention" | "target_attention" | "layers", ..) => Err(Error::InvalidParameter(
                "head=\"factor_attention\" needs sharpness, head=\"target_attention\" keys, queries, item_logits and \
                 attention_exponent, head=\"layers\" layers, and none takes what belongs to another head. item_bias may \
                 go with the first two; a bias of an inner product is one more factor."
                    .into(),
            )),
            _ => Err(Error::InvalidParameter(format!(
                "head is {name:?}; it must be \"inner\", \"factor_attention\", \"target_attention\" or \"layers\"."
            ))),
        }
    }
}

/// The link of that name.
pub fn link(name: &str) -> Result<Link> {
    match name {
        "identity" => Ok(Link::Identity),
        "sigmoid" => Ok(Link::Sigmoid),
        _ => Err(Error::InvalidParameter(format!("link is {name:?}; it must be \"identity\" or \"sigmoid\"."))),
    }
}
