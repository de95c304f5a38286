//! The copy that mutants are made of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Makes `tree` a copy of the working tree as it stands: what git tracks, and what it would.
///
/// What has not changed is not written, so that cargo does not compile it again.
pub(super) fn sources(root: &Path, tree: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = process::run_quietly(&mut list)?;
    let mut kept = BTreeSet::new();
    for name in listed.split_terminator('\0') {
        let (from, to) = (root.join(name), tree.join(name));
        // Tracked, but deleted since.
        let Ok(content) = fs::read(&from) else { continue };
        process::write_if_changed(&to, &content)?;
        fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        kept.insert(to);
    }
    remove_others(tree, &kept)
}

fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)
                .with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// Fills a fresh target folder with what is already compiled of the crates of others, which takes
/// most of the time: cargo knows them by version, not by place. Ours it compiles again, since
/// they lie elsewhere now.
pub(super) fn compiled(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    for part in ["build", "deps", ".fingerprint"] {
        folder(&from.join(part), &partial.join(part), part == "deps")?;
    }
    fs::rename(&partial, to).with_context(|| format!("cannot make `{}`", to.display()))
}

/// Copies a folder; without programs where told so, which are only ours and large.
fn folder(from: &Path, to: &Path, libraries_only: bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make `{}`", to.display()))?;
    for path in entries(from)? {
        let copy = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            folder(&path, &copy, libraries_only)?;
        } else if !libraries_only || path.extension().is_some_and(|extension| extension != "o") {
            fs::copy(&path, &copy).with_context(|| format!("cannot copy `{}`", path.display()))?;
            // By its time cargo tells whether it is current.
            let modified = fs::metadata(&path)?.modified()?;
            fs::File::options().append(true).open(&copy)?.set_modified(modified)?;
        }
    }
    Ok(())
}

/// What a folder holds; nothing where it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
