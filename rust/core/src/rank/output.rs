//! What a caller sees of a score: a user's shift added, the link applied. Lists are in order before that, so neither moves
//! an item.

use crate::runtime::simd::{Level, sigmoid};

use super::key::{key, score_of};

/// The last step of a score that comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// As it is.
    #[default]
    Identity,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
}

/// How the scores of one user come out.
#[derive(Clone, Copy)]
pub struct OutputTransform {
    /// Added first; 0 where a user has none.
    pub shift: f32,
    /// Applied last.
    pub link: Link,
    /// The instruction set, which changes no bit.
    pub level: Level,
}

impl OutputTransform {
    /// The score that comes out for the one inside a key.
    pub fn score(self, of: u64) -> f32 {
        // Through a key once more, so that −0 comes out as 0.
        let shifted = score_of(key(score_of(of) + self.shift, 0));
        match self.link {
            Link::Identity => shifted,
            Link::Sigmoid => sigmoid(self.level, shifted),
        }
    }
}
