//! Every question about a model: its scorer, the users of the training table, and the calls.
//!
//! A call is checked and becomes a [`Query`]; see `calls` for what follows.

use crate::data::{Csr, Numbers};
use crate::model::fold_in::{self, Attention, History};
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::checks::{check_n, check_table, check_users};
use super::head::Head;
use super::key::Best;
use super::output::{Link, Lists, OutputTransform};
use super::plan::{self, Choice, Plan};
use super::query::{EligibleItems, Filters, Query, Users};
use super::scorer::Scorer;
use super::sets::Sets;
use super::single;
use super::target_attention::TargetSearch;

/// Scores and exact lists for users of the training table and for others.
pub struct Ranker {
    pub(super) scorer: Scorer,
    pub(super) users: Users,
}

impl Ranker {
    /// Checks item `vectors` (`n_items` × `d`), `neighbors` (row j: what history item j adds to others) and the head.
    pub fn new(
        vectors: impl Into<Numbers<f32>>,
        n_items: usize,
        d: usize,
        neighbors: Option<Csr>,
        head: Head,
    ) -> Result<Self> {
        Ok(Self { scorer: Scorer::new(vectors.into(), n_items, d, neighbors, head)?, users: Users::no_users(d) })
    }

    /// The same with item-item weights of all items with all (`n_items` × `n_items`), for users that are set later.
    pub fn with_dense_neighbors(mut self, weights: Numbers<f32>) -> Result<Self> {
        self.scorer.set_dense_neighbors(weights)?;
        Ok(self)
    }

    /// The same with this last step of every score that comes out.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        self.scorer.set_link(link);
        self
    }

    /// Checks users that fit these items: `vectors` (n × d), and rows of `history` and `seen` for each.
    pub fn new_users(
        &self,
        vectors: impl Into<Numbers<f32>>,
        n: usize,
        history: Option<Csr>,
        seen: Option<Sets>,
    ) -> Result<Users> {
        self.scorer.new_users(vectors.into(), n, history, seen)
    }

    /// Takes these as the users of the training table.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.users.n
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.scorer.n_items()
    }

    /// What a history may name: the rows of the neighbors, of which there may be more than items.
    pub fn n_sources(&self) -> usize {
        self.scorer.n_sources()
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.scorer.factors()
    }

    /// Multiply-adds of one score.
    pub fn cost(&self) -> usize {
        self.scorer.head().cost(self.scorer.factors())
    }

    /// What scores.
    #[cfg(test)]
    pub(super) fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// A query for everyone in the training table.
    pub(super) fn everyone(&self) -> Query<'_> {
        self.users.query(None, true)
    }

    /// Lists for users of the training table (`None`: everyone, in order).
    pub fn top_n(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.lists(self.users.query(users, filter_seen), n, filters, plan, true, context)
    }

    /// The same without the last step of the scores, for `arrange`; `finish` takes it.
    pub fn rank(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        context: &Context,
    ) -> Result<Lists> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.lists(self.users.query(users, filter_seen), n, filters, Plan::Auto, false, context)
    }

    /// The same for users that the training table does not hold.
    pub fn rank_for(&self, users: &Users, n: usize, filters: &Filters, context: &Context) -> Result<Lists> {
        self.lists(users.query(None, true), n, filters, Plan::Auto, false, context)
    }

    /// The last step of the scores of ready lists, with a shift for each list where users have some.
    pub fn finish(&self, shifts: Option<&[f32]>, lists: &mut Lists, context: &Context) -> Result<()> {
        let (rows, n) = (lists.counts.len(), lists.counts.len() * lists.width);
        let fits = lists.scores.len() == n && shifts.is_none_or(|shifts| shifts.len() == rows);
        if !fits || lists.counts.iter().any(|&count| count < 0 || count as usize > lists.width) {
            return Err(Error::InvalidData("lists: their arrays do not fit each other.".into()));
        }
        if shifts.is_some() || self.scorer.link() != Link::Identity {
            self.apply_output(|row| shifts.map_or(0.0, |shifts| shifts[row]), lists, context);
        }
        Ok(())
    }

    /// Lists for users that the training table does not hold; what they have `seen` is left out.
    pub fn top_n_for(
        &self,
        users: &Users,
        n: usize,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        self.lists(users.query(None, true), n, filters, plan, true, context)
    }

    /// The list of one user on this thread; `take` receives its keys, best first, and how their scores come out.
    pub fn top_n_one<T>(
        &self,
        user: usize,
        n: usize,
        filter_seen: bool,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        if user >= self.users.n {
            return Err(Error::InvalidData(format!("user {user} is requested; there are {} users.", self.users.n)));
        }
        let users = [user as u32];
        Ok(self.top_n_inline(&self.users.query(Some(&users), filter_seen), n, level, take))
    }

    /// The list of one user outside the training table of whom only the history is known, without what they `had`, on this
    /// thread. With `attention` the history is folded in as `model::fold_in` does it; without, each item weighs its weight.
    pub fn top_n_for_items<T>(
        &self,
        history: &History<'_>,
        attention: Option<&Attention<'_>>,
        had: &[u32],
        n: usize,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        let n_items = self.scorer.n_items();
        let &History { items, weights, times } = history;
        // Checks the positions, too, before anything is looked up by them.
        Sets::new(vec![0, items.len()], items.to_vec(), n_items)?;
        let had = Sets::new(vec![0, had.len()], had.to_vec(), n_items)?;
        let weights = weights.map_or_else(|| vec![1.0; items.len()], <[f32]>::to_vec);
        check_table(&weights, items.len(), 1, "weights of the history")?;
        if times.is_some_and(|times| times.len() != items.len()) {
            return Err(Error::InvalidData("the history has another number of times than of items.".into()));
        }
        let mut vector = vec![0.0; self.scorer.factors()];
        let mut recency = Vec::new();
        if let Some(attention) = attention {
            // A prior of the history that is not finite shows in the vector, which is checked with the user; to look at all of
            // them for each list takes as long as to look at the history.
            if attention.priors.len() != n_items {
                return Err(Error::InvalidData(format!(
                    "attention priors: {} numbers for {n_items} items.",
                    attention.priors.len()
                )));
            }
            recency = fold_in::recency(items.len(), times, attention.half_life);
            fold_in::user_vector(level, items, &recency, attention.priors, self.scorer.vectors(), &mut vector);
        }
        let weighed = self.scorer.neighbors().map(|neighbors| {
            let (mut columns, mut values) = (Vec::new(), Vec::new());
            if let Some(attention) = attention {
                let repeats = (neighbors.n_rows() > n_items).then(|| {
                    let recency = fold_in::recency(items.len(), times, attention.repeat_half_life);
                    recency.iter().zip(&weights).map(|(recency, weight)| recency * weight).collect::<Vec<_>>()
                });
                fold_in::weigh_history(items, &recency, repeats.as_deref(), n_items, &mut columns, &mut values);
            } else {
                (columns, values) = (items.to_vec(), weights);
            }
            Csr::new(vec![0, columns.len()], columns, values, neighbors.n_rows())
        });
        let user = self.scorer.new_users(vector.into(), 1, weighed.transpose()?, Some(had))?;
        Ok(self.top_n_inline(&user.query(None, true), n, level, take))
    }

    /// What the lists of a user of the training table leave out where they leave out what was seen.
    pub fn seen(&self, user: usize) -> &[u32] {
        self.users.seen.as_ref().map_or(&[], |seen| seen.row(user))
    }

    /// The scores of pairs of a user and an item.
    pub fn scores(&self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if users.len() != items.len() {
            return Err(Error::InvalidData(format!(
                "got {} users and {} items; give one item for each user.",
                users.len(),
                items.len()
            )));
        }
        check_users(users, self.users.n)?;
        self.scorer.scores(&self.users.query(Some(users), false), items, context)
    }

    /// The scores of some items for one user outside the training table.
    pub fn scores_for(&self, user: &Users, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if user.n != 1 {
            return Err(Error::InvalidData(format!("got {} users; give one vector.", user.n)));
        }
        let users = vec![0; items.len()];
        self.scorer.scores(&user.query(Some(&users), false), items, context)
    }

    /// Whether the lists of a few users take microseconds each: nothing has to be made for them first.
    pub fn serves_few_fast(&self) -> bool {
        self.scorer.head().is_inner() && self.scorer.has_index()
    }

    /// The path that lists of `n` for everybody in the training table take.
    pub fn plan(&self, n: usize, level: Level) -> Choice {
        let n_items = self.scorer.n_items();
        plan::choose(&self.scorer, Plan::Auto, &self.everyone(), n.min(n_items), n_items, false, level)
    }

    /// The list of the first row, on this thread.
    fn top_n_inline<T>(
        &self,
        query: &Query<'_>,
        n: usize,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> T {
        let scorer = &self.scorer;
        let output = scorer.output_transform(query, 0, level);
        let take = |keys: &[u64]| take(keys, output);
        let n = n.min(scorer.n_items());
        if n == 0 {
            return take(&[]);
        }
        let eligible = EligibleItems { bits: None, count: scorer.n_items() };
        let prunes = plan::prunes_few(scorer, query, n, scorer.n_items());
        if prunes || (scorer.factors() == 0 && scorer.head().biases().is_empty()) {
            let index = prunes.then(|| scorer.index(None));
            return single::list(scorer, index, query, 0, n, &eligible, level, take);
        }
        if let Some(target) = scorer.head().target()
            && !scorer.may_overflow(query)
            && (scorer.factors() > 0 || target.bias.is_empty())
        {
            let mut best = Best::default();
            best.reset(n);
            let items = eligible.positions();
            TargetSearch { scorer, target, query: *query, items: &items }.top_n_one(0, level, &mut best);
            return take(best.sorted());
        }
        let mut scratch = single::Scratch::default();
        take(single::list_pairwise(scorer, query, 0, n, &eligible, None, false, level, &mut scratch))
    }
}
