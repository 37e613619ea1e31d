//! The model itself: which states it allows after a crash, and which it refuses.

use super::*;

fn put(key: &str, value: &str) -> Change {
    Change {
        family: DEFAULT_FAMILY.to_owned(),
        key: key.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
        end: None,
    }
}

fn state(pairs: &[(&str, &str)]) -> State {
    let pairs: Pairs =
        pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
    State::from([(DEFAULT_FAMILY.to_owned(), Arc::new(pairs))])
}

/// a=1 on disk, b=2 with the system, c=3 under way.
fn history() -> Model {
    let mut model = Model::default();
    model.begin_write(&[put("a", "1")]);
    model.acknowledge(Durability::Disk);
    model.begin_write(&[put("b", "2")]);
    model.acknowledge(Durability::Os);
    model.begin_write(&[put("c", "3"), put("d", "3")]);
    model
}

#[test]
fn a_crash_leaves_a_prefix_that_has_what_was_acknowledged() {
    let all = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3")];
    for (survival, least) in [(Survival::Power, 1), (Survival::Process, 2)] {
        for kept in 0..=4 {
            let result = history().recover(&state(&all[..kept]), survival);
            assert_eq!(result.is_ok(), kept >= least && kept != 3, "{survival:?} {kept}");
        }
    }
    let hole = state(&[("b", "2")]);
    assert!(history().recover(&hole, Survival::Power).is_err());
    assert_eq!(history().state(), state(&all[..2]), "a write is not visible before it is done");
}

#[test]
fn what_was_recovered_once_never_falls_back() {
    let mut model = history();
    let more = state(&[("a", "1"), ("b", "2")]);
    model.recover(&more, Survival::Power).unwrap();
    assert_eq!(model.state(), more);
    let message = model.recover(&state(&[("a", "1")]), Survival::Power).unwrap_err();
    assert!(message.contains("'b': missing"), "{message}");
}

#[test]
fn a_failed_write_is_invisible_and_later_there_or_not() {
    let mut model = Model::default();
    model.begin_write(&[put("a", "1")]);
    model.fail();
    model.begin_write(&[put("b", "2")]);
    model.acknowledge(Durability::Disk);
    assert_eq!(model.state(), state(&[("b", "2")]));
    for (pairs, allowed) in [
        (&[("b", "2")][..], true),
        (&[("a", "1"), ("b", "2")], true),
        (&[("a", "1")], false),
        (&[], false),
    ] {
        let result = model.clone().recover(&state(pairs), Survival::Power);
        assert_eq!(result.is_ok(), allowed, "{pairs:?}");
    }
}

#[test]
fn families_come_and_go_in_a_sequence_of_their_own() {
    let mut model = Model::default();
    model.begin_create("f");
    model.acknowledge(Durability::Disk);
    model.begin_write(&[Change { family: "f".to_owned(), ..put("a", "1") }]);
    model.acknowledge(Durability::Os);
    model.begin_drop("f");
    let gone = state(&[]);
    let mut empty = gone.clone();
    empty.insert("f".to_owned(), Arc::default());
    for (survival, state, allowed) in [
        (Survival::Power, &gone, true),
        (Survival::Power, &empty, true),
        (Survival::Process, &empty, false),
    ] {
        assert_eq!(model.clone().recover(state, survival).is_ok(), allowed, "{state:?}");
    }
    model.acknowledge(Durability::Disk);
    assert!(model.clone().recover(&empty, Survival::Power).is_err());
    model.begin_create("f");
    model.acknowledge(Durability::Disk);
    assert_eq!(model.family("f").unwrap().len(), 0, "another family of that name");
    model.recover(&empty, Survival::Process).unwrap();
}
