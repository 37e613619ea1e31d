//! The environments answer alike: one script runs on the real one and on the one in memory (bare
//! and behind a fault layer without rules), and every answer is compared. If the simulation
//! strayed from the real thing, the crash tests would prove nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The environments under comparison; the directory lives as long as they do.
struct Trio {
    _directory: tempfile::TempDir,
    envs: [Arc<dyn Env>; 3],
}

impl Trio {
    fn new() -> Trio {
        let directory = tempfile::tempdir().unwrap();
        let posix = Arc::new(PosixEnv::new(directory.path().join("parent/store")));
        let fault = FaultEnv::new(Arc::new(MemEnv::new()));
        Trio { _directory: directory, envs: [posix, Arc::new(MemEnv::new()), Arc::new(fault)] }
    }

    /// Runs `script` on each and compares the logs of answers; returns the common one.
    fn compare(&self, script: impl Fn(&Arc<dyn Env>) -> Vec<String>) -> Vec<String> {
        let [posix, memory, fault] = [0, 1, 2].map(|i| script(&self.envs[i]));
        assert_eq!(posix, memory);
        assert_eq!(posix, fault);
        posix
    }
}

/// An answer without what may differ: of an error, its kind.
fn answer<T: Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {:?}", error.kind()),
    }
}

fn unit<T>(result: io::Result<T>) -> String {
    answer(result.map(drop))
}

fn listing(env: &Arc<dyn Env>) -> String {
    answer(env.list().map(|mut files| {
        files.sort();
        files
    }))
}

fn wal(number: u64) -> FileId {
    FileId::Wal(FileNumber(number))
}

#[test]
fn a_directory_that_is_missing_answers_alike() {
    let answers = Trio::new().compare(|env| {
        vec![
            listing(env),
            answer(env.list_foreign()),
            unit(env.lock()),
            unit(env.create(wal(1))),
            unit(env.open(wal(1))),
            unit(env.rename(wal(1), wal(2))),
            unit(env.remove(wal(1))),
            unit(env.sync_directory()),
            unit(env.create_directory()),
            unit(env.create_directory()),
            listing(env),
            unit(env.sync_directory()),
        ]
    });
    assert_eq!(answers[..8], vec!["error: NotFound"; 8]);
    assert_eq!(answers[8..], ["()", "()", "[]", "()"]);
}

#[test]
fn the_lock_is_exclusive_and_given_back() {
    let answers = Trio::new().compare(|env| {
        env.create_directory().unwrap();
        let first = env.lock();
        let second = unit(env.lock());
        drop(first.unwrap());
        let third = unit(env.lock());
        vec![second, third, listing(env)]
    });
    assert_eq!(answers, ["error: WouldBlock", "()", "[Lock]"]);
}

#[test]
fn open_handles_outlive_the_name() {
    let answers = Trio::new().compare(|env| {
        env.create_directory().unwrap();
        let writer = env.create(wal(1)).unwrap();
        writer.append(b"first").unwrap();
        let reader = env.open(wal(1)).unwrap();
        env.rename(wal(1), wal(2)).unwrap();
        writer.append(b" second").unwrap();
        env.remove(wal(2)).unwrap();
        writer.append(b" third").unwrap();
        writer.sync().unwrap();
        let mut buffer = [0; 64];
        let count = reader.read_at(2, &mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        vec![text, answer(reader.length()), unit(env.open(wal(1))), listing(env)]
    });
    assert_eq!(answers, ["rst second third", "18", "error: NotFound", "[]"]);
}

#[test]
fn a_rename_replaces() {
    let answers = Trio::new().compare(|env| {
        env.create_directory().unwrap();
        env.create(wal(1)).unwrap().append(b"new").unwrap();
        env.create(FileId::Current).unwrap().append(b"older").unwrap();
        let old = env.open(FileId::Current).unwrap();
        env.rename(wal(1), FileId::Current).unwrap();
        let new = env.open(FileId::Current).unwrap();
        vec![
            answer(old.length()),
            answer(new.length()),
            unit(env.rename(FileId::Current, FileId::Current)),
            unit(env.create(FileId::Current)),
            listing(env),
        ]
    });
    assert_eq!(answers, ["5", "3", "()", "error: AlreadyExists", "[Current]"]);
}

#[test]
fn names_of_others_are_told_apart() {
    let trio = Trio::new();
    let directory = trio._directory.path().join("parent/store");
    trio.envs[0].create_directory().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the stranger is no work of the environment")]
    std::fs::write(directory.join("notes.txt"), b"").unwrap();
    let memory = MemEnv::new();
    memory.create_directory().unwrap();
    memory.add_foreign("notes.txt");
    for env in [Arc::clone(&trio.envs[0]), Arc::new(memory)] {
        env.create(wal(7)).unwrap();
        assert_eq!(env.list().unwrap(), [wal(7)]);
        assert_eq!(env.list_foreign().unwrap(), ["notes.txt"]);
        assert!(env.display(wal(7)).ends_with("000007.wal"));
    }
}

#[test]
fn clocks_advance_and_threads_run() {
    for env in Trio::new().envs {
        let before = env.now();
        env.sleep(Duration::from_millis(2));
        assert!(env.now() >= before + Duration::from_millis(2));
        let (sender, receiver) = std::sync::mpsc::channel();
        let body = move || sender.send(std::thread::current().name().map(str::to_owned)).unwrap();
        env.spawn("worker", Box::new(body)).unwrap().join();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("worker"));
    }
}

/// One step of a random script. Handles are kept in slots: a step may use one opened long before.
#[derive(Debug, Clone)]
enum Step {
    Create { file: FileId, slot: usize },
    Open { file: FileId, slot: usize },
    Append { slot: usize, length: usize, byte: u8 },
    Sync { slot: usize },
    Read { slot: usize, offset: u64, length: usize },
    Length { slot: usize },
    Rename { from: FileId, to: FileId },
    Remove { file: FileId },
    SyncDirectory,
    List,
}

const SLOTS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let file = prop_oneof![
        Just(FileId::Current),
        (1_u64..3).prop_map(|n| FileId::Temporary(FileNumber(n))),
        (1_u64..3).prop_map(wal),
    ];
    let slot = 0..SLOTS;
    let length = prop_oneof![Just(0_usize), 1_usize..20, 500_usize..5000];
    prop_oneof![
        4 => (file.clone(), slot.clone()).prop_map(|(file, slot)| Step::Create { file, slot }),
        3 => (file.clone(), slot.clone()).prop_map(|(file, slot)| Step::Open { file, slot }),
        5 => (slot.clone(), length.clone(), any::<u8>())
            .prop_map(|(slot, length, byte)| Step::Append { slot, length, byte }),
        1 => slot.clone().prop_map(|slot| Step::Sync { slot }),
        4 => (slot.clone(), 0_u64..6000, length)
            .prop_map(|(slot, offset, length)| Step::Read { slot, offset, length }),
        1 => slot.prop_map(|slot| Step::Length { slot }),
        3 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        2 => file.prop_map(|file| Step::Remove { file }),
        1 => Just(Step::SyncDirectory),
        1 => Just(Step::List),
    ]
}

fn run(env: &Arc<dyn Env>, steps: &[Step]) -> Vec<String> {
    let mut writers: [Option<Arc<dyn WritableFile>>; SLOTS] = Default::default();
    let mut readers: [Option<Arc<dyn ReadableFile>>; SLOTS] = Default::default();
    let mut answers = Vec::new();
    for step in steps {
        let text = match step {
            Step::Create { file, slot } => {
                unit(env.create(*file).map(|writer| writers[*slot] = Some(writer)))
            }
            Step::Open { file, slot } => {
                unit(env.open(*file).map(|reader| readers[*slot] = Some(reader)))
            }
            Step::Append { slot, length, byte } => writers[*slot]
                .as_ref()
                .map_or(String::new(), |writer| answer(writer.append(&vec![*byte; *length]))),
            Step::Sync { slot } => {
                writers[*slot].as_ref().map_or(String::new(), |writer| answer(writer.sync()))
            }
            Step::Read { slot, offset, length } => {
                readers[*slot].as_ref().map_or(String::new(), |reader| {
                    let mut buffer = vec![0xee; *length];
                    let count = reader.read_at(*offset, &mut buffer);
                    format!("{} {buffer:?}", answer(count))
                })
            }
            Step::Length { slot } => {
                readers[*slot].as_ref().map_or(String::new(), |reader| answer(reader.length()))
            }
            Step::Rename { from, to } => unit(env.rename(*from, *to)),
            Step::Remove { file } => unit(env.remove(*file)),
            Step::SyncDirectory => unit(env.sync_directory()),
            Step::List => listing(env),
        };
        answers.push(text);
    }
    answers.push(listing(env));
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_scripts_answer_alike(steps in prop::collection::vec(step(), 1..80)) {
        let trio = Trio::new();
        trio.compare(|env| {
            env.create_directory().unwrap();
            run(env, &steps)
        });
    }
}
