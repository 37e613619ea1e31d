//! Every workload on every engine of the build, small: the workloads check their own answers.

use tempfile::TempDir;

use super::*;
use crate::child::{self, Job};
use crate::engines;
use crate::record::Record;
use crate::settings::{CodecName, DurabilityName};
use crate::templates::Templates;

const KEYS: u64 = 3000;

/// A directory on a disk, where `/tmp` may be memory.
fn directory() -> TempDir {
    let executable = std::env::current_exe().unwrap();
    tempfile::tempdir_in(executable.parent().unwrap()).unwrap()
}

/// Runs a workload as the parent does, but in this process.
fn run(engine: &str, workload: &str, settings: Settings) -> Record {
    let dir = directory();
    run_beside(&mut Templates::new(dir.path()), dir.path(), engine, workload, settings)
}

fn run_beside(
    templates: &mut Templates,
    root: &Path,
    engine: &str,
    workload: &str,
    settings: Settings,
) -> Record {
    let dir = tempfile::tempdir_in(root).unwrap();
    if let Some(load) = find(workload).unwrap().load(&settings) {
        templates.copy(engine, &load, dir.path(), child::load).unwrap();
    }
    let job = job(engine, workload, settings, dir.path());
    child::run(&job).unwrap_or_else(|error| panic!("{engine} {workload}: {error}"))
}

fn job(engine: &str, workload: &str, settings: Settings, dir: &Path) -> Job {
    Job {
        run: "test".to_owned(),
        engine: engine.to_owned(),
        workload: workload.to_owned(),
        round: 1,
        dir: dir.to_owned(),
        settings,
    }
}

#[test]
fn every_workload_runs_on_every_engine_and_checks_its_answers() {
    for &engine in engines::NAMES {
        for workload in ALL {
            if refused(engine, workload.name, &Settings::small(KEYS)) {
                continue;
            }
            let record = run(engine, workload.name, Settings::small(KEYS));
            assert!(record.operations > 0 && record.rate > 0.0, "{record:?}");
            assert!(record.p50_us <= record.max_us && record.space_amplification > 0.0);
            let writes = ["fill", "over", "readwhile", "del", "ingest", "ycsb"];
            let writes = writes.iter().any(|start| workload.name.starts_with(start));
            let writes = writes && workload.name != "ycsb-c";
            assert_eq!(record.write_amplification.is_some(), writes, "{record:?}");
        }
    }
}

#[test]
fn threads_share_the_operations() {
    for &engine in engines::NAMES {
        let settings = Settings { threads: 3, ..Settings::small(KEYS + 1) };
        for workload in
            ["fillseq-100", "fillrandom", "overwrite", "readrandom", "seekrandom-10", "ycsb-d"]
        {
            let record = run(engine, workload, settings.clone());
            assert_eq!(record.operations, KEYS + 1, "{record:?}");
        }
    }
}

#[test]
fn every_durability_and_codec_is_understood() {
    for &engine in engines::NAMES {
        for durability in [DurabilityName::Buffered, DurabilityName::Os, DurabilityName::Disk] {
            for codec in [CodecName::None, CodecName::Lz4] {
                let settings = Settings { durability, codec, ..Settings::small(50) };
                run(engine, "fillrandom", settings.clone());
                run(engine, "deletes", settings);
            }
        }
    }
}

#[test]
fn names_stand_for_workloads() {
    assert_eq!(select("all").unwrap().len(), ALL.len());
    assert_eq!(select("versus").unwrap().len(), 4);
    assert_eq!(select("scan").unwrap().len(), 1);
    assert_eq!(select("scan,deletes").unwrap().len(), 2);
    assert!(select("scam").is_err());
}

#[test]
fn a_name_fixes_threads_values_and_durability() {
    let asked = Settings { keys: 2_000_000, ..Settings::small(1) };
    let of = |name: &str| find(name).unwrap().settings(&asked);
    assert_eq!((of("readrandom").threads, of("readrandom-2t").threads), (1, 2));
    assert_eq!((of("fill-4k").value_bytes, of("fill-4k").keys), (4096, 200_000));
    assert_eq!((of("read-64k").value_bytes, of("read-64k").keys), (65_536, 12_500));
    let sync = of("fillsync-8t");
    assert_eq!((sync.durability, sync.threads, sync.keys), (DurabilityName::Disk, 8, 20_000));
    assert_eq!(of("fillrandom-1000-5x").keys, 10_000_000);
}

#[test]
fn a_name_fixes_a_cache_that_holds_the_store_whatever_was_asked_for() {
    let walks = ["seekrandom-10-cached", "seekrandom-100-cached"];
    for name in ["readrandom-cached", "readrandom-zipf-cached"].into_iter().chain(walks) {
        let of = |keys: u64, cache_mib: u64| {
            let asked = Settings { keys, cache_mib, ..Settings::small(1) };
            let own = find(name).unwrap().settings(&asked);
            assert_eq!(own, Settings { cache_mib: own.cache_mib, ..asked });
            own.cache_mib
        };
        // 116 bytes an entry.
        assert_eq!((of(10_000_000, 256), of(1_000_000, 256), of(100, 256)), (2213, 256, 256));
        assert_eq!((of(100, 0), of(4519, 0), of(4520, 0)), (1, 1, 2));
    }
}

/// By what the reading thread asks the kernel for. What LMDB maps is no part of that.
#[test]
fn a_cached_store_is_read_from_memory_alone() {
    let read_bytes = || {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    for &engine in engines::NAMES {
        let asked = Settings { cache_mib: 1, ..Settings::small(40_000) };
        let bytes_read = |workload: &str| {
            let workload = find(workload).unwrap();
            let (root, dir) = (directory(), directory());
            let load = workload.load(&asked).unwrap();
            Templates::new(root.path()).copy(engine, &load, dir.path(), child::load).unwrap();
            let settings = &workload.settings(&asked);
            let opened = engines::open(engine, dir.path(), settings).unwrap();
            let run = Run { name: engine, engine: &*opened, dir: dir.path(), settings };
            workload.run(&run).unwrap();
            let mut draws = read::Draws::new(&run, read::Distribution::Uniform, 7);
            let mut reader = opened.reader().unwrap();
            let before = read_bytes();
            (0..KEYS).for_each(|_| draws.look_up(&mut *reader).unwrap());
            read_bytes() - before
        };
        let (cached, plain) = (bytes_read("readrandom-cached"), bytes_read("readrandom"));
        assert!(cached < 10 * KEYS, "{engine}: {cached} bytes");
        // That it would be seen.
        assert!(engine == "lmdb" || plain > 1000 * KEYS, "{engine}: {plain}");
    }
}

#[test]
fn variants_of_engines_run_too() {
    for &(_, engine) in engines::VARIANTS {
        for workload in ["fill-4k", "overwrite-64k", "read-4k", "recovery"] {
            run(engine, workload, Settings::small(KEYS));
        }
    }
}

/// An insert into the template would be one row too many in the scan, and be found there again.
#[test]
fn a_workload_that_writes_changes_its_copy_alone() {
    let variants = engines::VARIANTS.iter().map(|&(_, engine)| engine);
    for engine in engines::NAMES.iter().copied().chain(variants) {
        for durability in [DurabilityName::Buffered, DurabilityName::Os, DurabilityName::Disk] {
            let settings = Settings { durability, value_bytes: 1 << 10, ..Settings::small(500) };
            let dir = directory();
            let mut templates = Templates::new(dir.path());
            for workload in ["ycsb-d", "deletes", "overwrite", "scan"] {
                run_beside(&mut templates, dir.path(), engine, workload, settings.clone());
            }
        }
    }
}

#[test]
fn workloads_begin_with_the_same_store_unless_their_names_say_otherwise() {
    let asked = Settings { threads: 5, ..Settings::small(KEYS) };
    let load = |name: &str| find(name).unwrap().load(&asked);
    assert_eq!(load("fillrandom"), None);
    assert_eq!(load("recovery"), None);
    assert_eq!(load("readrandom"), Some(asked.clone()));
    assert_eq!(load("readrandom-2t"), load("deletes"));
    assert_eq!(load("readrandom-cached"), load("readrandom-zipf"));
    assert_eq!(load("read-4k"), load("overwrite-4k"));
    assert_eq!(load("read-4k").unwrap().value_bytes, 4096);
    // Those that begin with the same stand behind one another, so that it is loaded once.
    let mut loads: Vec<_> = ALL.iter().filter_map(|workload| workload.load(&asked)).collect();
    loads.dedup();
    assert_eq!(loads.len(), 3);
}

/// What was only buffered is not there after a kill, and is not measured as if it were.
#[test]
fn recovery_finds_what_a_kill_leaves() {
    for &engine in engines::NAMES {
        for durability in [DurabilityName::Buffered, DurabilityName::Os, DurabilityName::Disk] {
            let settings = Settings { durability, ..Settings::small(KEYS) };
            let nothing = durability == DurabilityName::Buffered
                || engine == "redb" && durability == DurabilityName::Os;
            assert_eq!(refused(engine, "recovery", &settings), nothing, "{engine} {durability:?}");
            assert!(!refused(engine, "fillseq", &settings));
            if nothing {
                let dir = directory();
                assert!(child::run(&job(engine, "recovery", settings, dir.path())).is_err());
            } else {
                let record = run(engine, "recovery", settings);
                assert_eq!(record.operations, KEYS, "{record:?}");
                assert!(record.extra["open ms"] > 0.0);
            }
        }
    }
}

#[test]
fn shares_add_up() {
    for (total, clients) in [(0, 1), (1, 3), (10, 3), (2_000_000, 7)] {
        let sum: u64 = (0..clients).map(|index| share(total, index, clients)).sum();
        assert_eq!(sum, total);
    }
}
