//! Properties of lists beyond their hits, for many cut-offs in one pass, one value for every user.
//!
//! For a list l₁, l₂, …, of which the first k places hold the items L (places without an item do not count):
//!
//! ```text
//! novelty@k      mean of information(i) over L
//! popularity@k   mean of popularity(i) over L
//! serendipity@k  Σ_{r ≤ k, l_r ∈ T} max(0, (n + 1 − r) / n − expected(l_r)) / k, with n items in the catalogue
//! diversity@k    1 − the mean of cos(i, j) over the pairs of L, where x_i are the users of i and
//!                cos(i, j) = |x_i ∩ x_j| / √(|x_i| |x_j|)
//! ```
//!
//! A mean over nothing is NaN. The pairs are never looked at one by one: with w = Σ_{i ∈ L} x_i / |x_i|^½, an item adds
//! Σ_{u ∈ x_i} w_u / |x_i|^½ to the sum over pairs, so a list costs as much as its items have users.
//!
//! Users are independent, and each value is computed by one thread: the same bits for every thread count.

use rayon::prelude::*;

use super::ranking::{Lists, NO_ITEM};
use super::rows::Rows;
use crate::runtime::Context;
use crate::{Error, Result};

/// The properties with a value for each user, in the order of [`list_properties`]'s columns.
pub const PROPERTIES: [&str; 4] = ["novelty", "popularity", "serendipity", "diversity"];

/// What is known of the items, a number for each.
#[derive(Clone, Copy)]
pub struct ItemFacts<'a> {
    /// How surprising an item is, in bits.
    pub information: &'a [f64],
    /// How many users have it.
    pub popularity: &'a [f64],
    /// How surely anybody would be shown it, 0 to 1.
    pub expected: &'a [f64],
    /// The users of each item, and how many users there are; none where no diversity is wanted.
    pub users: Option<(Rows<'a>, usize)>,
    /// Number of items of the catalogue.
    pub n_catalogue: usize,
}

/// Users of one task.
const CHUNK: usize = 512;

/// For each cut-off of `ks`, for each of [`PROPERTIES`], one value for each user; `relevant` are T.
pub fn list_properties(
    lists: Lists,
    relevant: Rows,
    ks: &[usize],
    facts: ItemFacts,
    context: &Context,
) -> Result<Vec<Vec<f64>>> {
    check(lists, relevant, ks, facts)?;
    let n_users = lists.counts.len();
    let n_columns = ks.len() * PROPERTIES.len();
    let measure = |chunk: usize| -> Result<Vec<f64>> {
        context.cancel.check()?;
        let users = chunk * CHUNK..((chunk + 1) * CHUNK).min(n_users);
        let mut part = vec![0.0; n_columns * users.len()];
        let mut weights = vec![0.0; facts.users.map_or(0, |(_, n)| n)];
        for (at, user) in users.clone().enumerate() {
            let start = user * lists.width;
            let list = &lists.items[start..start + lists.counts[user] as usize];
            one_list(list, relevant.row(user), ks, facts, &mut weights, |column, value| {
                part[column * users.len() + at] = value;
            });
        }
        Ok(part)
    };
    let parts =
        context.install(|| (0..n_users.div_ceil(CHUNK)).into_par_iter().map(measure).collect::<Result<Vec<_>>>())?;
    let mut values = vec![Vec::with_capacity(n_users); n_columns];
    for part in &parts {
        let length = part.len() / n_columns;
        for (column, all) in values.iter_mut().enumerate() {
            all.extend_from_slice(&part[column * length..(column + 1) * length]);
        }
    }
    Ok(values)
}

fn check(lists: Lists, relevant: Rows, ks: &[usize], facts: ItemFacts) -> Result<()> {
    let bad = |message: String| Err(Error::InvalidData(message));
    let n_items = facts.information.len();
    if lists.items.len() != lists.counts.len() * lists.width || relevant.len() != lists.counts.len() {
        return bad(format!(
            "lists and relevant items differ in number: {} and {}.",
            lists.counts.len(),
            relevant.len()
        ));
    }
    if let Some(user) = lists.counts.iter().position(|&c| c < 0 || c as usize > lists.width) {
        return bad(format!("list {user} has a count of {}; there are {} places.", lists.counts[user], lists.width));
    }
    if facts.popularity.len() != n_items || facts.expected.len() != n_items || facts.n_catalogue == 0 {
        return bad(format!("the facts do not describe {n_items} items."));
    }
    if facts.users.is_some_and(|(users, _)| users.len() != n_items) {
        return bad(format!("the users do not describe {n_items} items."));
    }
    if let Some(&item) =
        lists.items.iter().find(|&&item| item != NO_ITEM && usize::try_from(item).map_or(true, |i| i >= n_items))
    {
        return bad(format!("a list names item {item}; there are {n_items}."));
    }
    if ks.is_empty() || ks.contains(&0) {
        return Err(Error::InvalidParameter("cut-offs must be whole numbers of at least 1.".into()));
    }
    Ok(())
}

/// The running sums of a list.
#[derive(Clone, Copy, Default)]
struct Sums {
    n: f64,
    information: f64,
    popularity: f64,
    surprise: f64,
    cosines: f64,
}

fn one_list(
    list: &[i32],
    relevant: &[i32],
    ks: &[usize],
    facts: ItemFacts,
    weights: &mut [f64],
    mut put: impl FnMut(usize, f64),
) {
    let mut sums = Vec::with_capacity(list.len() + 1);
    sums.push(Sums::default());
    let mut now = Sums::default();
    let n_catalogue = facts.n_catalogue as f64;
    for (rank, &item) in list.iter().enumerate() {
        if item != NO_ITEM {
            let at = item as usize;
            now.n += 1.0;
            now.information += facts.information[at];
            now.popularity += facts.popularity[at];
            if relevant.binary_search(&item).is_ok() {
                now.surprise += ((n_catalogue - rank as f64) / n_catalogue - facts.expected[at]).max(0.0);
            }
            if let Some((users, _)) = facts.users {
                let row = users.row(at);
                let scale = if row.is_empty() { 0.0 } else { 1.0 / (row.len() as f64).sqrt() };
                let mut sum = 0.0;
                for &user in row {
                    sum += weights[user as usize];
                    weights[user as usize] += scale;
                }
                now.cosines += sum * scale;
            }
        }
        sums.push(now);
    }
    if let Some((users, _)) = facts.users {
        for &item in list.iter().filter(|&&item| item != NO_ITEM) {
            for &user in users.row(item as usize) {
                weights[user as usize] = 0.0;
            }
        }
    }
    for (which, &k) in ks.iter().enumerate() {
        let at = sums[k.min(list.len())];
        let pairs = at.n * (at.n - 1.0) / 2.0;
        let diversity = if facts.users.is_some() && pairs > 0.0 { 1.0 - at.cosines / pairs } else { f64::NAN };
        // 0 / 0 is NaN: a list without an item has no mean.
        let values = [at.information / at.n, at.popularity / at.n, at.surprise / k as f64, diversity];
        for (name, value) in values.into_iter().enumerate() {
            put(which * PROPERTIES.len() + name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_computed_by_hand() {
        // Items 0 and 1 share one of two users each; item 2 has a user of its own; a place holds no item.
        let users = Rows::new(&[0, 2, 4, 5], &[0, 1, 1, 2, 3], 4, "users").unwrap();
        let facts = ItemFacts {
            information: &[1.0, 1.0, 2.0],
            popularity: &[2.0, 2.0, 1.0],
            expected: &[1.0, 0.5, 0.25],
            users: Some((users, 4)),
            n_catalogue: 4,
        };
        let lists = Lists { items: &[0, 1, NO_ITEM, 2, 2, 0, 0, 0], counts: &[4, 1], width: 4 };
        let relevant = Rows::new(&[0, 2, 2], &[1, 2], 3, "relevant").unwrap();
        let context = Context::new(Some(2)).unwrap();
        let got = list_properties(lists, relevant, &[2, 9], facts, &context).unwrap();
        let of = |which: usize, name: &str, user: usize| {
            got[which * PROPERTIES.len() + PROPERTIES.iter().position(|each| *each == name).unwrap()][user]
        };
        assert_eq!(of(0, "novelty", 0), 1.0);
        assert_eq!(of(1, "novelty", 0), 4.0 / 3.0);
        assert_eq!(of(1, "popularity", 0), 5.0 / 3.0);
        assert_eq!(of(0, "serendipity", 0), 0.25 / 2.0); // rank 2: 3/4 - 1/2
        assert_eq!(of(1, "serendipity", 0), 0.25 / 9.0); // rank 4: 1/4 - 1/4
        assert!((of(0, "diversity", 0) - 0.5).abs() < 1e-15);
        assert!((of(1, "diversity", 0) - (1.0 - 0.5 / 3.0)).abs() < 1e-15);
        assert!(of(1, "diversity", 1).is_nan());
        assert_eq!(of(0, "serendipity", 1), 0.0);
    }

    #[test]
    fn inconsistent_arrays_are_refused() {
        let facts =
            ItemFacts { information: &[1.0], popularity: &[1.0], expected: &[1.0], users: None, n_catalogue: 1 };
        let relevant = Rows::new(&[0, 0], &[], 1, "relevant").unwrap();
        let context = Context::new(Some(1)).unwrap();
        let lists = Lists { items: &[1], counts: &[1], width: 1 };
        assert!(list_properties(lists, relevant, &[1], facts, &context).is_err());
        let lists = Lists { items: &[0], ..lists };
        assert!(list_properties(lists, relevant, &[1], facts, &context).is_ok());
        assert!(list_properties(lists, relevant, &[0], facts, &context).is_err());
        assert!(list_properties(lists, relevant, &[1], ItemFacts { popularity: &[], ..facts }, &context).is_err());
        assert!(Rows::new(&[0, 2], &[1, 1], 2, "rows").is_err());
        assert!(Rows::new(&[0, 1], &[2], 2, "rows").is_err());
        assert!(Rows::new(&[0, 1], &[-1], 2, "rows").is_err());
        assert!(Rows::new(&[0, 2], &[1], 2, "rows").is_err());
    }
}
