//! Every path against the naive one.

use super::key::position_of;
use super::test_cases::{Case, Kind, assert_lists, cases, contexts, one_in, plain_rows};
use super::*;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::Level;

#[test]
fn lists_are_those_of_the_naive_sort_on_every_level_and_thread_count() {
    let contexts = contexts();
    for (number, case) in cases().iter().enumerate() {
        let ranker = case.ranker();
        let everyone: Vec<usize> = (0..case.n_users).collect();
        for n in [1, 10, 60] {
            let filters = case.filters(number as u64 % 8, case.n_users);
            let filter_seen = number % 3 != 0;
            let wanted = case.naive(&everyone, n, filter_seen, &filters);
            for context in &contexts {
                for plan in [Plan::Plain, Plan::Pruned, Plan::Auto] {
                    let lists = ranker.top_n(None, n, filter_seen, &filters, plan, context).unwrap();
                    assert_lists(&lists, &wanted, &format!("case {number}, n {n}, {} {plan:?}", context.level.name()));
                }
            }
            let some: Vec<u32> = (0..case.n_users as u32).rev().step_by(2).collect();
            let wanted =
                case.naive(&some.iter().map(|&u| u as usize).collect::<Vec<_>>(), n, true, &Filters::default());
            let lists = ranker.top_n(Some(&some), n, true, &Filters::default(), Plan::Auto, &contexts[0]).unwrap();
            assert_lists(&lists, &wanted, &format!("case {number}, n {n}, some"));
            for (row, &user) in some.iter().enumerate().take(3) {
                for context in &contexts {
                    let one: Vec<_> = ranker
                        .top_n_one(user as usize, n, true, context.level, |keys, output| {
                            keys.iter().map(|&k| (position_of(k), output.score(k).to_bits())).collect()
                        })
                        .unwrap();
                    assert_eq!(one, wanted[row], "case {number}, n {n}, user {user}, {}", context.level.name());
                }
            }
        }
    }
}

#[test]
fn users_outside_the_table_get_the_same_lists_and_scores() {
    let context = Context::new(Some(2)).unwrap();
    for case in cases() {
        let ranker = case.ranker();
        let users = case.new_users(&ranker);
        let filters = case.filters(6, case.n_users);
        assert_eq!(
            ranker.top_n_for(&users, 7, &filters, Plan::Auto, &context).unwrap(),
            ranker.top_n(None, 7, true, &filters, Plan::Auto, &context).unwrap()
        );
        let users: Vec<u32> = (0..200).map(|at| at % case.n_users as u32).collect();
        let items: Vec<u32> = (0..200).map(|at| at * 7 % case.n_items as u32).collect();
        let scores = ranker.scores(&users, &items, &context).unwrap();
        for ((&user, &item), score) in users.iter().zip(&items).zip(scores) {
            let wanted = case.output(user as usize, case.score(user as usize, item as usize));
            assert_eq!(score.to_bits(), wanted.to_bits());
        }
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let context = Context::new(Some(1)).unwrap();
    let new = |vectors: Vec<f32>, n, d| Ranker::new(vectors, n, d, None, Head::Inner);
    assert!(new(vec![1.0, f32::NAN], 2, 1).is_err());
    assert!(new(vec![1.0, f32::INFINITY], 1, 2).is_err());
    assert!(new(vec![1.0], 2, 1).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, None, Head::FactorAttention { sharpness: vec![], bias: vec![] }).is_err());
    let short = Head::FactorAttention { sharpness: vec![1.0], bias: vec![1.0] };
    assert!(Ranker::new(vec![1.0, 2.0], 2, 1, None, short).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(1, 2)), Head::Inner).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(0, 1)), Head::Inner).is_err());
    // More sources than items: histories must name them all.
    let more = Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(2, 1)), Head::Inner).unwrap();
    assert!(more.new_users(vec![1.0], 1, Some(Csr::empty(1, 1)), None).is_err());
    assert!(more.new_users(vec![1.0], 1, Some(Csr::empty(1, 2)), None).is_ok());
    let mut ranker = new(vec![1.0, 2.0], 2, 1).unwrap();
    assert!(ranker.new_users(vec![f32::NAN], 1, None, None).is_err());
    assert!(ranker.new_users(vec![1.0], 1, Some(Csr::empty(2, 2)), None).is_err());
    assert!(ranker.new_users(vec![1.0], 1, None, Some(Sets::new(vec![0], vec![], 2).unwrap())).is_err());
    let users = ranker.new_users(vec![1.0], 1, None, None).unwrap();
    assert!(users.clone().with_shift(vec![]).is_err());
    assert!(users.clone().with_shift(vec![f32::NAN]).is_err());
    ranker.set_users(users);
    let none = Filters::default();
    assert!(ranker.top_n(None, 0, true, &none, Plan::Auto, &context).is_err());
    assert!(ranker.top_n(Some(&[1]), 1, true, &none, Plan::Auto, &context).is_err());
    assert!(ranker.top_n_one(1, 1, true, context.level, |keys, _| keys.len()).is_err());
    assert!(ranker.scores(&[0], &[2], &context).is_err());
    assert!(ranker.scores(&[1], &[1], &context).is_err());
    let bad = Filters { deny: vec![2], ..Filters::default() };
    assert!(ranker.top_n(None, 1, true, &bad, Plan::Auto, &context).is_err());
    let bad = Filters { allow: Some(vec![true]), ..Filters::default() };
    assert!(ranker.top_n(None, 1, true, &bad, Plan::Auto, &context).is_err());
    context.cancel.cancel();
    assert_eq!(ranker.top_n(None, 1, true, &none, Plan::Auto, &context), Err(crate::Error::Cancelled));
}

#[test]
fn a_filter_that_leaves_few_items_is_pruned_where_enough_users_ask() {
    let level = Level::detect().unwrap();
    if !crate::runtime::simd::int8_scan::has_kernel(level) {
        return;
    }
    let case = Case::new(Kind::Normal, 300, 40_000, 2, false, 1);
    let ranker = case.ranker();
    let path = |n_rows: usize, n: usize, left: usize, own_index: bool| {
        let query = super::query::Query { n_rows, ..ranker.everyone() };
        super::plan::choose(ranker.scorer(), Plan::Auto, &query, n, left, own_index, level).path
    };
    assert_eq!(path(300, 10, 2000, true), Path::Pruned);
    assert_eq!(path(50, 10, 2000, true), Path::Plain);
    assert_eq!(path(50, 10, 20_000, false), Path::Pruned);
    assert_eq!(path(300, 10, 500, true), Path::Plain);
    assert_eq!(path(300, 300, 2000, true), Path::Plain);
    // And what comes out is what comes out without the table, for users who have seen many items.
    let filters = Filters { allow: Some((0..40_000).map(|item| item % 20 == 3).collect()), ..Filters::default() };
    let context = Context::new(Some(2)).unwrap();
    let lists = |plan| ranker.top_n(None, 10, true, &filters, plan, &context).unwrap();
    assert_lists(&lists(Plan::Auto), &plain_rows(&lists(Plan::Plain)), "auto");
    assert_lists(&lists(Plan::Auto), &case.naive(&(0..300).collect::<Vec<_>>(), 10, true, &filters), "naive");
}

#[test]
fn filters_leave_the_same_lists_however_many_ask() {
    // One after the other, from bytes or picked from the order; together, over the table of all or one of their own. Of
    // the normal ones all vectors have one length, so that the best stand anywhere in it.
    let kinds = [(Kind::Skewed, true), (Kind::Ties, false), (Kind::Normal, true)];
    for (kind, sparse) in kinds.into_iter().step_by(one_in()) {
        let mut case = Case::new(kind, 100, 5000, 6, sparse, 3);
        if kind == Kind::Normal {
            for vector in case.items.chunks_exact_mut(6) {
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                for x in vector {
                    *x /= length;
                }
            }
        }
        let ranker = case.ranker();
        for every in [1, 2, 40, 500, 5000] {
            let allow = Some((0..5000).map(|item| item % every == every / 2).collect());
            let filters = Filters { allow, deny: vec![0, 7, 2500, 4999], ..Filters::default() };
            for (n_users, n) in [(1, 10), (5, 3), (11, 10), (60, 10), (100, 10), (100, 80)] {
                let rows: Vec<usize> = (0..n_users).map(|user| user * 37 % 100).collect();
                let users: Vec<u32> = rows.iter().map(|&user| user as u32).collect();
                let wanted = case.naive(&rows, n, true, &filters);
                for context in &contexts() {
                    for plan in [Plan::Auto, Plan::Pruned] {
                        let lists = ranker.top_n(Some(&users), n, true, &filters, plan, context).unwrap();
                        let what = format!("{kind:?}, 1 of {every}, {n_users} users, {}", context.level.name());
                        assert_lists(&lists, &wanted, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn one_user_does_not_wait_for_the_pool() {
    // A pool that no other test uses, with work in each of its threads until the lists are there.
    let context = Context::new(Some(7)).unwrap();
    let occupied = std::sync::Arc::new(std::sync::Barrier::new(8));
    for _ in 0..7 {
        let occupied = std::sync::Arc::clone(&occupied);
        context.pool().spawn(move || {
            occupied.wait();
        });
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for case in [
            Case::new(Kind::Normal, 1, 300, 8, true, 1).with_link(Kind::Normal),
            Case::new(Kind::Huge, 1, 300, 8, false, 1),
            Case::new(Kind::Normal, 1, 300, 8, false, 1).with_attention(),
        ] {
            let ranker = case.ranker();
            let lists = ranker.top_n(None, 10, true, &Filters::default(), Plan::Auto, &context).unwrap();
            ranker.scores(&[0, 0], &[3, 4], &context).unwrap();
            sender.send((lists, case.naive(&[0], 10, true, &Filters::default()))).unwrap();
        }
    });
    let found: Vec<_> = (0..3).map(|_| receiver.recv_timeout(std::time::Duration::from_secs(20))).collect();
    occupied.wait();
    for part in found {
        let (lists, wanted) = part.expect("a list for one user waited for the pool");
        assert_lists(&lists, &wanted, "one user");
    }
}

#[test]
fn first_thresholds_count_only_what_a_list_may_hold() {
    // The largest norms are denied, or the user has them already, or a history adds to them.
    for (which, sparse) in [(0, false), (1, false), (2, true)] {
        let mut case = Case::new(Kind::Normal, 20, 1500, 6, sparse, which);
        for (item, vector) in case.items.chunks_exact_mut(6).enumerate() {
            let scale = 1.0 + 30.0 / (1.0 + item as f32 / 40.0);
            for value in vector {
                *value *= scale;
            }
        }
        let most: Vec<u32> = (0..100).collect();
        let mut filters = Filters::default();
        if which == 0 {
            filters.deny = most;
        } else {
            let offsets = (0..=20).map(|user| user * 100).collect();
            case.seen = Some(Sets::new(offsets, most.repeat(20), 1500).unwrap());
        }
        let ranker = case.ranker();
        for n in [1, 10, 60] {
            let wanted = case.naive(&(0..20).collect::<Vec<_>>(), n, true, &filters);
            for context in &contexts() {
                let lists = ranker.top_n(None, n, true, &filters, Plan::Pruned, context).unwrap();
                assert_lists(&lists, &wanted, &format!("{which}, n {n}, {}", context.level.name()));
            }
        }
    }
}
