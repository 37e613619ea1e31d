//! How to get to one image of a sweep: where each crash struck, and which of its images it left.

use std::fmt;
use std::str::FromStr;

/// One crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The operation of the workload, or of the recovery, that did not happen any more.
    pub operation: u64,
    /// Which of the images of this crash; none for all.
    pub image: Option<u64>,
}

/// The crashes that lead to an image, as a failure prints them: `17:3/5:2` is image 2 of a crash at
/// operation 5 of the recovery from image 3 of a crash at operation 17. `17` alone is every image
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route(Vec<Step>);

impl Route {
    /// The route over these crashes.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Route {
        Route(steps)
    }

    /// The crash of this depth.
    #[must_use]
    pub fn step(&self, depth: usize) -> Option<Step> {
        self.0.get(depth).copied()
    }

    /// Whether it leads nowhere in particular.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `ALLUVIUM_CRASH_AT` says.
    ///
    /// # Panics
    ///
    /// Where that is no route.
    #[must_use]
    pub fn from_environment() -> Route {
        let text = std::env::var("ALLUVIUM_CRASH_AT").unwrap_or_default();
        text.parse().unwrap_or_else(|error| panic!("ALLUVIUM_CRASH_AT: {error}"))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, Step { operation, image }) in self.0.iter().enumerate() {
            let slash = if depth == 0 { "" } else { "/" };
            write!(f, "{slash}{operation}")?;
            if let Some(image) = image {
                write!(f, ":{image}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Route, String> {
        let number = |part: &str| {
            part.parse::<u64>().map_err(|_| format!("\"{text}\" is no route like 17:3/5:2"))
        };
        let step = |part: &str| match part.split_once(':') {
            Some((operation, image)) => {
                Ok(Step { operation: number(operation)?, image: Some(number(image)?) })
            }
            None => Ok(Step { operation: number(part)?, image: None }),
        };
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(step)
            .collect::<Result<_, _>>()
            .map(Route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_printed() {
        for text in ["", "17", "17:3", "17:3/5:2", "1:0/2:0/3:0", "4/5"] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        for text in ["x", "1:", ":1", "1:2:3"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }
}
