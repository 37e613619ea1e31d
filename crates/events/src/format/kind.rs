//! The kinds of malformed lines. Their names are counted in the store and written to reject files,
//! so they never change.

/// A malformed line: its kind, and what exactly is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) kind: RejectKind,
    pub(crate) detail: String,
}

macro_rules! reject_kinds {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// Why a line is malformed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum RejectKind {
            $(#[doc = $meaning] $variant,)*
        }

        impl RejectKind {
            /// The stable name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(RejectKind::$variant => $name,)* }
            }

            /// What it means, for a line that needs no more particular detail.
            pub(crate) fn meaning(self) -> &'static str {
                match self { $(RejectKind::$variant => $meaning,)* }
            }

            /// The kind of a stored name.
            #[cfg(test)]
            pub(crate) const ALL: &'static [RejectKind] = &[$(RejectKind::$variant,)*];
        }
    };
}

reject_kinds! {
    LineTooLong "line_too_long" "the line is longer than the limit",
    BadHost "bad_host" "the line does not begin with host, ident and user, a space between",
    TimeBracketMissing "time_bracket_missing" "the time is not in square brackets",
    RequestQuoteMissing "request_quote_missing" "the request is not in quotes",
    RequestQuoteNeverClosed "request_quote_never_closed" "the request's quote is never closed",
    RequestNotThreeWords "request_not_three_words" "the request is not method, target and protocol",
    BadStatus "bad_status" "the status cannot be read",
    BadBytes "bad_bytes" "the byte count is no whole number",
    RefererMissing "referer_missing" "the quoted referer is missing",
    RefererQuoteNeverClosed "referer_quote_never_closed" "the referer's quote is never closed",
    UserAgentMissing "user_agent_missing" "the quoted user agent is missing",
    UserAgentQuoteNeverClosed "user_agent_quote_never_closed"
        "the user agent's quote is never closed",
    TrailingText "trailing_text" "text follows the last field",
    InvalidJson "invalid_json" "the line is no JSON",
    NotAnObject "not_an_object" "the line is JSON, but no object",
    WrongFieldCount "wrong_field_count" "the record has not as many fields as the header",
    QuoteNeverClosed "quote_never_closed" "a quote is never closed",
    TextAfterQuote "text_after_quote" "text follows a closing quote",
    MissingTime "missing_time" "there is no time",
    MissingUser "missing_user" "there is no user",
    MissingPath "missing_path" "there is no path",
    BadTime "bad_time" "the time is neither ISO 8601 nor a Unix time",
    TimeOutOfRange "time_out_of_range" "the time is not between 1970-01-01 and 2262-04-11",
    UserNotText "user_not_text" "the user is neither text nor a number",
    PathNotText "path_not_text" "the path is neither text nor a number",
    UserTooLong "user_too_long" "the user is longer than 16,384 bytes",
}

impl From<RejectKind> for Reject {
    fn from(kind: RejectKind) -> Reject {
        Reject { kind, detail: kind.meaning().to_string() }
    }
}

impl Reject {
    /// A reject with the offending text, cut to a readable length.
    pub(crate) fn with(kind: RejectKind, text: &[u8]) -> Reject {
        const SHOWN: usize = 60;
        let shown = &text[..text.len().min(SHOWN)];
        let dots = if text.len() > SHOWN { "…" } else { "" };
        let meaning = kind.meaning();
        Reject { kind, detail: format!("{meaning}: {}{dots}", shown.escape_ascii()) }
    }
}
