//! How a command fails: the sentence it leaves on standard error, and its exit code.
//!
//! | code | means |
//! |---|---|
//! | 0 | done; also when whoever read standard output stopped reading |
//! | 1 | the operation failed, something is damaged, a key is missing |
//! | 2 | the command line is wrong |
//! | 3 | `repair` made a new store, and something is gone |
//!
//! [`io::Error`] converts into [`Failure::Output`] and nothing else: inside a command, `?` on the
//! result of an I/O call means that *writing the output* failed. Every other I/O error becomes a
//! sentence that names its file where it happens ([`Failure::file`]).

use std::fmt::Display;
use std::io;
use std::path::Path;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that can never work.
    Usage(String),
    /// The operation failed.
    Failed(String),
    /// What failed has been printed already, as part of the output.
    Reported,
    /// A new store was made, and not everything is in it; that has been printed.
    Incomplete,
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// A failure of the operating system on `path`; `operation` is a verb.
    pub fn file(operation: &str, path: &Path, error: &dyn Display) -> Failure {
        Failure::Failed(format!("cannot {operation} {}: {error}", path.display()))
    }

    /// The sentence for standard error, where there is one left to say.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Failure::Usage(sentence) | Failure::Failed(sentence) => Some(sentence.clone()),
            Failure::Reported | Failure::Incomplete => None,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => Some(format!("cannot write the output: {error}")),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Incomplete => 3,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Failed(_) | Failure::Reported | Failure::Output(_) => 1,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<alluvium::Error> for Failure {
    fn from(error: alluvium::Error) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl From<alluvium_events::EventsError> for Failure {
    fn from(error: alluvium_events::EventsError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.code(), closed.sentence()), (0, None));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.code(), 1);
        assert!(full.sentence().is_some_and(|s| s.starts_with("cannot write the output: ")));
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        let missing = Failure::file("open", Path::new("a/b"), &"no such file");
        assert_eq!(missing.sentence().as_deref(), Some("cannot open a/b: no such file"));
    }
}
