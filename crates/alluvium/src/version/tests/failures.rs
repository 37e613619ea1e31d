//! Every fault at every operation, every crash at every operation: the store is in a state that was
//! reached, at least the last acknowledged, and goes on from there.

use super::*;
use crate::env::{CrashPolicy, Fault, FaultEnv, FaultRule, FileKind, Operation, When};

const POLICIES: [CrashPolicy; 6] = [
    CrashPolicy::DropUnsynced,
    CrashPolicy::KeepAll,
    CrashPolicy::ObjectPrefix,
    CrashPolicy::ShuffledNames,
    CrashPolicy::TornSectors,
    CrashPolicy::LengthFirst,
];

/// How many steps a script has.
const STEPS: usize = 8;

/// Writes a table's file, synced; its name is left to the edit.
fn write_table(env: &dyn Env, set: &VersionSet, keys: (&str, &str)) -> Result<Arc<TableMeta>> {
    let number = set.new_file_number();
    let name = FileId::Table(number);
    let written = env.create(name).and_then(|file| {
        file.append(b"the content of a table")?;
        file.sync()
    });
    written.map_err(|error| Error::io("write", name.name(), error))?;
    Ok(table(number.0, keys.0, keys.1))
}

/// Step `index` of the script, which takes a set from state `index` to the next.
fn step(env: &dyn Env, set: &mut VersionSet, index: usize) -> Result<()> {
    let other = |set: &VersionSet| set.family_named("other").map(|family| family.id).unwrap();
    let find = |set: &VersionSet, level: usize| {
        let version = &set.families()[&DEFAULT].version;
        Arc::clone(version.level(level).tables().last().unwrap())
    };
    let mut edit = VersionEdit::default();
    match index {
        0 => edit.add(DEFAULT, 0, write_table(env, set, ("a", "m"))?),
        1 => return set.create_family("other", FileNumber(0)).map(drop),
        2 => edit.add(DEFAULT, 0, write_table(env, set, ("c", "z"))?),
        3 => edit.add(other(set), 0, write_table(env, set, ("x", "y"))?),
        // A compaction of the two tables of level 0.
        4 => {
            for table in set.families()[&DEFAULT].version.level(0).tables() {
                edit.delete(DEFAULT, 0, table.number);
            }
            edit.add(DEFAULT, 1, write_table(env, set, ("a", "k"))?);
            edit.add(DEFAULT, 1, write_table(env, set, ("l", "z"))?);
        }
        // A move.
        5 => {
            let table = find(set, 1);
            edit.delete(DEFAULT, 1, table.number);
            edit.add(DEFAULT, 2, table);
        }
        6 => return set.drop_family(other(set)),
        7 => {
            set.roll()?;
            edit.delete(DEFAULT, 2, find(set, 2).number);
        }
        _ => unreachable!("the script has {STEPS} steps"),
    }
    set.apply(edit)
}

/// The state before each step, and the last.
fn states() -> Vec<String> {
    let env = new_env();
    let mut set = create(&env);
    let mut states = vec![show(&set)];
    for index in 0..STEPS {
        step(&env, &mut set, index).unwrap();
        states.push(show(&set));
    }
    states
}

/// Every table that the recovered state names is there, whole (reg_m03, reg_m04).
fn expect_tables(env: &MemEnv, set: &VersionSet, context: &str) {
    for table in set.families().values().flat_map(|family| family.version.tables()) {
        let bytes = env.file_bytes(FileId::Table(table.number));
        assert_eq!(bytes.as_deref(), Some(&b"the content of a table"[..]), "{context}: {table:?}");
    }
}

/// Removes the files of obsolete tables, as the engine does.
fn sweep(env: &dyn Env, queue: &ObsoleteFiles) {
    for file in queue.take() {
        let _gone_or_not = env.remove(file);
    }
}

/// Runs the script from wherever the store in `env` is, until a step fails; returns the number of
/// the last state that was acknowledged.
fn run(env: &MemEnv, states: &[String]) -> Option<usize> {
    let queue = ObsoleteFiles::new();
    let shared = || Arc::new(env.clone());
    let (mut set, mut at) = match store_exists(env).ok()? {
        StoreState::Present => {
            let mut set = VersionSet::recover(shared(), Arc::clone(&queue)).ok()?;
            let at = states.iter().position(|state| *state == show(&set)).unwrap();
            // What was read may not be on disk before this: nobody has been told of it (w18).
            set.roll().ok()?;
            (set, at)
        }
        StoreState::Absent | StoreState::Half => {
            (VersionSet::create(shared(), Arc::clone(&queue)).ok()?, 0)
        }
    };
    while at < STEPS && step(env, &mut set, at).is_ok() {
        at += 1;
        sweep(env, &queue);
    }
    let _may_crash = set.close();
    Some(at)
}

/// Recovers an image of a crash and checks that its state is one that may be.
fn check_image(image: &MemEnv, states: &[String], acknowledged: Option<usize>, context: &str) {
    if store_exists(image).unwrap() != StoreState::Present {
        assert_eq!(acknowledged, None, "{context}: the store is gone");
        return;
    }
    let set = recover(image).unwrap_or_else(|error| panic!("{context}: {error}"));
    let at = states.iter().position(|state| *state == show(&set));
    let allowed = acknowledged.map_or(0..=0, |at| at..=at + 1);
    assert!(at.is_some_and(|at| allowed.contains(&at)), "{context}: {at:?} of {allowed:?}");
    expect_tables(image, &set, context);
}

/// facebook/rocksdb#10573, #14780, horaedb #394 (m01, m03, m04): crash before each operation, and
/// look at what may be left; then go on, and crash again.
#[test]
fn reg_m01_a_crash_anywhere_leaves_the_last_acknowledged_state_or_the_next() {
    let states = states();
    let whole = new_env();
    assert_eq!(run(&whole, &states), Some(STEPS));
    for crash_at in 0..=whole.operations() {
        let env = new_env();
        env.crash_at(crash_at);
        let acknowledged = run(&env, &states);
        for policy in POLICIES {
            for seed in 0..4 {
                let context = format!("crash at {crash_at}, {policy:?}, seed {seed}");
                let image = env.crash_image(policy, seed);
                check_image(&image, &states, acknowledged, &context);
                crash_again(&image, &states, acknowledged, &context, crash_at + seed);
                assert_eq!(run(&image, &states), Some(STEPS), "{context}");
                check_image(&image, &states, Some(STEPS), &context);
            }
        }
    }
}

/// Goes on from an image, crashes some operations later, and checks what that leaves.
fn crash_again(
    first: &MemEnv,
    states: &[String],
    acknowledged: Option<usize>,
    context: &str,
    salt: u64,
) {
    let again = first.crash_image(CrashPolicy::KeepAll, 0);
    again.crash_at(again.operations() + salt % 23);
    let then = run(&again, states).max(acknowledged);
    for policy in POLICIES {
        let image = again.crash_image(policy, salt);
        check_image(&image, states, then, &format!("{context}, then {policy:?}"));
    }
}

/// facebook/rocksdb#6316, #4990, #12865 (m06, m07, m08): each operation fails once, or for a while;
/// the set goes on when the disk does, and a crash before that leaves the old state or the new.
#[test]
fn reg_m08_a_fault_anywhere_leaves_a_store_that_goes_on() {
    let states = states();
    let faults = [Fault::Io, Fault::DiskFull, Fault::ShortAppend { bytes: 30 }];
    let mut injected = 0;
    for fault in faults {
        for first in 1..=80 {
            for count in [1, 2, 5] {
                let memory = new_env();
                let set = create(&memory);
                let env = FaultEnv::new(Arc::new(memory.clone()));
                drop(set);
                let context = format!("{fault:?}, operation {first}, {count} times");
                env.add(FaultRule::new(Operation::MUTATING, When::Window { first, count }, fault));
                forget_pages_on_failed_sync(&env, &memory);
                run_with_faults(&memory, &env, &states, &context);
                injected += env.injected();
            }
        }
    }
    assert!(injected > 1000, "{injected}");
}

fn forget_pages_on_failed_sync(env: &FaultEnv, memory: &MemEnv) {
    let memory = memory.clone();
    env.observe(move |injection| {
        if let (Operation::Sync, Some(file)) = (injection.operation, injection.file) {
            memory.lose_unsynced(file);
        }
    });
}

/// Runs the script, each step until it works.
fn run_with_faults(memory: &MemEnv, env: &FaultEnv, states: &[String], context: &str) {
    let queue = ObsoleteFiles::new();
    let shared = Arc::new(env.clone());
    let mut set = VersionSet::recover(shared, Arc::clone(&queue)).unwrap();
    for index in 0..STEPS {
        let mut tries = 0;
        while let Err(error) = step(env, &mut set, index) {
            assert_eq!(show(&set), states[index], "{context}: a failed step changed the state");
            let failed = matches!(error, Error::Io { .. } | Error::NoSpace { .. });
            assert!(failed, "{context}: {error}");
            sweep(env, &queue);
            for policy in [CrashPolicy::DropUnsynced, CrashPolicy::KeepAll] {
                let image = memory.crash_image(policy, 0);
                check_image(&image, states, Some(index), &format!("{context}, step {index}"));
            }
            tries += 1;
            assert!(tries < 10, "{context}: step {index} never works again: {error}");
        }
        assert_eq!(show(&set), states[index + 1], "{context}");
        sweep(env, &queue);
        let image = memory.crash_image(CrashPolicy::DropUnsynced, 0);
        let set_on_disk = recover(&image).unwrap();
        assert_eq!(show(&set_on_disk), states[index + 1], "{context}: not durable");
        expect_tables(&image, &set_on_disk, context);
    }
    assert!(set.verify().is_ok() || env.injected() == 0, "{context}");
    while set.close().is_err() {}
    // All that failed on the way has been cleared up but what the last fault held back.
    drop(set);
    sweep(env, &queue);
    let manifests = memory.files().iter().filter(|id| matches!(id, FileId::Manifest(_))).count();
    assert!(manifests <= 2, "{context}: {:?}", memory.files());
}

/// facebook/rocksdb#6316: the disk is full in the middle of an edit, and later edits are put behind
/// the half one.
#[test]
fn reg_m06_a_disk_full_at_any_byte_of_an_edit_loses_no_later_edit() {
    for room in 0..600 {
        let env = new_env();
        let mut set = create(&env);
        add_next(&mut set, 0, "a", "b").unwrap();
        env.set_capacity(Some(env.used_bytes() + room));
        let first = add_next(&mut set, 0, "c", "d");
        assert!(matches!(first, Ok(()) | Err(Error::NoSpace { .. })), "{first:?}");
        let second = add_next(&mut set, 0, "e", "f");
        assert!(second.is_err() || first.is_ok(), "room {room}: it needs more than the first");
        assert_eq!(show(&recover(&env).unwrap()), show(&set), "room {room}");

        env.set_capacity(None);
        add_next(&mut set, 0, "g", "h").unwrap();
        let recovered = recover(&env).unwrap();
        assert_eq!(show(&recovered), show(&set), "room {room}");
        assert_eq!(recovered.report().unwrap().torn_tail, None);
        assert_eq!(env.files(), [manifest_of(&set), FileId::Current], "room {room}");
    }
}

/// facebook/rocksdb#4990, #5379: the sync of an edit fails, the edit survives all the same, and its
/// tables were deleted.
#[test]
fn reg_m07_the_tables_of_a_failed_edit_stay_until_no_manifest_can_name_them() {
    let memory = new_env();
    let env = FaultEnv::new(Arc::new(memory.clone()));
    let queue = ObsoleteFiles::new();
    let mut set = VersionSet::create(Arc::new(env.clone()), Arc::clone(&queue)).unwrap();
    step(&env, &mut set, 0).unwrap();
    let (old, next) = (set.families()[&DEFAULT].version.level(0).tables()[0].number, "b");

    env.add(FaultRule::new(&[Operation::Sync], When::Nth(1), Fault::Io).on(FileKind::Manifest));
    let new = write_table(&env, &set, ("a", next)).unwrap();
    let mut edit = adding(&[(1, &new)]);
    edit.delete(DEFAULT, 0, old);
    assert!(set.apply(edit).is_err());
    assert!(set.verify().is_err(), "nobody knows what is on disk");
    let number = new.number;
    drop(new);
    assert_eq!(queue.take(), [], "the edit may be on disk, and after a crash both are needed");
    let survived = recover(&memory.crash_image(CrashPolicy::KeepAll, 0)).unwrap();
    assert!(show(&survived).contains("level 1: a..b"), "{}", show(&survived));

    // The fault is over: the next manifest settles it.
    set.roll().unwrap();
    assert_eq!(queue.take(), [FileId::Table(number)]);
    assert!(show(&recover(&memory).unwrap()).contains("level 0: a..m"));
    set.verify().unwrap();
}

#[test]
fn the_tables_of_a_failed_edit_are_refused_from_then_on() {
    let memory = new_env();
    let env = FaultEnv::new(Arc::new(memory));
    let queue = ObsoleteFiles::new();
    let mut set = VersionSet::create(Arc::new(env.clone()), Arc::clone(&queue)).unwrap();
    env.add(FaultRule::new(&[Operation::SyncDirectory], When::Nth(1), Fault::Io));
    let table = write_table(&env, &set, ("a", "b")).unwrap();
    assert!(matches!(set.apply(adding(&[(0, &table)])), Err(Error::Io { .. })));
    let again = set.apply(adding(&[(0, &table)]));
    assert!(matches!(again, Err(Error::InvalidArgument { .. })), "{again:?}");
    assert_eq!(show(&set), "0 \"default\"\n");
}

/// facebook/rocksdb#12865: the new manifest fails, and the good old one is given up or deleted for
/// it.
#[test]
fn reg_m08_a_roll_that_fails_before_the_switch_leaves_the_old_manifest_in_use() {
    for operation in [Operation::Create, Operation::Append, Operation::Sync] {
        for kind in [FileKind::Manifest, FileKind::Temporary] {
            let memory = new_env();
            let env = FaultEnv::new(Arc::new(memory.clone()));
            let shared = Arc::new(env.clone());
            let mut set = VersionSet::create(shared, ObsoleteFiles::new()).unwrap();
            let old = manifest_of(&set);
            env.add(FaultRule::new(&[operation], When::Nth(1), Fault::Io).on(kind));
            assert!(set.roll().is_err());
            assert_eq!(memory.files(), [old, FileId::Current], "what failed is cleared away");
            add_next(&mut set, 0, "a", "b").unwrap();
            assert_eq!(manifest_of(&set), old);
            assert_eq!(show(&recover(&memory).unwrap()), show(&set));
        }
    }
}

#[test]
fn a_switch_that_nobody_can_be_sure_of_keeps_both_manifests_until_the_next() {
    for (operation, nth) in [(Operation::Rename, 1), (Operation::SyncDirectory, 2)] {
        let memory = new_env();
        let env = FaultEnv::new(Arc::new(memory.clone()));
        let mut set = VersionSet::create(Arc::new(env.clone()), ObsoleteFiles::new()).unwrap();
        let old = manifest_of(&set);
        env.add(FaultRule::new(&[operation], When::Nth(nth), Fault::Io));
        assert!(set.roll().is_err());
        let files = memory.files();
        let is_manifest = |id: &&FileId| matches!(id, FileId::Manifest(_));
        assert_eq!(files.iter().filter(is_manifest).count(), 2, "{operation:?}: {files:?}");
        for policy in [CrashPolicy::DropUnsynced, CrashPolicy::KeepAll] {
            let image = memory.crash_image(policy, 0);
            assert_eq!(show(&recover(&image).unwrap()), show(&set), "{operation:?} {policy:?}");
        }
        add_next(&mut set, 0, "a", "b").unwrap();
        assert_ne!(manifest_of(&set), old, "the old one may not be in force");
        assert_eq!(memory.files(), [manifest_of(&set), FileId::Current]);
        assert_eq!(show(&recover(&memory).unwrap()), show(&set));
    }
}

#[test]
fn an_edit_does_not_fail_for_a_roll_that_only_thrift_asked_for() {
    let memory = new_env();
    let env = FaultEnv::new(Arc::new(memory.clone()));
    let mut set = VersionSet::create(Arc::new(env.clone()), ObsoleteFiles::new()).unwrap();
    let old = manifest_of(&set);
    env.add(FaultRule::new(&[Operation::Create], When::Every(1), Fault::DiskFull));
    let key = |count: usize| format!("{count:05}{}", "x".repeat(30_000));
    for count in 0..60 {
        add_next(&mut set, 1, &key(count), &key(count)).unwrap();
    }
    assert_eq!(manifest_of(&set), old);
    assert_eq!(env.injected(), 2, "it is tried at 1 MiB and at 2 MiB, not at each edit");
    assert_eq!(show(&recover(&memory).unwrap()), show(&set));
    env.clear();
    for count in 60..130 {
        add_next(&mut set, 1, &key(count), &key(count)).unwrap();
    }
    assert_ne!(manifest_of(&set), old);
    assert_eq!(memory.files(), [manifest_of(&set), FileId::Current]);
}

/// cockroachdb/pebble#4526: a large edit is torn at every sector.
#[test]
fn reg_m10_a_large_edit_torn_anywhere_is_not_damage() {
    let env = new_env();
    let mut set = create(&env);
    let before = show(&set);
    let mut edit = VersionEdit::default();
    for count in 0..300 {
        let key = format!("{count:05}");
        edit.add(DEFAULT, 1, table(set.new_file_number().0, &key, &key));
    }
    env.crash_at(env.operations() + 2); // the directory, the append, not the sync
    assert!(set.apply(edit).is_err());
    let mut torn = 0;
    for policy in POLICIES {
        for seed in 0..60 {
            let recovered = recover(&env.crash_image(policy, seed)).unwrap();
            let is_old = show(&recovered) == before;
            torn += u32::from(is_old && recovered.report().unwrap().torn_tail.is_some());
            assert!(is_old || recovered.families()[&DEFAULT].version.table_count() == 300);
        }
    }
    assert!(torn > 50, "{torn}");
}
