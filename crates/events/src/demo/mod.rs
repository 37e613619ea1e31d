//! A click stream out of nothing: the input of `alluvium demo`, and of tests.
//!
//! The stream is like that of a busy site: a few visitors and pages have most of the traffic
//! (Zipf), visitors come in sessions of some eight clicks with pauses between, more by day than by
//! night, and a few clicks in a hundred arrive some seconds late. It is a function of its seed: the
//! same seed gives the same stream on every machine, and a longer stream begins with the shorter
//! one.
//!
//! Making a click costs a few dozen nanoseconds and no allocation: names are written once and then
//! pointed at, and skewed choices are drawn from alias tables (Vose 1991).

mod alias;
mod ingest;

use alias::AliasTable;

/// 2026-01-05T00:00:00Z, a Monday.
const START_MS: i64 = 1_767_571_200_000;
const VISITORS: usize = 200_000;
const PAGES: usize = 20_000;
/// Sessions that go on at the same time.
const SESSIONS: usize = 3_000;
/// One click in so many is a session's last.
const CLICKS_PER_SESSION: u64 = 8;
/// Microseconds between two clicks on average, at an average hour.
const INTERVAL_US: u64 = 16_000;
/// Traffic by hour of day (UTC), in percent of the average.
const BY_HOUR: [u64; 24] = [
    45, 35, 30, 28, 30, 40, 60, 85, 110, 125, 135, 140, 138, 140, 142, 140, 138, 140, 150, 160,
    155, 130, 95, 65,
];

/// One click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Click<'a> {
    /// Milliseconds since 1970-01-01T00:00:00Z; whole seconds, as web servers log them.
    pub time_ms: i64,
    /// The visitor's address.
    pub user: &'a [u8],
    /// What was clicked.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The status, three digits.
    pub status: &'a [u8],
    /// The bytes sent, where there were any.
    pub bytes: Option<i64>,
}

/// A click stream without an end.
#[derive(Debug)]
pub struct ClickStream {
    random: Random,
    visitors: Names,
    pages: Names,
    visitor_choice: AliasTable,
    page_choice: AliasTable,
    sessions: Vec<Session>,
    now_us: u64,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    visitor: u32,
    page: u32,
}

impl ClickStream {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> ClickStream {
        let mut random = Random(seed);
        let visitors = Names::new(VISITORS, |name, number| put_address(name, number as u64));
        let pages = Names::new(PAGES, put_path);
        let visitor_choice = AliasTable::zipf(VISITORS, 0.8);
        let page_choice = AliasTable::zipf(PAGES, 1.0);
        let sessions = (0..SESSIONS)
            .map(|_| Session {
                visitor: visitor_choice.draw(random.next()),
                page: page_choice.draw(random.next()),
            })
            .collect();
        ClickStream {
            random,
            visitors,
            pages,
            visitor_choice,
            page_choice,
            sessions,
            now_us: START_MS as u64 * 1000,
        }
    }

    /// The next click.
    #[inline]
    pub fn next_click(&mut self) -> Click<'_> {
        let hour = (self.now_us / 3_600_000_000 % 24) as usize;
        let mean = INTERVAL_US * 100 / BY_HOUR[hour];
        let dice = self.random.next();
        self.now_us += (dice >> 32) % (2 * mean) + 1;

        let session = &mut self.sessions[(dice as u32 as usize) % SESSIONS];
        let dice = self.random.next();
        // Half of the clicks lead to a page beside the last one, the rest anywhere.
        session.page = if dice.is_multiple_of(2) {
            self.page_choice.draw(self.random.next())
        } else {
            (session.page ^ 1) % PAGES as u32
        };
        let Session { visitor, page } = *session;
        if (dice >> 8).is_multiple_of(CLICKS_PER_SESSION) {
            session.visitor = self.visitor_choice.draw(self.random.next());
        }
        // Three clicks in a hundred are up to four seconds late.
        let late_us = if (dice >> 16) % 100 < 3 { (dice >> 24) % 4_000_000 } else { 0 };
        let (method, status, bytes) = answer((dice >> 32) as u32, page);
        Click {
            time_ms: ((self.now_us - late_us) / 1_000_000 * 1000) as i64,
            user: self.visitors.get(visitor),
            path: self.pages.get(page),
            method,
            status,
            bytes,
        }
    }
}

/// How the server answers: mostly well.
fn answer(dice: u32, page: u32) -> (&'static [u8], &'static [u8], Option<i64>) {
    let method: &[u8] = match dice % 1000 {
        0..970 => b"GET",
        970..995 => b"POST",
        _ => b"HEAD",
    };
    // A page has its size; what is sent of it varies by a quarter.
    let size = i64::from(page.wrapping_mul(2_654_435_761) >> 16) + 400;
    let size = size + size * i64::from(dice >> 24) / 1024;
    match (dice >> 10) % 1000 {
        0..910 => (method, b"200", Some(size)),
        910..955 => (method, b"304", None),
        955..968 => (method, b"301", Some(178)),
        968..992 => (method, b"404", Some(562)),
        992..996 => (method, b"206", Some(size / 2)),
        996..998 => (method, b"403", Some(199)),
        _ => (method, b"500", Some(612)),
    }
}

impl Click<'_> {
    /// Appends the click as a line of a combined log, with its line ending.
    pub fn put_log_line(&self, out: &mut Vec<u8>) {
        let time = jiff::Timestamp::from_millisecond(self.time_ms).unwrap_or_default();
        out.extend_from_slice(self.user);
        out.extend_from_slice(
            time.strftime(" - - [%d/%b/%Y:%H:%M:%S +0000] \"").to_string().as_bytes(),
        );
        for part in [self.method, b" ", self.path, b" HTTP/1.1\" ", self.status, b" "] {
            out.extend_from_slice(part);
        }
        let bytes = self.bytes.map_or("-".to_string(), |bytes| bytes.to_string());
        out.extend_from_slice(bytes.as_bytes());
        out.extend_from_slice(b" \"-\" \"Mozilla/5.0\"\n");
    }
}

/// Many names in one buffer.
#[derive(Debug)]
struct Names {
    text: Vec<u8>,
    /// Where each begins, and where the last one ends.
    starts: Vec<u32>,
}

impl Names {
    fn new(count: usize, mut put: impl FnMut(&mut Vec<u8>, usize)) -> Names {
        let mut names = Names { text: Vec::new(), starts: vec![0] };
        for number in 0..count {
            put(&mut names.text, number);
            names.starts.push(names.text.len() as u32);
        }
        names
    }

    #[inline]
    fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        &self.text[self.starts[number] as usize..self.starts[number + 1] as usize]
    }
}

/// An address for a visitor; different numbers have different ones.
fn put_address(out: &mut Vec<u8>, number: u64) {
    // An odd factor permutes the 24 bits.
    let [_, a, b, c] = ((number.wrapping_mul(0x9e_3779) & 0xff_ffff) as u32).to_be_bytes();
    out.extend_from_slice(format!("10.{a}.{b}.{c}").as_bytes());
}

/// A path for a page, the more popular ones first.
fn put_path(out: &mut Vec<u8>, number: usize) {
    const SECTIONS: [&str; 8] =
        ["products", "blog", "docs", "images", "search", "account", "news", "help"];
    const WORDS: [&str; 16] = [
        "river", "delta", "silt", "gravel", "terrace", "meander", "flood", "basin", "channel",
        "fan", "levee", "plain", "estuary", "bank", "bed", "source",
    ];
    let path = match number {
        0 => "/".to_string(),
        1 => "/favicon.ico".to_string(),
        2 => "/assets/style.css".to_string(),
        3 => "/assets/main.js".to_string(),
        _ => {
            let section = SECTIONS[number % 8];
            let (first, second) = (WORDS[number / 8 % 16], WORDS[number / 128 % 16]);
            format!("/{section}/{first}-{second}-{number}")
        }
    };
    out.extend_from_slice(path.as_bytes());
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
