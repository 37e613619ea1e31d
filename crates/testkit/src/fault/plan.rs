//! What a fault sweep injects: which operations fail, how, for how long, and while what is done.

use std::fmt;

use alluvium::env::{Fault, FaultRule, FileKind, Operation, When};

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It hits one operation.
    Once,
    /// It hits this many operations in a row, and then has healed.
    Heals(u64),
    /// It hits every operation from the first on.
    Sticky,
}

/// What the store is doing meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The whole workload, from a directory that does not exist.
    Work,
    /// Opening what the workload has left without closing it.
    Recovery,
}

/// One kind of fault.
#[derive(Clone, Copy)]
pub struct Plan {
    /// What fails.
    pub operations: &'static [Operation],
    /// On this kind of file only, where one is named.
    pub file: Option<FileKind>,
    /// How.
    pub fault: Fault,
    /// For how long.
    pub lasting: Lasting,
    /// When.
    pub phase: Phase,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { operations, file, fault, lasting, phase } = self;
        write!(f, "{phase:?}, {fault:?}, {lasting:?}, on {operations:?}")?;
        if let Some(file) = file {
            write!(f, " of {file:?} files")?;
        }
        Ok(())
    }
}

const READING: &[Operation] =
    &[Operation::Open, Operation::Read, Operation::Length, Operation::List];
const READ: &[Operation] = &[Operation::Read];
const APPEND: &[Operation] = &[Operation::Append];
const OPENING: &[Operation] = &[Operation::Create, Operation::Open];
const FLIP: Fault = Fault::FlipBit { bit: 77 };
const ASTRAY: Fault = Fault::Misdirected { bytes: 96 };

impl Plan {
    /// Every kind of fault that is swept.
    #[must_use]
    pub fn all() -> Vec<Plan> {
        let mut plans = Vec::new();
        for phase in [Phase::Work, Phase::Recovery] {
            for lasting in [Lasting::Once, Lasting::Heals(3), Lasting::Heals(20), Lasting::Sticky] {
                let mut add = |operations, fault| {
                    plans.push(Plan { operations, file: None, fault, lasting, phase });
                };
                add(Operation::MUTATING, Fault::Io);
                add(Operation::MUTATING, Fault::DiskFull);
                add(APPEND, Fault::ShortAppend { bytes: 7 });
                add(READING, Fault::Io);
                add(OPENING, Fault::TooManyFiles);
                if lasting == Lasting::Once {
                    add(APPEND, Fault::ShortAppend { bytes: 60 });
                    add(Operation::MUTATING, Fault::Interrupted);
                    // A read that lies once is read again; one that always lies about the log is
                    // a damaged log, which the damage sweep is about.
                    add(READ, FLIP);
                    add(READ, ASTRAY);
                    add(READ, Fault::Stale);
                    add(READ, Fault::ShortRead { bytes: 5 });
                } else {
                    add(Operation::MUTATING, Fault::ReadOnly);
                }
                let file = Some(FileKind::Table);
                for fault in [FLIP, ASTRAY, Fault::Stale, Fault::ShortRead { bytes: 50 }] {
                    if lasting == Lasting::Sticky {
                        plans.push(Plan { operations: READ, file, fault, lasting, phase });
                    }
                }
            }
        }
        plans
    }

    /// The fault at operation `nth`: where it strikes within the bytes differs from one to another.
    fn fault_at(&self, nth: u64) -> Fault {
        match self.fault {
            Fault::FlipBit { bit } => Fault::FlipBit { bit: bit + nth * 1009 },
            Fault::Misdirected { bytes } => Fault::Misdirected { bytes: bytes + nth * 37 % 500 },
            Fault::ShortAppend { bytes } => {
                Fault::ShortAppend { bytes: bytes + (nth * 13 % 50) as usize }
            }
            Fault::ShortRead { bytes } => {
                Fault::ShortRead { bytes: bytes + (nth * 7 % 90) as usize }
            }
            same => same,
        }
    }

    /// The rule that begins at operation `nth`.
    #[must_use]
    pub fn rule(&self, nth: u64) -> FaultRule {
        let when = match self.lasting {
            Lasting::Once => When::Nth(nth),
            Lasting::Heals(count) => When::Window { first: nth, count },
            Lasting::Sticky => When::From(nth),
        };
        let rule = FaultRule::new(self.operations, when, self.fault_at(nth));
        match self.file {
            Some(kind) => rule.on(kind),
            None => rule,
        }
    }
}
