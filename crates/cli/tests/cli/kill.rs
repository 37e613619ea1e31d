//! Killed at any moment and started again, an ingest loses no event and counts none twice.
//!
//! A log is ingested again and again into fresh stores. Each run is killed with SIGKILL after a
//! random time, and the same command is then run on what the kill left, until one run gets to its
//! end; then the report must be exactly what was counted when the log was made. That goes on until
//! [`KILLS`] runs were killed while they were at work.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::tempdir;

use crate::clicks::{Clicks, Random};
use crate::program::{command, run};

const KILLS: u32 = 100;
const LINES: u64 = 40_000;
const TOP: usize = 7;

/// The input: a plain file, a compressed one, and another plain one.
fn inputs(directory: &Path, random: &mut Random) -> (Vec<PathBuf>, Clicks) {
    let parts: Vec<Clicks> =
        [LINES / 2, LINES / 4, LINES / 4].map(|lines| Clicks::make(random, lines)).into();
    let names = ["first.log", "second.log.gz", "third.log"].map(|name| directory.join(name));
    for (part, name) in parts.iter().zip(&names) {
        let text = part.text();
        if name.extension().is_some_and(|extension| extension == "gz") {
            let file = fs::File::create(name).expect("the file");
            let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            packed.write_all(text.as_bytes()).and_then(|()| packed.finish()).expect("the file");
        } else {
            fs::write(name, text).expect("the file");
        }
    }
    let whole = parts.iter().fold(Clicks::default(), |sum, part| sum.and(part));
    (names.into(), whole)
}

fn start(db: &Path, inputs: &[PathBuf], rejects: &Path) -> Child {
    let mut ingest = command(["ingest", "--batch-events", "50", "--memtable-bytes", "262144"]);
    ingest.arg("--db").arg(db).arg("--reject-file").arg(rejects).args(inputs);
    ingest.stdout(Stdio::null()).stderr(Stdio::piped());
    ingest.spawn().expect("the program starts")
}

/// Waits for `child` until `moment`, then kills it. Whether it was killed before its end.
fn kill_at(mut child: Child, moment: Instant) -> bool {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
    child.kill().expect("a child can be killed");
    let output = child.wait_with_output().expect("the child ends");
    if output.status.code().is_some() {
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "an ingest failed: {err}");
    }
    output.status.code().is_none()
}

fn report(db: &Path) -> Value {
    let text = run(db, ["report", "--json", "--top", &TOP.to_string()]).ok();
    serde_json::from_str(&text).expect("JSON")
}

fn seed() -> u64 {
    let given = std::env::var("ALLUVIUM_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    given.unwrap_or_else(clock)
}

#[test]
fn a_hundred_kills_lose_nothing_and_double_nothing() {
    let seed = seed();
    println!("ALLUVIUM_KILL_SEED={seed}");
    let mut random = Random(seed);
    let directory = tempdir().expect("a directory");
    let (inputs, clicks) = inputs(directory.path(), &mut random);
    let expected = clicks.expected(TOP);

    let (db, rejects) = (directory.path().join("calm"), directory.path().join("calm.rejects"));
    let began = Instant::now();
    let calm = start(&db, &inputs, &rejects).wait_with_output().expect("it ends");
    // A busy machine may hold a run up for long; kills that far apart would only cost time.
    let calm_time = began.elapsed().min(Duration::from_millis(600));
    assert!(calm.status.success(), "{}", String::from_utf8_lossy(&calm.stderr));
    assert_eq!(report(&db), expected, "without any kill");
    let calm_rejects = sorted_lines(&rejects);

    let (mut kills, mut stores, mut looks, mut advances) = (0, 0, 0, 0);
    while kills < KILLS {
        stores += 1;
        let db = directory.path().join(format!("store{stores}"));
        let rejects = directory.path().join(format!("rejects{stores}"));
        let mut seen = 0;
        loop {
            // Once there were enough kills, the last run may finish.
            let longest = if kills < KILLS { calm_time / 2 } else { Duration::from_secs(600) };
            let mut child = start(&db, &inputs, &rejects);
            if kills >= KILLS {
                assert!(child.wait().expect("it ends").success());
                break;
            }
            let wait = Duration::from_nanos(random.below(longest.as_nanos() as u64));
            if !kill_at(child, Instant::now() + wait) {
                break;
            }
            kills += 1;
            // Now and then, look at what the kill left: never less than before it.
            if random.below(8) == 0 && db.join("CURRENT").exists() {
                let ran = run(&db, ["report", "--json"]);
                if ran.code == 0 {
                    let found: Value = serde_json::from_str(&ran.out).expect("JSON");
                    let events = found["events"].as_u64().expect("a number");
                    assert!(events >= seen, "{events} events after {seen}");
                    looks += 1;
                    advances += u32::from(events > seen);
                    seen = events;
                }
            }
        }
        assert_eq!(report(&db), expected, "store {stores} after {kills} kills, seed {seed}");
        assert_eq!(sorted_lines(&rejects), calm_rejects, "store {stores}, seed {seed}");
        fs::remove_dir_all(&db).expect("the store can be removed");
    }
    println!("{kills} kills over {stores} stores, a calm run takes {calm_time:?};");
    println!("{advances} of {looks} looks in between found more than the one before");
}

fn sorted_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the reject file");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
