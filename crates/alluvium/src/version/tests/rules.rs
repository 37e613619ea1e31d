//! Which edits are refused: as a mistake when the engine makes them, as damage when they are read.

use super::*;
use crate::wal::frame::encode_frame;
use crate::wal::{FrameKind, LogHeader, LogKind};

const OTHER: ColumnFamilyId = ColumnFamilyId(1);
const GONE: ColumnFamilyId = ColumnFamilyId(2);

/// The tables of [`busy_store`].
struct Tables {
    newest: Arc<TableMeta>,
    left: Arc<TableMeta>,
    right: Arc<TableMeta>,
}

/// A store with two families, a dropped one, and tables 20 (level 0), 21 and 22 (level 1).
fn busy_store() -> (MemEnv, VersionSet, Tables) {
    let env = new_env();
    let mut set = create(&env);
    assert_eq!(set.create_family("other", FileNumber(0)).unwrap(), OTHER);
    assert_eq!(set.create_family("gone", FileNumber(0)).unwrap(), GONE);
    set.drop_family(GONE).unwrap();
    set.reserve_numbers_from(FileNumber(30));
    let newest = table(20, "a", "z");
    let (left, right) = (table(21, "b", "f"), table(22, "m", "p"));
    set.apply(adding(&[(0, &newest), (1, &left), (1, &right)])).unwrap();
    set.apply(VersionEdit { logs: vec![(DEFAULT, FileNumber(15))], ..VersionEdit::default() })
        .unwrap();
    (env, set, Tables { newest, left, right })
}

fn marking(marks: &[(u64, u64)]) -> VersionEdit {
    let mark = |&(seq, ms): &(u64, u64)| TimeMark { seq: SeqNo::new(seq), ms };
    VersionEdit { time_marks: marks.iter().map(mark).collect(), ..VersionEdit::default() }
}

fn deleting(family: ColumnFamilyId, level: usize, number: u64) -> VersionEdit {
    let mut edit = VersionEdit::default();
    edit.delete(family, level, FileNumber(number));
    edit
}

fn creating(id: u32, name: &str) -> VersionEdit {
    let next_family = Some(ColumnFamilyId(id.max(2) + 1));
    let created = vec![(ColumnFamilyId(id), name.to_owned())];
    VersionEdit { created, next_family, ..VersionEdit::default() }
}

fn dropping(ids: &[ColumnFamilyId]) -> VersionEdit {
    VersionEdit { dropped: ids.to_vec(), ..VersionEdit::default() }
}

fn logging(family: ColumnFamilyId, log: u64) -> VersionEdit {
    VersionEdit { logs: vec![(family, FileNumber(log))], ..VersionEdit::default() }
}

fn adding_to(family: ColumnFamilyId, level: usize, table: &Arc<TableMeta>) -> VersionEdit {
    let mut edit = VersionEdit::default();
    edit.add(family, level, Arc::clone(table));
    edit
}

/// Both edits as one.
fn and(mut first: VersionEdit, second: VersionEdit) -> VersionEdit {
    first.created.extend(second.created);
    first.dropped.extend(second.dropped);
    first.logs.extend(second.logs);
    first.deleted.extend(second.deleted);
    first.added.extend(second.added);
    first.next_family = first.next_family.max(second.next_family);
    first
}

/// Edits that do not fit [`busy_store`], each with a word of the reason.
fn misfits(tables: &Tables) -> Vec<(&'static str, VersionEdit)> {
    let fresh = || table(25, "q", "s");
    let overlap = |a: &str, b: &str| adding_to(DEFAULT, 1, &table(25, a, b));
    let swapped = table(21, "b", "e");
    vec![
        // Tables.
        ("there already", adding_to(DEFAULT, 0, &tables.newest)),
        ("there already", adding_to(DEFAULT, 2, &tables.left)),
        ("there already", adding_to(OTHER, 0, &tables.left)),
        ("added twice", and(adding_to(DEFAULT, 0, &fresh()), adding_to(DEFAULT, 1, &fresh()))),
        ("not there", deleting(DEFAULT, 1, 24)),
        ("not there", deleting(DEFAULT, 0, 21)),
        ("not there", deleting(OTHER, 1, 21)),
        ("deleted twice", and(deleting(DEFAULT, 1, 21), deleting(DEFAULT, 1, 21))),
        ("overlap", overlap("f", "g")),
        ("overlap", overlap("c", "d")),
        ("overlap", overlap("a", "z")),
        ("changes as it moves", and(deleting(DEFAULT, 1, 21), adding_to(DEFAULT, 2, &swapped))),
        ("changes as it moves", and(deleting(DEFAULT, 1, 21), adding_to(OTHER, 1, &tables.left))),
        ("not given out", adding_to(DEFAULT, 0, &table(31, "a", "b"))),
        ("family that is not there", adding_to(GONE, 0, &fresh())),
        ("family that is not there", adding_to(ColumnFamilyId(9), 0, &fresh())),
        ("family that is not there", and(dropping(&[OTHER]), adding_to(OTHER, 0, &fresh()))),
        // Families.
        ("a second column family", creating(3, "other")),
        ("used id", creating(1, "new")),
        ("used id", creating(2, "new")),
        ("used id", and(creating(3, "new"), creating(3, "newer"))),
        ("a second column family", and(creating(3, "new"), creating(4, "new"))),
        ("name of 0 bytes", creating(3, "")),
        ("none such", dropping(&[GONE])),
        ("none such", dropping(&[OTHER, OTHER])),
        ("default column family is dropped", dropping(&[DEFAULT])),
        // Logs.
        ("none such", logging(GONE, 20)),
        ("before its log", logging(DEFAULT, 14)),
        ("not given out", logging(DEFAULT, 40)),
    ]
}

/// Appends an edit to the manifest as a frame that checks.
fn forge(env: &MemEnv, manifest: FileId, edit: &VersionEdit) -> u64 {
    let mut bytes = env.file_bytes(manifest).unwrap();
    let offset = bytes.len() as u64;
    let number = manifest.number().unwrap();
    encode_frame(&mut bytes, number, offset, FrameKind::Edit, &edit.encode());
    env.set_file_bytes(manifest, bytes);
    offset
}

fn expect_damage(result: Result<VersionSet>, file: FileId, at: u64, why: &str) {
    match result {
        Err(Error::Corruption { file: name, offset, detail }) => {
            assert!(name.ends_with(&file.name()), "{name}: {detail}");
            assert!(detail.contains(why), "{why:?}: {detail}");
            assert_eq!(offset, at, "{detail}");
        }
        other => panic!("{why:?}: {other:?}"),
    }
}

#[test]
fn an_edit_that_does_not_fit_is_refused_and_changes_nothing() {
    let (env, mut set, tables) = busy_store();
    let (state, manifest) = (show(&set), manifest_of(&set));
    let bytes = env.file_bytes(manifest).unwrap();
    for (why, edit) in misfits(&tables) {
        match set.apply(edit) {
            Err(Error::InvalidArgument { detail }) => {
                assert!(detail.contains(why), "{why:?}: {detail}");
            }
            other => panic!("{why:?}: {other:?}"),
        }
        assert_eq!(show(&set), state, "{why:?}");
    }
    assert_eq!(env.file_bytes(manifest).unwrap(), bytes);
    assert!(!tables.right.is_obsolete());
    // The set is none the worse.
    set.apply(and(deleting(DEFAULT, 1, 21), adding_to(DEFAULT, 2, &tables.left))).unwrap();
    assert_eq!(show(&recover(&env).unwrap()), show(&set));
}

#[test]
fn time_marks_are_kept_over_edits_and_manifests_and_never_go_back() {
    let (env, mut set, _) = busy_store();
    let marks = |set: &VersionSet| -> Vec<(u64, u64)> {
        set.time_marks().all().iter().map(|mark| (mark.seq.get(), mark.ms)).collect()
    };
    for (seq, ms) in [(3, 500), (5, 400), (5, 900), (7, 1_000), (9, 2_000)] {
        set.apply(marking(&[(seq, ms)])).unwrap();
    }
    let kept = [(5, 500), (7, 1_000), (9, 2_000)];
    assert_eq!(marks(&set), kept, "a clock that goes back makes nothing older");
    set.verify().unwrap();
    assert_eq!(marks(&recover(&env).unwrap()), kept);
    set.roll().unwrap();
    set.verify().unwrap();
    let mut recovered = recover(&env).unwrap();
    assert_eq!(marks(&recovered), kept);
    recovered.apply(marking(&[(8, 3_000)])).unwrap();
    assert_eq!(marks(&recovered), kept, "nothing new");
    let manifest = manifest_of(&recovered);
    let at = forge(&env, manifest, &marking(&[(10, 1_999)]));
    expect_damage(recover(&env), manifest, at, "time mark goes back");
}

#[test]
fn an_edit_that_does_not_fit_is_damage_when_it_is_read() {
    let (env, set, tables) = busy_store();
    let manifest = manifest_of(&set);
    let bytes = env.file_bytes(manifest).unwrap();
    let counters_back = [
        (
            "file number goes back",
            VersionEdit { next_file_number: Some(FileNumber(3)), ..VersionEdit::default() },
        ),
        (
            "sequence number goes back",
            VersionEdit { last_sequence: Some(SeqNo::new(5)), ..VersionEdit::default() },
        ),
        (
            "family id goes back",
            VersionEdit { next_family: Some(ColumnFamilyId(1)), ..VersionEdit::default() },
        ),
        ("time mark goes back", marking(&[(5, 9), (4, 9)])),
        ("time mark goes back", marking(&[(4, 9), (5, 8)])),
        ("ahead of the last number", marking(&[(900, 9)])),
        ("stands alone", VersionEdit { more_follows: true, ..VersionEdit::default() }),
        ("behind the last", adding_to(DEFAULT, 0, &table(29, "a", "b"))),
    ];
    for (why, edit) in misfits(&tables).into_iter().chain(counters_back) {
        env.set_file_bytes(manifest, bytes.clone());
        let needs_sequence = !edit.added.is_empty() && why != "behind the last";
        let last_sequence = needs_sequence.then_some(SeqNo::new(1000)).or(edit.last_sequence);
        let at = forge(&env, manifest, &VersionEdit { last_sequence, ..edit });
        expect_damage(recover(&env), manifest, at, why);
    }
}

#[test]
fn a_field_that_is_none_is_damage_at_its_own_offset() {
    let (env, set, _) = busy_store();
    let manifest = manifest_of(&set);
    let mut bytes = env.file_bytes(manifest).unwrap();
    let at = bytes.len() as u64;
    let good = logging(DEFAULT, 16).encode();
    let payload = [&good[..], &[77]].concat();
    encode_frame(&mut bytes, set.manifest_number(), at, FrameKind::Edit, &payload);
    env.set_file_bytes(manifest, bytes);
    expect_damage(recover(&env), manifest, at + 20 + good.len() as u64, "no field of tag 77");
}

/// A manifest of these frames, and `CURRENT` naming it.
fn forge_manifest(edits: &[VersionEdit]) -> (MemEnv, FileId) {
    let env = new_env();
    let number = create(&env).manifest_number();
    let header =
        LogHeader { kind: LogKind::Manifest, number, previous: FileNumber(0), previous_bytes: 0 };
    env.set_file_bytes(FileId::Manifest(number), header.encode().to_vec());
    for edit in edits {
        let _offset = forge(&env, FileId::Manifest(number), edit);
    }
    (env, FileId::Manifest(number))
}

#[test]
fn a_state_must_be_complete_and_have_the_default_family() {
    let counters = VersionEdit {
        next_file_number: Some(FileNumber(50)),
        last_sequence: Some(SeqNo::new(1000)),
        next_family: Some(ColumnFamilyId(2)),
        ..VersionEdit::default()
    };
    let more = |edit: VersionEdit| VersionEdit { more_follows: true, ..edit };
    let default =
        VersionEdit { created: vec![(DEFAULT, "default".to_owned())], ..VersionEdit::default() };
    let tables = adding(&[(1, &table(20, "a", "c")), (1, &table(21, "b", "d"))]);

    let (env, manifest) = forge_manifest(&[]);
    expect_damage(recover(&env), manifest, 48, "within the state");
    let (env, manifest) = forge_manifest(std::slice::from_ref(&counters));
    expect_damage(recover(&env), manifest, 48, "no default column family");
    let (env, manifest) = forge_manifest(&[more(counters.clone())]);
    let end = env.file_bytes(manifest).unwrap().len() as u64;
    expect_damage(recover(&env), manifest, end, "within the state");
    let wrong_name =
        VersionEdit { created: vec![(DEFAULT, "other".to_owned())], ..counters.clone() };
    let (env, manifest) = forge_manifest(&[wrong_name]);
    expect_damage(recover(&env), manifest, 48, "with id 0");
    let wrong_id = VersionEdit { created: vec![(OTHER, "default".to_owned())], ..counters.clone() };
    let (env, manifest) = forge_manifest(&[wrong_id]);
    expect_damage(recover(&env), manifest, 48, "with id 1");

    let (env, _) = forge_manifest(&[more(counters.clone()), default.clone()]);
    assert_eq!(recover(&env).unwrap().report().unwrap().edits, 1);
    // Tables that overlap: the offset is that of the edit which brought the second.
    let (env, manifest) = forge_manifest(&[more(counters), default]);
    let at = forge(&env, manifest, &tables);
    expect_damage(recover(&env), manifest, at, "overlap");
}

/// RocksDB HISTORY line 108: an empty name is taken and never written.
#[test]
fn reg_m19_names_that_cannot_be_are_refused_before_anything_is_written() {
    let (env, mut set, _) = busy_store();
    let bytes = env.file_bytes(manifest_of(&set)).unwrap();
    for name in ["", &"x".repeat(257)] {
        let error = set.create_family(name, FileNumber(0)).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
    let error = set.create_family("other", FileNumber(0)).unwrap_err();
    assert!(matches!(error, Error::ColumnFamilyExists { .. }), "{error}");
    assert_eq!(env.file_bytes(manifest_of(&set)).unwrap(), bytes);
    assert_eq!(set.create_family(&"x".repeat(256), FileNumber(0)).unwrap(), ColumnFamilyId(3));
    assert_eq!(show(&recover(&env).unwrap()), show(&set));
}

#[test]
fn a_name_may_come_back_and_an_id_does_not() {
    let (env, mut set, _) = busy_store();
    let again = set.create_family("gone", FileNumber(17)).unwrap();
    assert_eq!(again, ColumnFamilyId(3));
    let replaced = VersionEdit {
        dropped: vec![again],
        created: vec![(ColumnFamilyId(4), "gone".to_owned())],
        ..VersionEdit::default()
    };
    set.apply(replaced).unwrap();
    let mut recovered = recover(&env).unwrap();
    assert_eq!(show(&recovered), show(&set));
    assert_eq!(recovered.create_family("new", FileNumber(0)).unwrap(), ColumnFamilyId(5));
}
