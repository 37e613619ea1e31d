//! The order of system calls that durability rests on, as rules over a trace.
//!
//! A sync covers what had ended when it began, and holds once it has ended.
//!
//! 1. Before a `Disk` write is acknowledged, every byte of every log there is was synced, the names
//!    of all of them too; but for a log without a byte, which was created ahead of need.
//! 2. A temporary file is synced before it is renamed, and so is the manifest that it leads to, and
//!    its name.
//! 3. After a rename the directory is synced before anything is acknowledged or removed.
//! 4. A log goes only when a manifest has been synced behind its last byte; a table and a blob
//!    file, too.
//! 5. A log gets a second name as a blob file when every byte of it was synced, and loses the first
//!    when the second is durable.
//! 6. Files are made with "must not exist" and only ever grow.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::trace::{Call, Event, acknowledged};

/// What is known of a file.
#[derive(Debug, Default, Clone, Copy)]
struct File {
    /// When it was created; 0 for a file that was there before.
    created: usize,
    /// When its last byte was appended.
    appended: usize,
    /// The begin of the last sync that has ended.
    synced: usize,
}

/// The files of a directory, as the calls so far leave them.
#[derive(Debug, Default)]
struct Seen {
    files: BTreeMap<String, File>,
    /// The begin of the last sync of the directory that has ended.
    names_synced: usize,
    /// When a file was last renamed.
    renamed: usize,
    /// When the manifest in force was last synced: behind an edit, or by the switch to it.
    manifest_synced: usize,
    current: Option<String>,
}

/// Checks the calls of one process on the store in `directory`; returns how many were looked at.
///
/// # Errors
///
/// The first call that breaks a rule.
pub fn check(directory: &Path, events: &[Event]) -> Result<u64, String> {
    let mut seen = Seen::default();
    let mut looked = 0;
    // What a call needs must have ended before it began, so that each is looked at where it began
    // and takes effect where it ended.
    let mut moments: Vec<(usize, bool, &Event)> = Vec::new();
    for event in events {
        moments.push((event.began, false, event));
        moments.push((event.ended, true, event));
    }
    moments.sort_by_key(|(line, is_end, _)| (*line, *is_end));
    for (_, is_end, event) in moments {
        let Some(call) = in_directory(directory, &event.call) else { continue };
        if is_end {
            seen.take(event, &call);
        } else {
            looked += 1;
            seen.look(&call).map_err(|text| {
                format!("line {}: {:.100}: {text}", event.began + 1, format!("{:?}", event.call))
            })?;
        }
    }
    Ok(looked)
}

/// The call with names in place of paths; `None` for one outside of the directory. The directory
/// itself has the empty name.
fn in_directory(directory: &Path, call: &Call) -> Option<Call> {
    let name = |path: &String| {
        let name = Path::new(path).strip_prefix(directory).ok()?.to_str()?;
        (name != "LOCK").then(|| name.to_owned())
    };
    Some(match call {
        Call::Create(path) => Call::Create(name(path)?),
        Call::Append(path, _) => Call::Append(name(path)?, Vec::new()),
        Call::SetLength(path, length) => Call::SetLength(name(path)?, *length),
        Call::Sync(path) => Call::Sync(name(path)?),
        Call::Rename(from, to) => Call::Rename(name(from)?, name(to)?),
        Call::Link(from, to) => Call::Link(name(from)?, name(to)?),
        Call::Unlink(path) => Call::Unlink(name(path)?),
        Call::MakeDirectory(_) => return None,
        // Of the dynamic loader, and of the standard library as it starts.
        Call::Strange(text) if !text.contains(directory.to_str()?) => return None,
        other => other.clone(),
    })
}

impl Seen {
    /// Whether what a call needs is done.
    fn look(&self, call: &Call) -> Result<(), String> {
        match call {
            Call::Said(line) if acknowledged(line).is_some() => {
                self.renames_are_synced()?;
                let is_log = |name: &str, file: &File| name.ends_with(".wal") && file.appended > 0;
                let mut logs = self.files.iter().filter(|(name, file)| is_log(name, file));
                logs.try_for_each(|(name, file)| self.is_synced(name, file))
            }
            Call::Rename(from, to) if to == "CURRENT" => {
                let temporary = self.files.get(from).ok_or("nobody created it")?;
                is_written(from, temporary)?;
                match self.newest_manifest() {
                    Some((name, file)) => self.is_synced(name, file),
                    None => Err("there is no manifest".to_owned()),
                }
            }
            Call::Rename(..) => Err("only CURRENT is replaced by a rename".to_owned()),
            Call::Link(from, to) => {
                if from.strip_suffix(".wal").is_none_or(|log| to.strip_suffix(".blob") != Some(log))
                {
                    return Err("only a log gets a second name, as a blob file".to_owned());
                }
                self.files.get(from).map_or(Ok(()), |file| self.is_synced(from, file))
            }
            Call::Unlink(name) => {
                self.renames_are_synced()?;
                let file = self.files.get(name).copied().unwrap_or_default();
                if let Some((second, linked)) = self.second_name(name) {
                    return self.is_synced(&second, linked);
                }
                let is_data = [".wal", ".sst", ".blob"].iter().any(|end| name.ends_with(end));
                if is_data && self.manifest_synced <= file.appended {
                    return Err("no manifest was synced behind its last byte".to_owned());
                }
                if self.current.as_ref() == Some(name) {
                    return Err("it is the manifest in force".to_owned());
                }
                Ok(())
            }
            Call::Append(name, _) => match self.files.get(name) {
                Some(file)
                    if file.synced > 0 && (name.ends_with(".sst") || name.ends_with(".blob")) =>
                {
                    Err("a file that was synced as a whole is written again".to_owned())
                }
                Some(_) => Ok(()),
                None => Err("it was there before".to_owned()),
            },
            Call::SetLength(name, _) if !name.ends_with(".wal") => {
                Err("only a segment of the log is made longer, or cut".to_owned())
            }
            Call::Strange(_) => Err("the engine is not known to do this".to_owned()),
            _ => Ok(()),
        }
    }

    /// Takes in what a call has done.
    fn take(&mut self, event: &Event, call: &Call) {
        match call {
            Call::Create(name) => {
                let file = File { created: event.ended, appended: 0, synced: 0 };
                self.files.insert(name.clone(), file);
            }
            Call::Append(name, _) => {
                if let Some(file) = self.files.get_mut(name) {
                    file.appended = event.ended;
                }
            }
            Call::Sync(name) if name.is_empty() => {
                self.names_synced = event.began;
                if event.began > self.renamed && self.renamed > 0 {
                    let newest = self.newest_manifest().map(|(name, _)| name.clone());
                    if newest.is_some() && newest != self.current {
                        self.manifest_synced = event.ended;
                        self.current = newest;
                    }
                }
            }
            Call::Sync(name) => {
                if let Some(file) = self.files.get_mut(name) {
                    file.synced = event.began;
                }
                if self.current.as_ref() == Some(name) {
                    self.manifest_synced = event.ended;
                }
            }
            Call::Rename(from, to) => {
                self.renamed = event.ended;
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Call::Link(from, to) => {
                if let Some(file) = self.files.get(from) {
                    self.files.insert(to.clone(), File { created: event.ended, ..*file });
                }
            }
            Call::Unlink(name) => drop(self.files.remove(name)),
            _ => {}
        }
    }

    /// The second name of a log, if it has one, and what is known of the file by that.
    fn second_name(&self, name: &str) -> Option<(String, &File)> {
        let second = format!("{}.blob", name.strip_suffix(".wal")?);
        self.files.get(&second).map(|file| (second, file))
    }

    fn newest_manifest(&self) -> Option<(&String, &File)> {
        let manifests = self.files.iter().filter(|(name, _)| name.ends_with(".manifest"));
        manifests.max_by_key(|(_, file)| file.created)
    }

    fn renames_are_synced(&self) -> Result<(), String> {
        if self.renamed >= self.names_synced && self.renamed > 0 {
            return Err("the directory was not synced behind the last rename".to_owned());
        }
        Ok(())
    }

    fn is_synced(&self, name: &str, file: &File) -> Result<(), String> {
        is_written(name, file)?;
        if file.created >= self.names_synced {
            return Err(format!("the name of {name} was not synced"));
        }
        Ok(())
    }
}

fn is_written(name: &str, file: &File) -> Result<(), String> {
    if file.appended > 0 && file.appended >= file.synced {
        return Err(format!("{name} was not synced behind its last byte"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::trace::parse;

    /// What a store does from its creation to an acknowledged write, a flush and its end.
    const GOOD: &[&str] = &[
        "create 1.manifest",
        "append 1.manifest",
        "sync 1.manifest",
        "create 2.tmp",
        "append 2.tmp",
        "sync 2.tmp",
        "sync /",
        "rename 2.tmp CURRENT",
        "sync /",
        "create 3.wal",
        "append 3.wal",
        "sync 3.wal",
        "sync /",
        "append 3.wal",
        "sync 3.wal",
        "ack 0 1",
        "create 4.wal",
        "append 4.wal",
        "create 5.sst",
        "append 5.sst",
        "sync 5.sst",
        "sync /",
        "append 1.manifest",
        "sync 1.manifest",
        "unlink 3.wal",
        "append 4.wal",
        "sync 4.wal",
        "ack 0 2",
    ];

    fn trace(steps: &[&str]) -> Vec<Event> {
        let line = |step: &&str| {
            let (what, rest) = step.split_once(' ').unwrap();
            let path = format!("/d/{}", rest.trim_start_matches('/'));
            let path = path.trim_end_matches('/');
            match what {
                "create" => format!("7 openat(AT, \"{path}\", O_CREAT|O_EXCL, 0666) = 3<{path}>\n"),
                "append" => format!("7 write(3<{path}>, \"x\", 1) = 1\n"),
                "sync" => format!("7 fsync(3<{path}>) = 0\n"),
                "lengthen" => format!("7 ftruncate(3<{path}>, 4711) = 0\n"),
                "rename" => "7 rename(\"/d/2.tmp\", \"/d/CURRENT\") = 0\n".to_owned(),
                "link" => format!(
                    "7 linkat(AT, \"{path}\", AT, \"{}blob\", 0) = 0\n",
                    path.trim_end_matches("wal")
                ),
                "unlink" => format!("7 unlink(\"{path}\") = 0\n"),
                _ => format!("7 writev(1<pipe:[1]>, [{{iov_base=\"ack {rest}\\n\"}}], 1) = 8\n"),
            }
        };
        parse(&steps.iter().map(line).collect::<String>()).unwrap()
    }

    fn is_good(steps: &[&str]) -> Result<u64, String> {
        check(Path::new("/d"), &trace(steps))
    }

    #[test]
    fn what_the_engine_does_keeps_the_rules() {
        assert_eq!(is_good(GOOD), Ok(GOOD.len() as u64));
    }

    #[test]
    fn no_sync_may_be_left_out() {
        for (index, step) in GOOD.iter().enumerate() {
            if step.starts_with("sync") {
                let mut steps = GOOD.to_vec();
                steps.remove(index);
                // What the manifest says of a table only the replay can see. The sync behind the
                // rename and the first one of the log are done again before anything relies on
                // them.
                let may_go = step.ends_with(".sst") || index == 8 || index == 11;
                assert_eq!(is_good(&steps).is_ok(), may_go, "{index}: {step}");
            }
        }
    }

    #[test]
    fn a_log_that_was_created_ahead_of_need_counts_from_its_first_byte() {
        let ahead = [&GOOD[..13], &["create 6.wal"], &GOOD[13..16]].concat();
        assert_eq!((ahead[16], is_good(&ahead)), ("ack 0 1", Ok(17)));
        let begun = [&ahead[..], &["append 6.wal", "sync 6.wal", "ack 0 2"]].concat();
        assert!(is_good(&begun).unwrap_err().contains("the name of 6.wal"));
        let synced = [&begun[..19], &["sync /", "ack 0 2"]].concat();
        assert_eq!(is_good(&synced), Ok(21));
    }

    #[test]
    fn a_log_goes_no_sooner_than_the_manifest_says() {
        let mut steps = GOOD.to_vec();
        steps.swap(23, 24);
        assert!(is_good(&steps).unwrap_err().contains("no manifest was synced"));
        let steps = [&GOOD[..24], &["unlink 1.manifest"]].concat();
        assert!(is_good(&steps).unwrap_err().contains("in force"));
    }

    #[test]
    fn a_log_keeps_one_durable_name() {
        let linked = [&GOOD[..24], &["link 3.wal", "sync /", "unlink 3.wal"]].concat();
        assert_eq!(is_good(&linked), Ok(27));
        let unsynced = [&linked[..25], &linked[26..]].concat();
        assert!(is_good(&unsynced).unwrap_err().contains("the name of 3.blob was not synced"));
        let early = [&GOOD[..14], &["link 3.wal"]].concat();
        assert!(is_good(&early).unwrap_err().contains("3.wal was not synced"));
        let table = [GOOD, &["link 5.sst"]].concat();
        assert!(is_good(&table).unwrap_err().contains("only a log"));
    }

    #[test]
    fn only_segments_of_the_log_change_their_length() {
        let longer = [&GOOD[..14], &["lengthen 3.wal"], &GOOD[14..]].concat();
        assert_eq!(is_good(&longer), Ok(GOOD.len() as u64 + 1));
        let steps = [GOOD, &["lengthen 5.sst"]].concat();
        assert!(is_good(&steps).unwrap_err().contains("only a segment"));
    }

    #[test]
    fn a_table_is_never_written_again() {
        let steps = [GOOD, &["append 5.sst"]].concat();
        assert!(is_good(&steps).unwrap_err().contains("written again"));
        assert!(is_good(&["append 9.wal"]).is_err(), "a file that was there before");
    }

    #[test]
    fn a_sync_covers_what_had_ended_when_it_began() {
        let mut events = trace(GOOD);
        // The sync of the log begins before the last append to it has ended.
        events[14].began = events[13].began;
        assert!(check(Path::new("/d"), &events).is_err());
    }
}
