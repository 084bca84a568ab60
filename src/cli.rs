//! The command line: what can be typed, and which room it leads to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::capture::{SourceError, devices};
use crate::config::{self, ConfigError};
use crate::publish::SocketError;
use crate::settings::{Refused, RunArgs};
use crate::{bench, check, eval, infer, run, scene, watch};

/// Dense predictions (segmentation, depth, surface normals) for every camera frame, at low latency.
///
/// A quantised slow network runs on keyframes, a fast network with inter-frame local attention on every frame.
#[derive(Debug, Parser)]
#[command(name = "milad", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon (the default): frames in, predictions out. Without a configuration and a camera it plays a rendered
    /// street
    Run(Box<RunArgs>),
    /// Reads the configuration, loads the bundle, opens the camera: prints what would run. Exit status 78: refused
    Check(Box<check::Args>),
    /// Shows results as they come: a screen in a terminal, plain lines elsewhere
    Watch(WatchArgs),
    /// Cameras with their formats, sizes, rates and stable names
    Devices(devices::Args),
    /// Runs a bundle on a clip and writes every output of every frame
    Infer(infer::Args),
    /// Compares a bundle's predictions with exact truth, and counts what they cost
    Eval(eval::Args),
    /// Times a bundle's networks, node by node
    Bench(bench::Args),
    /// Writes rendered clips with their exact truth
    Scene(scene::Args),
}

/// Flags of `milad watch`.
#[derive(Debug, Args)]
struct WatchArgs {
    /// The daemon's socket [default: the service's where there is one, else that of a daemon run by this user]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Pass the daemon's lines through as they are
    #[arg(long)]
    json: bool,
    /// Keep the stream with all maps in a new file; `--source clip:FILE` plays its pictures again
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Keep every result's maps in a folder: the camera and classes as PNG, numbers as .npy
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// End after N results
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
}

/// The table of commands and flags: what manual pages and completions are made of.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The daemon outlives its terminal, and `watch` has its own way of ending with its reader.
    if !matches!(cli.command, None | Some(Command::Run(_) | Command::Watch(_))) {
        end_quietly_with_the_reader();
    }
    let result = match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Watch(args)) => watch_results(args),
        Some(Command::Devices(args)) => devices::run(&args),
        Some(Command::Infer(args)) => infer::run(args),
        Some(Command::Eval(args)) => eval::run(args),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Scene(args)) => scene::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::logging::last_words(&told(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn watch_results(args: WatchArgs) -> anyhow::Result<()> {
    let stop = crate::stop::Stop::new()?;
    crate::service::signals::end(stop.clone())?;
    let WatchArgs { socket, json, record, save, frames } = args;
    watch::run(&watch::Options { socket, json, record, save, frames }, &stop)
}

/// `milad bench | head` ends when `head` does, like every tool.
fn end_quietly_with_the_reader() {
    // SAFETY: SIGPIPE's default action is set before any thread is started; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// An error with its causes, each said once: some messages carry the words of their cause already.
fn told(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

/// 78 for what only another configuration or bundle can heal, so that a service manager does not try again; else 1.
fn exit_code(error: &anyhow::Error) -> u8 {
    let refused = error.is::<ConfigError>()
        || error.is::<crate::model::BundleError>()
        || error.is::<Refused>()
        || matches!(error.downcast_ref(), Some(SourceError::Unusable(_)))
        || error.downcast_ref::<SocketError>().is_some_and(SocketError::is_final);
    if refused { config::EXIT_CODE } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_command_table_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_cause_is_said_once() {
        let missing = Config::load(std::path::Path::new("/nonexistent.toml")).unwrap_err();
        assert_eq!(told(&missing.into()).matches("os error").count(), 1);
        let error = anyhow::anyhow!("no room").context("can't start");
        assert_eq!(told(&error), "can't start: no room");
    }

    #[test]
    fn a_panic_has_the_service_started_again_and_a_refusal_has_not() {
        use crate::{pipeline::capture::Ended, run::verdict};
        assert!(verdict(Ended::Finished).is_ok() && verdict(Ended::Stopped).is_ok());
        assert_eq!(exit_code(&verdict(Ended::Failed).unwrap_err()), 1);
        assert_eq!(exit_code(&verdict(Ended::Unusable("no common format".to_owned())).unwrap_err()), 78);
    }

    #[test]
    fn run_is_the_default_command() {
        let cli = Cli::try_parse_from(["milad", "--source", "card:"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.source.as_deref(), Some("card:"));
    }
}
