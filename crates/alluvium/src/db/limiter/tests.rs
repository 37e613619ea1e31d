//! The arithmetic without a clock, and the waiting with threads.

use std::sync::Arc;
use std::thread;

use super::*;
use crate::base::sync::tally::AtomicU64;
use crate::env::MemEnv;

const MIB: u64 = 1 << 20;

struct Calm {
    behind: AtomicBool,
    closing: AtomicBool,
    user_bytes: AtomicU64,
}

impl Calm {
    fn new() -> Arc<Calm> {
        Arc::new(Calm {
            behind: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            user_bytes: AtomicU64::new(0),
        })
    }
}

impl Conditions for Calm {
    fn strain(&self) -> f64 {
        if self.behind.load(Ordering::Acquire) { DEBT_STRAIN } else { 0.0 }
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn sample(&self) -> Sample {
        Sample { user_bytes: self.user_bytes.load(Ordering::Relaxed), background_bytes: 0 }
    }
}

fn request(priority: Priority, bytes: u64) -> Request {
    Request { priority, bytes, operations: 1 }
}

#[test]
fn a_bucket_gives_its_rate_and_a_small_burst() {
    let mut bucket = Bucket::default();
    bucket.set(Duration::ZERO, MIB);
    let mut now = Duration::from_secs(10);
    let mut drawn = 0;
    let end = now + Duration::from_secs(4);
    while now < end {
        if bucket.ready() <= now {
            bucket.draw(now, 1 << 14);
            drawn += 1 << 14;
        }
        now += Duration::from_millis(1);
    }
    let expected = 4 * MIB;
    assert!((expected..expected + expected / 50).contains(&drawn), "{drawn} of {expected}");
    // Whoever drew far ahead is held a second at most by another rate.
    bucket.draw(now, 1 << 40);
    bucket.set(now, 2 * MIB);
    assert!(bucket.ready() <= now + Duration::from_secs(1));
    bucket.set(now, 0);
    assert_eq!(bucket.ready(), Duration::ZERO);
}

#[test]
fn the_automatic_limit_follows_writes_up_at_once_and_down_slowly() {
    let mut auto = Auto::default();
    let mut sample = Sample::default();
    let mut now = Duration::from_secs(1);
    let mut after = |seconds: u64, user: u64, strain: f64| {
        let mut auto_now = auto;
        for _ in 0..2 * seconds {
            now += SAMPLE;
            sample.user_bytes += user / 2;
            sample.background_bytes += user * 5;
            auto_now = follow(&auto_now, now, sample, strain, 1_000 * MIB);
        }
        auto = auto_now;
        auto_now.limit / MIB as f64
    };
    let busy = after(2, 10 * MIB, 0.0);
    assert!((100.0..200.0).contains(&busy), "{busy}");
    assert!(after(2, 10 * MIB, 0.2) > 1.5 * busy);
    let quiet = after(5, 0, 0.0);
    assert!(quiet < busy && quiet > busy / 4.0, "{quiet} after {busy}");
    let idle = after(300, 0, 0.0);
    assert_eq!(idle, 4.0);
    assert_eq!(after(2, 900 * MIB, 1.0), 1_000.0);
}

#[test]
fn a_limit_holds_and_its_absence_does_not() {
    let limiter = Limiter::default();
    let env = MemEnv::new();
    let calm = Calm::new();
    let one = request(Priority::Rest, MIB);
    assert_eq!(limiter.pass(&env, one, &*calm), Duration::ZERO);
    let limit = RateLimit::Fixed { bytes_per_second: 50 * MIB, operations_per_second: 0 };
    limiter.set(env.now(), limit);
    assert_eq!(limiter.config(), limit);
    let begun = env.now();
    for _ in 0..10 {
        limiter.pass(&env, one, &*calm);
    }
    // The first goes at once, with a burst behind it; the last is not waited for.
    assert!(env.now() - begun >= Duration::from_millis(150));
    let limit = RateLimit::Fixed { bytes_per_second: 0, operations_per_second: 100 };
    limiter.set(env.now(), limit);
    let begun = env.now();
    for _ in 0..20 {
        limiter.pass(&env, one, &*calm);
    }
    assert!(env.now() - begun >= Duration::from_millis(160));
}

/// Draws far ahead, so that whoever asks next would wait for an hour.
fn exhausted() -> (Arc<Limiter>, Arc<MemEnv>, Arc<Calm>) {
    let (limiter, env, calm) = (Arc::new(Limiter::default()), Arc::new(MemEnv::new()), Calm::new());
    limiter.set(env.now(), RateLimit::Fixed { bytes_per_second: 1, operations_per_second: 0 });
    limiter.pass(&*env, request(Priority::Rest, 3_600), &*calm);
    (limiter, env, calm)
}

#[test]
fn closing_debt_and_another_limit_let_everybody_go() {
    let releases: [fn(&Limiter, &Calm, Duration); 3] = [
        |_, calm, _| calm.closing.store(true, Ordering::Release),
        |_, calm, _| calm.behind.store(true, Ordering::Release),
        |limiter, _, now| limiter.set(now, RateLimit::None),
    ];
    for release in releases {
        let (limiter, env, calm) = exhausted();
        thread::scope(|scope| {
            for priority in [Priority::Flush, Priority::Level0, Priority::Rest] {
                let (limiter, env, calm) = (&limiter, &env, &calm);
                scope.spawn(move || limiter.pass(&**env, request(priority, 1), &**calm));
            }
            while limiter.state.lock().waiting.iter().sum::<usize>() < 3 {
                thread::yield_now();
            }
            release(&limiter, &calm, env.now());
            limiter.look_again();
        });
    }
}

#[test]
fn flushes_go_before_compactions_and_nobody_starves() {
    let (limiter, env, calm) = (Limiter::default(), MemEnv::new(), Calm::new());
    let limit = RateLimit::Fixed { bytes_per_second: 0, operations_per_second: 2_000 };
    limiter.set(env.now(), limit);
    let over = AtomicBool::new(false);
    let sums = [const { AtomicU64::new(0) }; 3];
    thread::scope(|scope| {
        for priority in [Priority::Flush, Priority::Flush, Priority::Rest, Priority::Rest] {
            let (limiter, env, calm, over, sums) = (&limiter, &env, &calm, &over, &sums);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    limiter.pass(env, request(priority, 1), &**calm);
                    sums[priority as usize].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while limiter.state.lock().grants < 400 {
            thread::yield_now();
        }
        over.store(true, Ordering::Release);
    });
    let [flushes, _, rest] = sums.map(AtomicU64::into_inner);
    assert!(flushes > 2 * rest && rest > 0, "{flushes} and {rest}");
}
