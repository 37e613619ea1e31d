//! The stores that workloads begin with: loaded once, copied for each.
//!
//! Most workloads begin with a store that has every key, and loading takes longer than most of what
//! is timed behind it. So a store is loaded once a round, in a process of its own that settles and
//! closes it, and stays as a template that nobody opens again: each workload gets a copy. One that
//! writes changes its copy alone, and one that runs by itself begins with the same as among others.
//!
//! An engine has one template at a time, and only while the workloads that follow are loaded alike.
//! Templates and copies are directories below the parent's, gone when their owner is dropped.
//!
//! The road not taken: giving the last workload the template itself. It would spare a copy, and
//! that workload would read files that lie on the disk and in memory otherwise than those of the
//! others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;
use crate::child::Load;
use crate::measure;
use crate::settings::Settings;

/// The loaded stores of a run.
pub struct Templates {
    root: PathBuf,
    held: BTreeMap<String, Template>,
}

struct Template {
    settings: Settings,
    dir: TempDir,
}

impl Templates {
    /// None yet; they will be made below `root`.
    pub fn new(root: &Path) -> Templates {
        Templates { root: root.to_owned(), held: BTreeMap::new() }
    }

    /// Puts a copy of the store of `engine`, loaded with `settings`, into the empty directory `to`.
    /// Where there is no such template, `load` makes it.
    pub fn copy(
        &mut self,
        engine: &str,
        settings: &Settings,
        to: &Path,
        load: impl FnOnce(&Load) -> Result<()>,
    ) -> Result<()> {
        if self.held.get(engine).is_some_and(|template| template.settings != *settings) {
            self.remove(engine);
        }
        if !self.held.contains_key(engine) {
            let dir = tempfile::Builder::new()
                .prefix(&format!("{engine}-loaded-"))
                .tempdir_in(&self.root)?;
            load(&Load {
                engine: engine.to_owned(),
                dir: dir.path().to_owned(),
                settings: settings.clone(),
            })?;
            let template = Template { settings: settings.clone(), dir };
            self.held.insert(engine.to_owned(), template);
        }
        let template = self.held.get(engine).ok_or("the template was just made")?;
        measure::copy_directory(template.dir.path(), to)
    }

    /// Removes the template of `engine`, where there is one.
    pub fn remove(&mut self, engine: &str) {
        drop(self.held.remove(engine));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directories(root: &Path) -> usize {
        fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn a_store_is_loaded_once_and_copied_for_each() {
        let (root, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut templates = Templates::new(root.path());
        let mut loads = 0;
        let mut copy = |templates: &mut Templates, engine: &str, keys: u64, to: &str| {
            let to = copies.path().join(to);
            fs::create_dir(&to).unwrap();
            let load = |load: &Load| {
                loads += 1;
                fs::create_dir(load.dir.join("deeper"))?;
                Ok(fs::write(load.dir.join("deeper/file"), format!("{engine} {keys}"))?)
            };
            templates.copy(engine, &Settings::small(keys), &to, load).unwrap();
            (fs::read_to_string(to.join("deeper/file")).unwrap(), loads)
        };
        assert_eq!(copy(&mut templates, "a", 1, "1"), ("a 1".to_owned(), 1));
        fs::write(copies.path().join("1/deeper/file"), "changed").unwrap();
        assert_eq!(copy(&mut templates, "a", 1, "2"), ("a 1".to_owned(), 1));
        assert_eq!(copy(&mut templates, "b", 1, "3"), ("b 1".to_owned(), 2));
        assert_eq!(directories(root.path()), 2);
        // Other settings take its place.
        assert_eq!(copy(&mut templates, "a", 2, "4"), ("a 2".to_owned(), 3));
        assert_eq!(directories(root.path()), 2);
        templates.remove("a");
        templates.remove("a");
        assert_eq!(directories(root.path()), 1);
        assert_eq!(copy(&mut templates, "a", 2, "5"), ("a 2".to_owned(), 4));
        drop(templates);
        assert_eq!(directories(root.path()), 0);
    }

    #[test]
    fn a_load_that_fails_leaves_nothing() {
        let (root, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut templates = Templates::new(root.path());
        let copied = templates.copy("a", &Settings::small(1), to.path(), |load| {
            fs::write(load.dir.join("half"), "of it")?;
            Err("the disk is full".into())
        });
        assert_eq!(copied.unwrap_err().to_string(), "the disk is full");
        assert_eq!((directories(root.path()), directories(to.path())), (0, 0));
    }
}
