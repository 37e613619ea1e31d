//! Kill -9, again and again: a writer works on a store until it is killed, a looker opens what is
//! left, and what it finds must be what was acknowledged. Then the next writer goes on in the same
//! directory, over a thousand lives and more, so that no old damage stays hidden.
//!
//! Half of the deaths are at a [`kill_env`](super::kill_env) point, the others at any time: by
//! SIGKILL mostly, by SIGTERM, stopped and continued before, or by SIGXFSZ in the middle of a write
//! that a limit on the size of files cuts off. Lookers are killed too, in the middle of recovery.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::channel::{self, Ended, Shot};
use crate::process::history::{Heard, History, fingerprint};
use crate::process::kill_env::{KillPoint, points};
use crate::process::looker;
use crate::process::plan::Plan;
use crate::process::scratch::Scratch;
use crate::random::Random;
use crate::torture::Turn;

/// The lives of the writer in one directory.
const LIVES: u32 = 1_500;
/// A looker is killed so often at the most before one is left alone.
const LOOKERS_KILLED_MAX: u32 = 5;
/// Nobody is shot at later than this, in microseconds.
const WORK_US_MAX: f64 = 50_000.0;
/// Who should have died at a point is killed after this time, should it not come there.
const POINT_WAIT: Duration = Duration::from_millis(150);

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Killed {
    /// Processes that died: writers and lookers.
    pub kills: u64,
    /// Those of them that were lookers.
    pub lookers: u64,
    /// Writers that came to their end.
    pub ended: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// How often each kill point was the end, and each signal.
    pub deaths: BTreeMap<String, u64>,
}

impl Killed {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, other: &Killed) {
        self.kills += other.kills;
        self.lookers += other.lookers;
        self.ended += other.ended;
        self.acknowledged += other.acknowledged;
        for (name, count) in &other.deaths {
            *self.deaths.entry(name.clone()).or_default() += count;
        }
    }

    fn died(&mut self, ended: &Ended) -> bool {
        let Some(signal) = ended.signal() else { return false };
        let at = ended.lines.iter().find_map(|line| line.strip_prefix("at "));
        let name = at.map_or_else(|| format!("signal {signal}"), str::to_owned);
        *self.deaths.entry(name).or_default() += 1;
        self.kills += 1;
        true
    }
}

/// Kills until the turn is over.
pub fn torture(turn: &mut Turn) {
    static AT_WORK: AtomicUsize = AtomicUsize::new(0);
    static TOGETHER: Mutex<Option<Killed>> = Mutex::new(None);
    AT_WORK.fetch_add(1, Ordering::SeqCst);
    while turn.goes_on() {
        let seed = turn.seed();
        let outcome = program().and_then(|program| {
            let mut store = Store::new(&program, seed)?;
            while turn.goes_on() && store.history.generation() < LIVES {
                let before = store.killed.kills;
                if let Err(text) = store.live() {
                    return Err(store.complain(&text));
                }
                turn.note(Ok(store.killed.kills - before));
            }
            Ok(store.killed)
        });
        match outcome {
            Ok(killed) => {
                let mut together = TOGETHER.lock().unwrap_or_else(PoisonError::into_inner);
                together.get_or_insert_default().add(&killed);
            }
            Err(text) => turn.note(Err(text)),
        }
    }
    if AT_WORK.fetch_sub(1, Ordering::SeqCst) == 1 {
        let together = TOGETHER.lock().unwrap_or_else(PoisonError::into_inner).take();
        println!("kill: {together:#?}");
    }
}

/// The program that this is.
fn program() -> Result<std::path::PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))
}

/// Kills until `kills` processes have died; `program` is `alluvium-torture`.
///
/// # Errors
///
/// What was wrong after one of the kills, and where the store is kept.
pub fn run(program: &Path, seed: u64, kills: u64) -> Result<Killed, String> {
    let mut store = Store::new(program, seed)?;
    while store.killed.kills < kills {
        if let Err(text) = store.live() {
            return Err(store.complain(&text));
        }
    }
    Ok(store.killed)
}

/// A store over the lives of its writers.
struct Store<'a> {
    program: &'a Path,
    plan: Plan,
    random: Random,
    scratch: Scratch,
    history: History,
    points: Vec<String>,
    killed: Killed,
    last_death: String,
}

impl Store<'_> {
    fn new(program: &Path, seed: u64) -> Result<Store<'_>, String> {
        let plan = Plan::new(seed);
        let mut random = Random::for_case(&[seed, 5]);
        let scratch = Scratch::new(!random.one_in(4)).map_err(|error| error.to_string())?;
        Ok(Store {
            program,
            plan,
            random,
            scratch,
            history: History::new(plan),
            points: points(plan.options().column_family.blob_bytes_min.is_some()),
            killed: Killed::default(),
            last_death: String::new(),
        })
    }

    /// One life of the writer, and what comes of it.
    fn live(&mut self) -> Result<(), String> {
        let ended = self.write()?;
        self.hear(&ended)?;
        let mut killed = 0;
        loop {
            self.scratch.remember().map_err(|error| format!("links: {error}"))?;
            let kill = killed < LOOKERS_KILLED_MAX && self.random.one_in(3);
            let ended = self.look(kill)?;
            if self.killed.died(&ended) {
                self.killed.lookers += 1;
                killed += 1;
            }
            // One that died while it closed had told all there is.
            if let Some(state) = looker::told(&ended.lines)? {
                return self.history.resolve(state);
            }
        }
    }

    /// Runs a writer to its death.
    fn write(&mut self) -> Result<Ended, String> {
        self.history.begin();
        let mut command = channel::command(self.program, "write", &self.scratch.store());
        command.arg(self.plan.to_string()).arg(self.history.generation().to_string());
        let mut shots = Vec::new();
        let after = self.moment(8_000.0);
        let mut then = |signal| shots.push(Shot { after, signal });
        match self.random.below(200) {
            0..100 => {
                let point = KillPoint::draw(&mut self.random, &self.points);
                command.arg("--kill").arg(point.to_string());
                self.last_death = point.to_string();
                shots.push(Shot { after: POINT_WAIT, signal: Signal::KILL });
            }
            100..185 => then(Signal::KILL),
            185..190 => then(Signal::TERM),
            190..195 => {
                then(Signal::STOP);
                let behind = after + self.moment(2_000.0);
                shots.push(Shot { after: behind, signal: Signal::CONT });
                let after = behind + self.moment(4_000.0);
                shots.push(Shot { after, signal: Signal::KILL });
            }
            _ => {
                command.args(["--fsize", &(200 + self.random.below(40_000)).to_string()]);
                shots.push(Shot { after: POINT_WAIT, signal: Signal::KILL });
            }
        }
        if !command.get_args().any(|argument| argument == "--kill") {
            self.last_death = format!("{shots:?}");
        }
        channel::run(command, &shots)
    }

    /// Runs a looker, perhaps to its death.
    fn look(&mut self, kill: bool) -> Result<Ended, String> {
        let mut command = channel::command(self.program, "look", &self.scratch.store());
        command.arg(self.plan.to_string());
        if self.random.one_in(2) {
            command.arg("--exit");
        }
        let mut shots = Vec::new();
        if kill && self.random.one_in(4) {
            shots.push(Shot { after: self.moment(2_000.0), signal: Signal::KILL });
        } else if kill {
            let mut point = KillPoint::draw(&mut self.random, &self.points);
            point.hit = 1 + self.random.below(3) as u64;
            command.arg("--kill").arg(point.to_string());
        }
        let ended = channel::run(command, &shots)?;
        match ended.complaint(&[Signal::KILL]) {
            Some(text) => Err(format!("the looker: {text}")),
            None => Ok(ended),
        }
    }

    /// A time at random, about `mean` microseconds.
    fn moment(&mut self, mean: f64) -> Duration {
        let unit = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let us = (-mean * (1.0 - unit).ln()).clamp(300.0, WORK_US_MAX);
        Duration::from_micros(us as u64)
    }

    /// Takes in what a writer said.
    fn hear(&mut self, ended: &Ended) -> Result<(), String> {
        if let Some(text) = ended.complaint(&[Signal::KILL, Signal::TERM, Signal::XFSZ]) {
            return Err(format!("the writer: {text}"));
        }
        let there = fingerprint(self.history.state());
        for line in &ended.lines {
            match line.split_once(' ') {
                Some(("opened", number)) if number.parse() != Ok(there) => {
                    return Err("the writer found another state than the looker".to_owned());
                }
                Some(("ack", rest)) => {
                    let numbers = rest.split_once(' ');
                    let ack = numbers.and_then(|(t, n)| Some((t.parse().ok()?, n.parse().ok()?)));
                    let (thread, number) = ack.ok_or_else(|| format!("a writer said {line:?}"))?;
                    self.history.hear(thread, number, Heard::Acknowledged)?;
                }
                // Nothing is wrong with the disk.
                Some(("refused" | "failed", _)) => return Err(format!("the writer: {line}")),
                _ => {}
            }
        }
        self.killed.acknowledged += self.history.acknowledged() as u64;
        if !self.killed.died(ended) {
            self.killed.ended += 1;
        }
        Ok(())
    }

    fn complain(self, text: &str) -> String {
        let Store { plan, history, last_death, killed, .. } = &self;
        let (plan, life, kills) = (*plan, history.generation(), killed.kills);
        let death = last_death.clone();
        let kept = self.scratch.keep().display().to_string();
        format!(
            "kill, plan {plan}, life {life}, {kills} kills, the last writer's death by {death}: \
             {text}\n  kept: {kept}/store, and {kept}/before as before the last look; see it \
             again on a copy: alluvium-torture child look COPY {plan}"
        )
    }
}
