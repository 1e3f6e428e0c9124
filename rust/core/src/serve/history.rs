//! A user's history, continued by what they did since.
//!
//! `ancf/serving/histories.py` says what is right; this is for events that add to a history, purchases and interest. Events of
//! one item add up, in their order and in f64; what nothing is left of, and what takes back or rejects, is left to that.

use crate::data::Numbers;

/// The time of what has none.
pub const LONG_AGO: i64 = -(1 << 62);
/// The start of the events of every so many pairs is kept, and those between are counted.
const PAIRS_A_START: usize = 64;

/// The events behind the pairs of users and items: how much of each, and when the last one was.
pub struct Purchases {
    counts: Option<Numbers<i32>>,
    starts: Vec<usize>,
    weights: Option<Numbers<f32>>,
    times: Option<Numbers<i64>>,
    until: Option<i64>,
    counted: bool,
}

impl Purchases {
    /// `counts`: events of each pair (`None`: one). `weights` and `times`: of each event (`None`: 1, and not known), no time
    /// after `until`. `counted`: a pair weighs how many events it has. `None` where the numbers do not fit `n_pairs`.
    pub fn new(
        n_pairs: usize,
        counts: Option<Numbers<i32>>,
        weights: Option<Numbers<f32>>,
        times: Option<Numbers<i64>>,
        until: Option<i64>,
        counted: bool,
    ) -> Option<Self> {
        let (mut starts, mut n) = (Vec::new(), n_pairs);
        if let Some(counts) = &counts {
            n = 0;
            for (pair, &count) in counts.iter().enumerate() {
                if pair % PAIRS_A_START == 0 {
                    starts.push(n);
                }
                n += usize::try_from(count).ok().filter(|&count| count > 0)?;
            }
        }
        let fits = counts.as_ref().is_none_or(|counts| counts.len() == n_pairs)
            && weights.as_ref().is_none_or(|weights| weights.len() == n)
            && times.as_ref().is_none_or(|times| times.len() == n);
        fits.then_some(Self { counts, starts, weights, times, until, counted })
    }

    /// Whether times are known.
    pub fn is_timed(&self) -> bool {
        self.times.is_some()
    }

    /// Where the events of a pair are.
    fn events(&self, pair: usize) -> std::ops::Range<usize> {
        let Some(counts) = &self.counts else { return pair..pair + 1 };
        let block = pair / PAIRS_A_START;
        let before: i32 = counts[block * PAIRS_A_START..pair].iter().sum();
        let start = self.starts[block] + before as usize;
        start..start + counts[pair] as usize
    }

    fn weight(&self, pair: usize) -> f64 {
        match (&self.weights, &self.counts) {
            (Some(weights), _) if !self.counted => {
                let summed: f64 = weights[self.events(pair)].iter().map(|&weight| f64::from(weight)).sum();
                f64::from(summed as f32)
            }
            (_, Some(counts)) => f64::from(counts[pair]),
            _ => 1.0,
        }
    }

    fn time(&self, pair: usize) -> i64 {
        match (&self.times, self.until) {
            (Some(times), Some(until)) => times[self.events(pair).end - 1].min(until),
            _ => LONG_AGO,
        }
    }
}

/// What a model has of one user; nothing for somebody whom it does not know.
pub struct Known<'a> {
    /// Positions, rising.
    pub items: &'a [u32],
    /// Which of them they have had; `None`: all.
    pub had: Option<&'a [u32]>,
    /// Where their pairs begin among those of all.
    pub first_pair: usize,
    /// `None` where only the pairs are known.
    pub purchases: Option<&'a Purchases>,
}

impl Known<'_> {
    fn is_had(&self, item: u32) -> bool {
        self.had.is_none_or(|had| had.binary_search(&item).is_ok())
    }

    fn weight(&self, place: usize) -> f64 {
        self.purchases.map_or(1.0, |purchases| purchases.weight(self.first_pair + place))
    }

    fn time(&self, place: usize) -> i64 {
        self.purchases.map_or(LONG_AGO, |purchases| purchases.time(self.first_pair + place))
    }
}

/// Something that a user did and the model has not learned.
pub struct Event {
    /// The item's position.
    pub item: u32,
    /// How much it adds.
    pub amount: f64,
    /// When it was.
    pub at: i64,
    /// Whether they have the item by it.
    pub is_had: bool,
    /// Whether the model has learned it, if it knows the pair.
    pub is_learned_with_pair: bool,
}

/// What became of an item.
struct Change {
    item: u32,
    place: Option<usize>,
    weight: f64,
    at: i64,
    is_had: bool,
}

/// A history with the events.
pub struct Continued {
    /// Positions, rising.
    pub items: Vec<u32>,
    /// Which of them they have had; `None`: all.
    pub had: Option<Vec<u32>>,
    changes: Vec<Change>,
}

/// What becomes of a history.
pub enum Outcome {
    /// Nothing: all events are learned.
    Unchanged,
    /// It goes on.
    Grown(Continued),
    /// Nothing is left of an item, which is for others.
    ForOthers,
}

/// The history of a user with events, oldest first.
pub fn continued(known: &Known<'_>, events: impl Iterator<Item = Event>) -> Outcome {
    let mut changes: Vec<Change> = Vec::new();
    for event in events {
        let found = changes.binary_search_by_key(&event.item, |change| change.item);
        let place = match found {
            Ok(at) => changes[at].place,
            Err(_) => known.items.binary_search(&event.item).ok(),
        };
        if event.is_learned_with_pair && place.is_some() {
            continue;
        }
        let at = found.unwrap_or_else(|at| {
            let (weight, time) = place.map_or((0.0, LONG_AGO), |place| (known.weight(place), known.time(place)));
            let is_had = place.is_some() && known.is_had(event.item);
            changes.insert(at, Change { item: event.item, place, weight, at: time, is_had });
            at
        });
        let change = &mut changes[at];
        change.weight += event.amount;
        change.at = change.at.max(event.at);
        change.is_had |= event.is_had;
    }
    if changes.is_empty() {
        return Outcome::Unchanged;
    }
    if !changes.iter().all(|change| change.weight > 0.0) {
        return Outcome::ForOthers;
    }
    Outcome::Grown(joined(known, changes))
}

fn joined(known: &Known<'_>, changes: Vec<Change>) -> Continued {
    let mut items = Vec::with_capacity(known.items.len() + changes.len());
    let mut rest = known.items;
    for change in changes.iter().filter(|change| change.place.is_none()) {
        let (before, after) = rest.split_at(rest.partition_point(|&item| item < change.item));
        items.extend_from_slice(before);
        items.push(change.item);
        rest = after;
    }
    items.extend_from_slice(rest);
    let all_had = known.had.is_none() && changes.iter().all(|change| change.is_had);
    let is_had = |&item: &u32| match changes.binary_search_by_key(&item, |change| change.item) {
        Ok(at) => changes[at].is_had,
        Err(_) => known.is_had(item),
    };
    let had = (!all_had).then(|| items.iter().copied().filter(is_had).collect());
    Continued { items, had, changes }
}

impl Continued {
    /// What each item weighs, and when it was had last.
    pub fn numbers(&self, known: &Known<'_>) -> (Vec<f32>, Vec<i64>) {
        let (mut weights, mut times) = (Vec::with_capacity(self.items.len()), Vec::with_capacity(self.items.len()));
        let (mut changes, mut place) = (self.changes.iter().peekable(), 0);
        for &item in &self.items {
            if let Some(change) = changes.next_if(|change| change.item == item) {
                weights.push(change.weight as f32);
                times.push(change.at);
                place += usize::from(change.place.is_some());
            } else {
                weights.push(known.weight(place) as f32);
                times.push(known.time(place));
                place += 1;
            }
        }
        (weights, times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(known: &Known<'_>, events: impl IntoIterator<Item = Event>) -> Continued {
        match continued(known, events.into_iter()) {
            Outcome::Grown(found) => found,
            _ => panic!("it does not go on"),
        }
    }

    fn event(item: u32, amount: f64, at: i64, is_had: bool) -> Event {
        Event { item, amount, at, is_had, is_learned_with_pair: false }
    }

    fn purchases() -> Purchases {
        let (counts, weights) = (vec![1, 2, 1], vec![1.0, 2.0, 3.0, 4.0]);
        let times = vec![10, 20, 30, 40];
        Purchases::new(3, Some(counts.into()), Some(weights.into()), Some(times.into()), Some(35), false).unwrap()
    }

    #[test]
    fn events_join_what_is_known_and_add_up() {
        let purchases = purchases();
        let known = Known { items: &[3, 7], had: Some(&[3]), first_pair: 1, purchases: Some(&purchases) };
        let events =
            [event(5, 2.0, 50, true), event(7, 1.5, 34, true), event(5, 1.0, 45, false), event(9, 0.5, 60, false)];
        let found = grown(&known, events);
        assert_eq!(found.items, [3, 5, 7, 9]);
        assert_eq!(found.had.as_deref(), Some(&[3, 5, 7][..]));
        assert_eq!(found.numbers(&known), (vec![5.0, 3.0, 5.5, 0.5], vec![30, 50, 35, 60]));
    }

    #[test]
    fn what_is_learned_changes_nothing() {
        let known = Known { items: &[3], had: None, first_pair: 0, purchases: None };
        let learned = |item| Event { is_learned_with_pair: true, ..event(item, 1.0, 5, true) };
        assert!(matches!(continued(&known, [learned(3)].into_iter()), Outcome::Unchanged));
        let found = grown(&known, [learned(3), learned(4)]);
        assert_eq!((found.items.as_slice(), &found.had), (&[3, 4][..], &None));
        assert_eq!(found.numbers(&known), (vec![1.0, 1.0], vec![LONG_AGO, 5]));
    }

    #[test]
    fn what_nothing_is_left_of_is_for_others() {
        let purchases = Purchases::new(1, None, Some(vec![-2.0].into()), None, None, false).unwrap();
        let known = Known { items: &[0], had: None, first_pair: 0, purchases: Some(&purchases) };
        assert!(matches!(continued(&known, [event(0, 1.0, 5, true)].into_iter()), Outcome::ForOthers));
        assert_eq!(grown(&known, [event(0, 3.0, 5, true)]).items, [0]);
    }

    #[test]
    fn the_events_of_a_pair_are_found_among_many() {
        let counts: Vec<i32> = (0..200).map(|pair| 1 + pair % 3).collect();
        let n: i32 = counts.iter().sum();
        let times: Vec<i64> = (0..i64::from(n)).collect();
        let found =
            Purchases::new(200, Some(counts.clone().into()), None, Some(times.into()), Some(i64::MAX), true).unwrap();
        let mut end = 0;
        for (pair, &count) in counts.iter().enumerate() {
            end += i64::from(count);
            assert_eq!((found.weight(pair), found.time(pair)), (f64::from(count), end - 1));
        }
        assert!(Purchases::new(2, Some(vec![1, 0].into()), None, None, None, true).is_none());
        assert!(Purchases::new(2, None, Some(vec![1.0].into()), None, None, true).is_none());
    }
}
