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
