//! Lists by rules from rankings of many rows that are there already, as arrays.

use crate::data::Csr;
use crate::runtime::Context;
use crate::{Error, Result};

use super::super::checks::check_n;
use super::super::diversity::Vectors;
use super::super::key::key;
use super::super::output::Lists;
use super::{Candidates, ListRules, N_KINDS, Ranking, Scratch};

/// Lists that a thread makes before it looks for others.
const ROWS_PER_TASK: usize = 32;

/// Rankings of several rows by score: row r holds `counts[r]` items, best first, from entry `r · width` on.
#[derive(Clone, Copy, Debug)]
pub struct RankingArrays<'a> {
    /// Positions of the items.
    pub items: &'a [i32],
    /// Their scores, without the last step.
    pub scores: &'a [f32],
    /// Length of each ranking.
    pub counts: &'a [i32],
    /// Entries of a row.
    pub width: usize,
    /// How many were asked for; a shorter ranking holds all there are.
    pub asked: usize,
}

/// All that the lists of several rows are chosen from; see `Candidates`.
#[derive(Clone, Copy)]
pub struct ReadyRankings<'a> {
    /// A ranking of each kind, of all items at least.
    pub rankings: [Option<RankingArrays<'a>>; N_KINDS],
    /// Of the pins alone, all of them.
    pub pins: Option<RankingArrays<'a>>,
    /// A factor from 0 to 1 for some items of each row.
    pub faded: Option<&'a Csr>,
    /// Unit vectors of all items, where diversity compares them (`n_items` × `d`).
    pub vectors: Option<Vectors<'a>>,
}

impl RankingArrays<'_> {
    fn check(&self, n_rows: usize, n_items: usize) -> Result<()> {
        let fits = self.items.len() == n_rows * self.width
            && self.scores.len() == self.items.len()
            && self.counts.len() == n_rows
            && self.counts.iter().all(|&count| (0..=self.width as i64).contains(&i64::from(count)))
            && self.items.iter().all(|&item| (0..n_items as i64).contains(&i64::from(item)));
        if fits { Ok(()) } else { Err(Error::InvalidData("rankings: their arrays do not fit each other.".into())) }
    }

    fn keys(&self, row: usize, keys: &mut Vec<u64>) {
        let own = row * self.width..row * self.width + self.counts[row] as usize;
        keys.clear();
        keys.extend(
            self.items[own.clone()].iter().zip(&self.scores[own]).map(|(&item, &score)| key(score, item as u32)),
        );
    }
}

impl ListRules {
    /// Checks the number of items, factors of single rows, and vectors that diversity compares.
    pub fn check(
        &self,
        n_rows: usize,
        n_items: usize,
        faded: Option<&Csr>,
        vectors: Option<Vectors<'_>>,
    ) -> Result<()> {
        if n_items != self.n_items {
            return Err(Error::InvalidData(format!("rules for {} items, and there are {n_items}.", self.n_items)));
        }
        if let Some(faded) = faded
            && (faded.n_rows() != n_rows
                || faded.n_columns() != self.n_items
                || faded.values().iter().any(|factor| !(*factor > 0.0 && *factor <= 1.0)))
        {
            return Err(Error::InvalidData("rules: factors of single users must be in (0, 1].".into()));
        }
        if let Some((vectors, d)) = vectors
            && self.n_items.checked_mul(d) != Some(vectors.len())
        {
            return Err(Error::InvalidData("rules: there is not one vector for each item.".into()));
        }
        Ok(())
    }

    /// The lists of `n` items, and whether each is proven to be the best that obeys. Scores are those of the candidates.
    pub fn arrange(&self, from: &ReadyRankings<'_>, n: usize, context: &Context) -> Result<(Lists, Vec<bool>)> {
        check_n(n)?;
        let n_rows = from.rankings[0].map_or(0, |all| all.counts.len());
        for rankings in from.rankings.iter().chain([&from.pins]).flatten() {
            rankings.check(n_rows, self.n_items)?;
        }
        self.check(n_rows, self.n_items, from.faded, from.vectors)?;
        let width = n.min(self.n_items);
        let mut lists = Lists::empty(n_rows, width);
        let mut proven = vec![true; n_rows];
        if width == 0 {
            return Ok((lists, proven));
        }
        let Lists { items, scores, counts, .. } = &mut lists;
        let parts = items
            .chunks_mut(width * ROWS_PER_TASK)
            .zip(scores.chunks_mut(width * ROWS_PER_TASK))
            .zip(counts.chunks_mut(ROWS_PER_TASK).zip(proven.chunks_mut(ROWS_PER_TASK)));
        let arrange = |(scratch, keys): &mut (Scratch, Keys),
                       (part, ((items, scores), (counts, proven))): (usize, Part<'_>)| {
            context.cancel.check()?;
            let lists = items.chunks_mut(width).zip(scores.chunks_mut(width)).zip(counts).zip(proven);
            for (at, (((items, scores), count), proven)) in lists.enumerate() {
                let from = keys.of_row(from, part * ROWS_PER_TASK + at);
                *proven = !self.choose(&from, width, context.level, scratch).any();
                *count = scratch.write(items, scores);
            }
            Ok(())
        };
        context.try_for_each_task(parts.enumerate(), Default::default, arrange)?;
        Ok((lists, proven))
    }
}

/// The rankings of one row.
#[derive(Default)]
struct Keys {
    rankings: [Vec<u64>; N_KINDS],
    pins: Vec<u64>,
}

impl Keys {
    fn of_row<'a>(&'a mut self, from: &ReadyRankings<'a>, row: usize) -> Candidates<'a> {
        for (keys, ranking) in self.rankings.iter_mut().zip(&from.rankings) {
            if let Some(ranking) = ranking {
                ranking.keys(row, keys);
            }
        }
        self.pins.clear();
        if let Some(pins) = from.pins {
            pins.keys(row, &mut self.pins);
        }
        let mut rankings = [None; N_KINDS];
        for ((found, keys), ranking) in rankings.iter_mut().zip(&self.rankings).zip(&from.rankings) {
            *found = ranking.map(|each| Ranking { keys, asked: each.asked, floor: f32::NEG_INFINITY });
        }
        let faded = from.faded.map_or((&[][..], &[][..]), |faded| (faded.row(row), faded.row_values(row)));
        Candidates { rankings, pins: &self.pins, faded, vectors: from.vectors }
    }
}

/// Some lists on their way out: items, scores, lengths, and whether they are proven.
type Part<'a> = ((&'a mut [i32], &'a mut [f32]), (&'a mut [i32], &'a mut [bool]));
