//! Where a change of a file shows: in the folder of the file, and in the folder of every link on the way.
//!
//! A `ConfigMap` changes by one rename of the link `..data`, and no event names the file.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Links that are followed for one file, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Folders to watch, and the names there that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Folders that are there.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Files and links in them, what is missing on the way, and the folders themselves.
    pub(super) names: BTreeSet<PathBuf>,
    /// Folders of which all names matter.
    pub(super) listed: BTreeSet<PathBuf>,
}

impl Places {
    /// The places of these files.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let mut places = Self::default();
        for file in files {
            let mut next = std::path::absolute(file).ok();
            for _ in 0..MAX_LINKS {
                let Some(path) = next else { break };
                next = places.add(&path);
                if next.is_none() && path.is_dir() {
                    places.listed.insert(path);
                }
            }
        }
        places.folders.extend(places.listed.iter().cloned());
        let folders = places.folders.iter().cloned();
        places.names.extend(folders);
        places
    }

    /// Adds the first link on the way to a file, and gives the path behind it; or adds the file, or what is
    /// missing on the way.
    fn add(&mut self, path: &Path) -> Option<PathBuf> {
        let mut at = PathBuf::new();
        let mut parts = path.components();
        let mut beyond = None;
        for part in parts.by_ref() {
            at.push(part);
            if !matches!(part, Component::Normal(_)) {
                continue;
            }
            match at.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    beyond = std::fs::read_link(&at).ok();
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let folder = at.parent()?.to_owned();
        let beyond = beyond.map(|target| folder.join(target).join(parts.as_path()));
        self.folders.insert(folder);
        self.names.insert(at);
        beyond
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..1")).unwrap();
        std::fs::write(root.join("..1/a.yaml"), "").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let places = Places::of([root.join("a.yaml").as_path()].into_iter());
        let names = ["a.yaml", "..data", "..1/a.yaml", "..1"].map(|name| root.join(name));
        assert_eq!(places.folders, BTreeSet::from([root.clone(), root.join("..1")]));
        assert_eq!(places.names, names.into_iter().chain([root]).collect());
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let places = Places::of([root.join("b/c/a.yaml").as_path()].into_iter());
        assert_eq!(places.folders, BTreeSet::from([root.clone()]));
        assert_eq!(places.names, BTreeSet::from([root.join("b"), root]));
    }

    #[test]
    fn all_that_is_in_a_folder_of_samples_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let samples = root.join("samples");
        std::fs::create_dir(&samples).unwrap();
        let places = Places::of([samples.as_path()].into_iter());
        assert_eq!(places.folders, BTreeSet::from([root, samples.clone()]));
        assert_eq!(places.listed, BTreeSet::from([samples]));
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let places = Places::of([root.join("a").as_path()].into_iter());
        assert_eq!(places.folders, BTreeSet::from([root]));
    }
}
