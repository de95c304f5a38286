//! How much memory is left: of the container's limit, and of the machine.

use std::path::{Path, PathBuf};

/// The memory that can still be had, in bytes: of the container's limit and of the machine. None
/// where nothing says so (macOS).
pub fn left() -> Option<u64> {
    left_under(Path::new("/"))
}

/// The same, with the files of the kernel under `root`.
fn left_under(root: &Path) -> Option<u64> {
    let machine = machine(root);
    let groups = groups(root).into_iter().filter_map(|group| group.left());
    groups.chain(machine).min()
}

/// What the machine can still give.
fn machine(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// A control group and the names that its version gives its files.
struct Group {
    directory: PathBuf,
    limit: &'static str,
    usage: &'static str,
    reclaimable: &'static str,
}

impl Group {
    /// What is left of the group's limit, if it has one. Page cache that is not in use counts as
    /// left, since the kernel takes it back first.
    fn left(&self) -> Option<u64> {
        let number = |name| -> Option<u64> {
            std::fs::read_to_string(self.directory.join(name)).ok()?.trim().parse().ok()
        };
        let limit = number(self.limit)?;
        let usage = number(self.usage)?;
        let stat = std::fs::read_to_string(self.directory.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(name, _)| *name == self.reclaimable)
            .and_then(|(_, bytes)| bytes.parse().ok())
            .unwrap_or(0);
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
    }
}

/// The control groups that this process is in, from the innermost out, of either version.
fn groups(root: &Path) -> Vec<Group> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, limit, usage, reclaimable) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let usage = "memory.usage_in_bytes";
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes", usage, "total_inactive_file")
        } else {
            continue;
        };
        // In a container the path may be the host's; then only the mount itself is there.
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            let directory = root.join(mount).join(ancestor);
            groups.push(Group { directory, limit, usage, reclaimable });
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_counts_and_idle_page_cache_is_left() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:   5000 kB\n"),
                ("proc/self/cgroup", "0::/pod/xylem\n"),
                ("sys/fs/cgroup/pod/xylem/memory.max", "max\n"),
                ("sys/fs/cgroup/pod/xylem/memory.current", "100\n"),
                ("sys/fs/cgroup/pod/memory.max", "1000\n"),
                ("sys/fs/cgroup/pod/memory.current", "700\n"),
                ("sys/fs/cgroup/pod/memory.stat", "anon 300\ninactive_file 250\n"),
            ],
        );
        assert_eq!(left_under(root.path()), Some(550));
    }

    #[test]
    fn version_1_is_read_at_the_mount_where_the_path_is_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/self/cgroup", "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "400\n"),
            ],
        );
        assert_eq!(left_under(root.path()), Some(600));
    }

    #[test]
    fn without_a_limit_the_machine_counts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(left_under(root.path()), None);
        write(root.path(), &[("proc/meminfo", "MemAvailable: 5 kB\n")]);
        assert_eq!(left_under(root.path()), Some(5 * 1024));
    }
}
