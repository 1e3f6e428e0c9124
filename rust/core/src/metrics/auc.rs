//! The area under the ROC curve of whole rankings.
//!
//! For a user with the relevant items T among those ranked, and the others N:
//!
//! ```text
//! auc  (pairs of T × N in which the relevant one has the higher score, those with equal scores as ½) / (|T| |N|)
//! ```
//!
//! which is the Mann-Whitney statistic (Hanley and McNeil, Radiology 1982). NaN where either is empty.

use super::ranking::{Lists, NO_ITEM};
use super::rows::Rows;
use crate::{Error, Result};

/// One value for each user of `lists`, which hold everything that is ranked, by descending score.
pub fn auc(lists: Lists, scores: &[f32], relevant: Rows) -> Result<Vec<f64>> {
    let (n_users, width) = (lists.counts.len(), lists.width);
    if lists.items.len() != n_users * width || scores.len() != lists.items.len() || relevant.len() != n_users {
        return Err(Error::InvalidData(format!("lists, scores and relevant items do not fit {n_users} users.")));
    }
    (0..n_users)
        .map(|user| {
            let count = usize::try_from(lists.counts[user]).unwrap_or(usize::MAX);
            if count > width {
                return Err(Error::InvalidData(format!(
                    "list {user} has a count of {count}; there are {width} places."
                )));
            }
            let row = user * width..user * width + count;
            Ok(of_one(&lists.items[row.clone()], &scores[row], relevant.row(user)))
        })
        .collect()
}

fn of_one(items: &[i32], scores: &[f32], relevant: &[i32]) -> f64 {
    let is_relevant = |item: i32| item != NO_ITEM && relevant.binary_search(&item).is_ok();
    let positives = items.iter().filter(|&&item| is_relevant(item)).count() as f64;
    let negatives = items.len() as f64 - positives;
    let (mut won, mut negatives_above, mut at) = (0.0, 0.0, 0);
    while at < items.len() {
        let end = at + scores[at..].iter().take_while(|&&score| score == scores[at]).count().max(1);
        let found = items[at..end].iter().filter(|&&item| is_relevant(item)).count() as f64;
        let others = (end - at) as f64 - found;
        won += found * (negatives - negatives_above - others) + 0.5 * found * others;
        negatives_above += others;
        at = end;
    }
    won / (positives * negatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_computed_by_hand() {
        // User 0: 1 and 3 are relevant; 3 is above both others, 1 ties with one of them and is above none.
        // User 1 wants nothing that is ranked.
        let lists = Lists { items: &[3, 0, 1, 2, 0, 1, 0, 0], counts: &[4, 2], width: 4 };
        let scores = [3.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let relevant = Rows::new(&[0, 2, 2], &[1, 3], 4, "relevant").unwrap();
        let got = auc(lists, &scores, relevant).unwrap();
        assert_eq!(got[0], 2.5 / 4.0);
        assert!(got[1].is_nan());
        assert!(auc(lists, &scores[1..], relevant).is_err());
        assert!(auc(Lists { counts: &[5, 0], ..lists }, &scores, relevant).is_err());
        assert!(auc(Lists { counts: &[-1, 0], ..lists }, &scores, relevant).is_err());
    }
}
