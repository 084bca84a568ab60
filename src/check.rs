//! `milad check`: everything that `milad run` would do before the first frame, told instead of done.

use anyhow::Context;

use crate::capture::source_spec::{SourceSpec, SourceSpecError};
use crate::capture::{self, Encoding};
use crate::model::Bundle;
use crate::prepare::Prepare;
use crate::publish::{SocketError, socket};
use crate::settings::{Refused, RunArgs, Settings};
use crate::stop::Stop;

/// Flags of `milad check`: those of `milad run`, and how far to go.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Read and check the configuration alone; load and open nothing. What `systemctl reload` does first
    #[arg(long)]
    configuration_only: bool,
}

/// Prints what would be negotiated and run. Fails like `milad run` would.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Args { run: args, configuration_only } = args;
    crate::logging::start();
    milad_kernels::cpu::forced().map_err(Refused)?;
    let config = args.configuration()?;
    let settings = Settings::resolve(&config)?;
    match &args.config {
        Some(path) => println!("configuration  {}: accepted", path.display()),
        None => println!("configuration  accepted"),
    }
    if *configuration_only {
        return Ok(());
    }

    let model = Bundle::load(&settings.bundle)?.into_model(settings.network_threads)?;
    let spec = &model.spec;
    println!("bundle         {} (sha256 {}), trained on {}", spec.name, spec.sha256, spec.trained_on);
    println!("networks       {}", crate::run::networks(&model.report));
    for task in &spec.tasks {
        println!("task           {} {}×{}", task.name, task.width, task.height);
    }
    let interval = config.keyframe.interval.unwrap_or(spec.keyframe_interval);
    let mode = if settings.synchronous { "synchronous" } else { "asynchronous" };
    println!("keyframes      every {interval} frames, {mode}");

    // A configuration is checked beside the daemon that is to take it over: its socket is no fault.
    let path = settings.socket_path()?;
    let beside = match socket::look(&path) {
        Ok(()) => "",
        Err(SocketError::Live(_)) => " (in use by a running program, for now)",
        Err(error) => return Err(error.into()),
    };
    let source: SourceSpec = settings.source.parse().map_err(|error: SourceSpecError| Refused(error.to_string()))?;
    let stop = Stop::new().context("no descriptor for the stop switch")?;
    let source = capture::open(&source, &settings.request, &stop).with_context(|| settings.source.clone())?;
    let camera = source.camera();
    let format = &camera.format;
    println!("source         {} ({})", settings.source, camera.name);
    println!("granted        {} {}×{}, {}", camera.format_name, format.width, format.height, rate(camera.interval_ns));
    if let Encoding::Raw(_) = format.encoding {
        println!("colour         {:?}, {:?} range", format.colour.matrix, format.colour.range);
    }
    Prepare::new(&camera, &spec.input, &settings.prepare).map_err(Refused)?;
    println!("results        {}{beside}", path.display());
    println!("metrics        {}", config.metrics.listen);
    Ok(())
}

fn rate(interval_ns: u64) -> String {
    if interval_ns == 0 {
        return "no stated rate".to_owned();
    }
    format!("{:.2} frames/s", 1e9 / interval_ns as f64)
}
