//! What a history lets pass, and what not.

use super::*;

/// A plan in which each of the first writes leaves a state of its own.
fn plan() -> Plan {
    let plan = |seed| Plan { seed, threads: 2, durability: Durability::Os, buffered_one_in: 0 };
    let puts = |plan: &Plan, thread, number| {
        plan.write(thread, 1, number).changes.last().is_some_and(|(_, version)| version.is_some())
    };
    let is_plain =
        |plan: &Plan| (0..2).all(|thread| (1..13).all(|number| puts(plan, thread, number)));
    (0..).map(plan).find(is_plain).unwrap()
}

/// The state of `thread` after `count` writes of life 1.
fn after(plan: &Plan, thread: u8, count: u32) -> State {
    let mut state = State::new();
    for number in 1..=count {
        apply(&mut state, &plan.write(thread, 1, number));
    }
    state
}

/// Both threads together.
fn both(plan: &Plan, first: u32, second: u32) -> State {
    let mut state = after(plan, 0, first);
    state.append(&mut after(plan, 1, second));
    state
}

/// A history in which each thread had 10 writes acknowledged.
fn heard_ten(plan: Plan) -> History {
    let mut history = History::new(plan);
    history.begin();
    for thread in 0..2 {
        for number in 1..=10 {
            history.hear(thread, number, Heard::Acknowledged).unwrap();
        }
    }
    history
}

#[test]
fn what_was_acknowledged_is_there_and_at_most_one_write_more() {
    let plan = plan();
    for (first, second, may_be) in
        [(10, 10, true), (11, 10, true), (10, 11, true), (9, 10, false), (12, 10, false)]
    {
        let outcome = heard_ten(plan).resolve(both(&plan, first, second));
        assert_eq!(outcome.is_ok(), may_be, "{first} and {second}: {outcome:?}");
    }
    assert!(heard_ten(plan).resolve(State::new()).is_err());
}

#[test]
fn a_buffered_write_may_be_lost_with_all_behind_it() {
    let plan = Plan { buffered_one_in: 1, ..plan() };
    for count in 0..=11 {
        heard_ten(plan).resolve(both(&plan, count, 10)).unwrap();
    }
    // But not alone.
    let mut hole = both(&plan, 10, 10);
    let key = plan.write(0, 1, 10).changes[0].0;
    hole.insert(key, Version { generation: 1, write: 99, length: 1 });
    assert!(heard_ten(plan).resolve(hole).is_err());
}

#[test]
fn half_a_batch_is_noticed() {
    let plan = plan();
    let is_batch = |number: &u32| {
        let changes = plan.write(0, 1, *number).changes;
        changes.iter().filter(|(_, version)| version.is_some()).count() > 2
    };
    let batch = (1..).find(is_batch).unwrap();
    let mut history = History::new(plan);
    history.begin();
    for number in 1..batch {
        history.hear(0, number, Heard::Acknowledged).unwrap();
    }
    let mut found = after(&plan, 0, batch);
    let (key, _) = plan.write(0, 1, batch).changes.into_iter().find(|(_, v)| v.is_some()).unwrap();
    found.remove(&key);
    assert!(history.resolve(found).is_err());
    history.resolve(after(&plan, 0, batch)).unwrap();
}

#[test]
fn what_was_settled_stays_so() {
    let plan = plan();
    let mut history = heard_ten(plan);
    history.resolve(both(&plan, 10, 11)).unwrap();
    // The write of thread 0 that was under way was not there: it may not come back.
    assert!(history.resolve(both(&plan, 11, 11)).is_err());
    history.resolve(both(&plan, 10, 11)).unwrap();
}

#[test]
fn a_refused_write_is_there_or_not() {
    let plan = plan();
    let make = || {
        let mut history = History::new(plan);
        history.begin();
        for (number, how) in
            [Heard::Acknowledged, Heard::Refused, Heard::Acknowledged].into_iter().enumerate()
        {
            history.hear(0, number as u32 + 1, how).unwrap();
        }
        history
    };
    let mut without = after(&plan, 0, 1);
    apply(&mut without, &plan.write(0, 1, 3));
    make().resolve(without).unwrap();
    make().resolve(after(&plan, 0, 3)).unwrap();
    assert!(make().resolve(after(&plan, 0, 2)).is_err(), "the third was acknowledged");
    assert!(make().hear(0, 7, Heard::Acknowledged).is_err(), "a number was left out");
}
