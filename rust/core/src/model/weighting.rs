//! Weights of terms in documents, for nearest neighbors: TF-IDF and BM25.
//!
//! ```text
//! idf_t  = ln(1 + N / n_t)                                   N documents, n_t of them with the term t
//! TF-IDF = w_dt^½ · idf_t
//! BM25   = w_dt (K + 1) / (K · L_d + w_dt) · idf_t            L_d = 1 − B + B S_d / mean S, S_d = Σ_t w_dt
//! ```
//!
//! For item-kNN a document is an item and its terms are its users, for user-kNN the other way around. TF-IDF with
//! the root of the frequency: Salton and Buckley (1988), as Lucene had it; BM25: Robertson and Walker (SIGIR 1994), with
//! K = 100 and B = 0.8, which suit interactions better than the 1.2 and 0.75 of text.

use crate::data::Csr;
use crate::runtime::simd::vector::ln;
use crate::{Error, Result};

/// What entries are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Nothing.
    None,
    /// The root of the frequency, by how rare the term is.
    TfIdf,
    /// Frequency with saturation and the length of the document, by how rare the term is.
    Bm25,
}

const K: f32 = 100.0;
const B: f32 = 0.8;

/// A weighting fitted on documents: how rare each term is, and how long documents are.
pub struct Weigher {
    weighting: Weighting,
    rarity: Vec<f32>,
    mean_length: f64,
}

impl Weigher {
    /// Looks at `documents` (rows) and their terms (columns).
    pub fn new(weighting: Weighting, documents: &Csr) -> Result<Self> {
        let mut counts = vec![0usize; documents.n_columns()];
        for &term in documents.columns() {
            counts[term as usize] += 1;
        }
        let n = documents.n_rows() as f64;
        let rarity = counts.iter().map(|&count| ln(1.0 + n / count.max(1) as f64) as f32).collect();
        let mean_length = documents.values().iter().map(|&w| f64::from(w)).sum::<f64>() / n.max(1.0);
        if weighting != Weighting::None {
            check(documents)?;
        }
        Ok(Self { weighting, rarity, mean_length })
    }

    /// The documents with their weights; these or others over the same terms.
    pub fn weigh(&self, documents: &Csr) -> Result<Csr> {
        if self.weighting == Weighting::None {
            return Ok(documents.clone());
        }
        check(documents)?;
        let mut values = Vec::with_capacity(documents.len());
        for row in 0..documents.n_rows() {
            let weights = documents.row_values(row);
            let sum = weights.iter().map(|&w| f64::from(w)).sum::<f64>();
            let length = 1.0 - B + B * (sum / self.mean_length.max(f64::MIN_POSITIVE)) as f32;
            for (&term, &weight) in documents.row(row).iter().zip(weights) {
                let frequency = match self.weighting {
                    Weighting::TfIdf => weight.sqrt(),
                    _ => weight * (K + 1.0) / (K * length + weight),
                };
                values.push(frequency * self.rarity[term as usize]);
            }
        }
        Csr::new(documents.offsets().to_vec(), documents.columns().to_vec(), values, documents.n_columns())
    }
}

fn check(documents: &Csr) -> Result<()> {
    match documents.values().iter().find(|&&w| w < 0.0) {
        Some(weight) => Err(Error::InvalidData(format!(
            "a weight is {weight}; TF-IDF and BM25 take frequencies of at least 0. Use cosine, or leave those rows out."
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_those_of_the_formulas() {
        let documents = Csr::new(vec![0, 2, 3, 3], vec![0, 1, 1], vec![4.0, 1.0, 9.0], 3).unwrap();
        let rare = [4.0f64.ln(), 2.5f64.ln(), 2.5f64.ln()];
        let found = Weigher::new(Weighting::TfIdf, &documents).unwrap().weigh(&documents).unwrap();
        for ((found, root), rare) in found.values().iter().zip([2.0, 1.0, 3.0]).zip(rare) {
            assert!((f64::from(*found) - root * rare).abs() < 1e-6);
        }
        let found = Weigher::new(Weighting::Bm25, &documents).unwrap().weigh(&documents).unwrap();
        let mean = 14.0 / 3.0;
        for (((found, w), length), rare) in found.values().iter().zip([4.0, 1.0, 9.0]).zip([5.0, 5.0, 9.0]).zip(rare) {
            let expected = w * 101.0 / (100.0 * (0.2 + 0.8 * length / mean) + w) * rare;
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(Weigher::new(Weighting::None, &documents).unwrap().weigh(&documents).unwrap(), documents);
    }

    #[test]
    fn negative_frequencies_are_refused() {
        let documents = Csr::new(vec![0, 1], vec![0], vec![-1.0], 1).unwrap();
        assert!(Weigher::new(Weighting::TfIdf, &documents).is_err());
        assert!(Weigher::new(Weighting::None, &documents).is_ok());
    }
}
