//! Spans and events of `tracing`, behind the feature of that name; without it nothing is compiled
//! in. Targets are `alluvium`; names are those of docs/observability.md.

use crate::metrics::Event;

#[cfg(feature = "tracing")]
pub(crate) use enabled::{Span, event, span};

#[cfg(not(feature = "tracing"))]
pub(crate) use disabled::{NoSpan as Span, event, span};

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Open,
    Recovery,
    Flush,
    Compaction,
    Stall,
}

#[cfg(feature = "tracing")]
mod enabled {
    use super::{Event, Of};
    use crate::db::events::words;

    pub(crate) type Span = tracing::span::EnteredSpan;

    /// Enters a span that lasts as long as what is returned. `about` is the column family or the
    /// directory.
    pub(crate) fn span(of: Of, about: &str) -> Span {
        match of {
            Of::Open => tracing::info_span!(target: "alluvium", "open", directory = about),
            Of::Recovery => tracing::info_span!(target: "alluvium", "recovery", directory = about),
            Of::Flush => tracing::info_span!(target: "alluvium", "flush", family = about),
            Of::Compaction => tracing::info_span!(target: "alluvium", "compaction", family = about),
            Of::Stall => tracing::debug_span!(target: "alluvium", "stall", cause = about),
        }
        .entered()
    }

    /// Hands an event on: failures as errors, what takes time as information, files and single
    /// stalls for debugging.
    pub(crate) fn event(event: &Event) {
        let kind = event.kind();
        match event {
            Event::BackgroundError { .. }
            | Event::WritesStopped { .. }
            | Event::ListenerPanicked { .. } => {
                let text = words::of(event).unwrap_or_default();
                tracing::error!(target: "alluvium", kind, "{text}");
            }
            Event::StallEnded(_) | Event::TablesMoved(_) | Event::ManifestRolled { .. } => {
                let text = words::of(event).unwrap_or_default();
                tracing::debug!(target: "alluvium", kind, "{text}");
            }
            Event::FileCreated { file } => {
                tracing::debug!(target: "alluvium", kind, "{file} was created");
            }
            Event::FileDeleted { file } => {
                tracing::debug!(target: "alluvium", kind, "{file} was removed");
            }
            _ => {
                if let Some(text) = words::of(event) {
                    tracing::info!(target: "alluvium", kind, "{text}");
                }
            }
        }
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

    use crate::db::Db;
    use crate::env::MemEnv;
    use crate::options::Options;

    /// Keeps spans and events as lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>, Arc<AtomicU64>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.push_str(&format!(" {field}={value:?}"));
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "alluvium"
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut line = Line(format!("span {}", span.metadata().name()));
            span.record(&mut line);
            self.0.lock().unwrap().push(line.0);
            Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
        }

        fn record(&self, _span: &Id, _values: &Record<'_>) {}

        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(format!("{}", event.metadata().level()));
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _span: &Id) {}

        fn exit(&self, _span: &Id) {}
    }

    #[test]
    fn spans_and_events_are_handed_on() {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let options = Options { background_threads: 0, ..Options::default() };
            let db = Db::open_env(Arc::new(MemEnv::new()), options).unwrap();
            db.put("key", "value").unwrap();
            db.compact().unwrap();
            db.close().unwrap();
        });
        let lines = lines.0.lock().unwrap();
        for wanted in [
            "span open directory=\"memory\"",
            "span recovery directory=\"memory\"",
            "INFO kind=\"opened\" message=the store was opened in ",
            "DEBUG kind=\"file\" message=",
            "span flush family=\"default\"",
            "INFO kind=\"flush\" message=flush of default because somebody asked for it: ",
            "span compaction family=\"default\"",
            "INFO kind=\"compaction\" message=compaction of default level 0 -> 1 because ",
            "INFO kind=\"closed\" message=the store was closed",
        ] {
            let sorted = |line: &String| {
                line.starts_with(wanted) || {
                    // The order of a message and its fields is the subscriber's.
                    let parts: Vec<&str> = wanted.splitn(3, ' ').collect();
                    parts.iter().all(|part| line.contains(part))
                }
            };
            assert!(lines.iter().any(sorted), "{wanted} in {lines:#?}");
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod disabled {
    use super::{Event, Of};

    /// Nothing is built in that could look at a span.
    #[derive(Debug)]
    pub(crate) struct NoSpan;

    #[inline]
    pub(crate) fn span(_of: Of, _about: &str) -> NoSpan {
        NoSpan
    }

    #[inline]
    pub(crate) fn event(_event: &Event) {}
}
