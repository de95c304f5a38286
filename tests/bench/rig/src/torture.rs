//! `xylem torture` against three real brokers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use xylem_tests::kafka::Cluster;

/// What is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The `xylem` program.
    #[arg(long)]
    xylem: PathBuf,
    /// Passed on to `xylem torture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Starts the cluster, runs the torture, and ends as it ends.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start() else { anyhow::bail!("no Kafka is installed") };
    let mut torture = Command::new(&args.xylem);
    torture.args(["--log", "warn", "torture", "--brokers", cluster.client().bootstrap()]);
    for file in cluster.pid_files() {
        torture.arg("--broker-pid-file").arg(file);
    }
    let status = torture.args(&args.arguments).status()?;
    anyhow::ensure!(status.success(), "the torture ended with {status}");
    Ok(())
}
