//! `milad run`: puts the rooms together and waits for the end.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::capture::source_spec::{SourceSpec, SourceSpecError};
use crate::capture::supervisor::Supervisor;
use crate::config::Config;
use crate::model::{Bundle, LoadReport, Model};
use crate::pipeline::{self, Account, capture::Ended, publish::Publisher};
use crate::publish::socket::{self, ListeningSocket};
use crate::publish::{Limits, Server};
use crate::pulse::Pulses;
use crate::service::sockets::{self, Passed, Units};
use crate::service::{notify, reload, signals, status, status::Status, watchdog::Watchdog};
use crate::settings::{Refused, RunArgs, Settings};
use crate::stop::Stop;
use crate::telemetry::{Health, Metrics, http};
use crate::view::View;

/// How often `systemctl status` gets a new line.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// Runs the daemon until its source ends or it is told to stop.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    crate::logging::start();
    let Passed { results, metrics: metrics_listener } = sockets::passed()?;
    if let Err(reason) = milad_kernels::cpu::forced() {
        return Err(Refused(reason).into());
    }
    let config = args.configuration()?;
    let settings = Settings::resolve(&config)?;
    let bundle = Bundle::load(&settings.bundle)?;
    let model = bundle.into_model(settings.network_threads)?;
    log_model(&model);

    let stop = Stop::new().context("no descriptor for the stop switch")?;
    let metrics = Metrics::new();
    let health = Arc::new(Health::default());
    let interval = Arc::new(AtomicU32::new(config.keyframe.interval.unwrap_or(model.spec.keyframe_interval)));
    metrics.model_info(&model.spec.name, &model.spec.sha256);
    metrics.float_nodes(model.report.float_nodes.len());
    metrics.keyframe_interval(interval.load(Ordering::Relaxed));

    let passed_some = results.is_some();
    let listener: ListeningSocket = match results {
        Some(passed) => passed.into(),
        None => socket::bind(&settings.socket_path()?, settings.socket_mode, Some(settings.socket_group))?,
    };
    let results_path = listener.address();
    let at = metrics_listener.as_ref().and_then(|passed| passed.local_addr().ok());
    let units = Units::of_this_process();
    for key in sockets::ignored(&config, passed_some.then_some(results_path.as_path()), at, &units) {
        log::warn!("{key}");
    }
    let off = config.metrics.listen == "off";
    let metrics_listener = match metrics_listener {
        Some(passed) if off => {
            turn_away(passed, &stop)?;
            None
        }
        Some(passed) => Some(passed),
        None if passed_some => {
            if !off {
                log::warn!("no metrics socket was passed: metrics are off (is {} running?)", units.metrics);
            }
            None
        }
        None => bind_metrics(&config)?,
    };
    let metrics_address = metrics_listener
        .map(|listener| serve_metrics(listener, &metrics, &health, view(&config, &results_path), &stop));
    let metrics_address = metrics_address.transpose()?;
    if config.view.enabled && metrics_address.is_none() {
        log::warn!("there is no live view: it is served beside the metrics, and those are off");
    }
    signals::handle(stop.clone(), reload::reloader(args.clone(), config.clone(), interval.clone(), metrics.clone()))
        .context("signals can't be handled")?;

    let source: SourceSpec = settings.source.parse().map_err(|error: SourceSpecError| Refused(error.to_string()))?;
    let supervisor = Supervisor::new(source, settings.request.clone());
    let account = Arc::new(Account::new(metrics.clone()));
    let server = Server::new(listener, Limits::default()).context("results socket")?.with_metrics(metrics.clone());
    let publisher =
        Publisher { server, health: health.clone(), intrinsics: config.camera.intrinsics, interval: interval.clone() };
    let options = pipeline::Options {
        synchronous: settings.synchronous,
        interval,
        frames: args.frames,
        prepare: settings.prepare.clone(),
        threads: config.threads.clone(),
    };

    announce(&settings, &model, &results_path, metrics_address, config.view.enabled);
    health.on_camera(|camera| notify::status(&status::of_camera(camera)));
    let pulses = Pulses::default();
    let mut watchdog = Watchdog::new(pulses.clone(), health.clone());
    notify::ready(&format!("serving {}, waiting for the first frame", settings.source));
    let parts = pipeline::Parts { model, supervisor, publisher, account: account.clone(), pulses, stop: stop.clone() };
    let running = pipeline::start(parts, options).context("the stages can't be started")?;
    let mut status = Status::new(account.clone(), health.clone());
    let mut status_due = Instant::now() + STATUS_EVERY;
    while !stop.wait(watchdog.pause(status_due.saturating_duration_since(Instant::now()))) {
        watchdog.feed();
        if Instant::now() >= status_due {
            status_due += STATUS_EVERY;
            notify::status(&status.line());
        }
    }
    notify::stopping();
    let ended = running.wait(&stop);
    log::info!("account: {}", account.summary());
    verdict(ended)
}

/// What the program ends with: only what another configuration can heal is a refusal.
pub fn verdict(ended: Ended) -> anyhow::Result<()> {
    match ended {
        Ended::Finished | Ended::Stopped => Ok(()),
        Ended::Unusable(reason) => Err(Refused(reason).into()),
        Ended::Failed => Err(anyhow!("a stage failed; its message is above")),
    }
}

fn log_model(model: &Model) {
    let (spec, report) = (&model.spec, &model.report);
    log::info!(
        "bundle {} ({}…), trained on {}: {}",
        spec.name,
        spec.sha256.get(..12).unwrap_or(&spec.sha256),
        spec.trained_on,
        networks(report)
    );
    for node in &report.float_nodes {
        log::info!("in float though quantised: {node}");
    }
}

/// The networks in one line: what they cost, and what could be better.
pub fn networks(report: &LoadReport) -> String {
    let mmac = |macs: u64| macs as f64 * 1e-6;
    let float = match report.float_nodes.len() {
        0 => String::new(),
        1 => "; 1 quantised node runs in float".into(),
        count => format!("; {count} quantised nodes run in float"),
    };
    format!(
        "slow {:.1} MMAC, fast {:.1} MMAC (attention {:.1}, kernel {}), {:.1} MMAC of them in integers (kernel {}), loaded in {} ms{float}",
        mmac(report.macs_slow),
        mmac(report.macs_fast),
        mmac(report.macs_ila),
        report.kernel,
        mmac(report.integer.macs),
        report.integer.kernel,
        report.loading.as_millis()
    )
}

/// Binds the metrics endpoint, where one is wanted.
fn bind_metrics(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    if config.metrics.listen == "off" {
        return Ok(None);
    }
    let wanted: SocketAddr = config.metrics.listen.parse().context("metrics.listen")?;
    TcpListener::bind(wanted).map(Some).map_err(|error| {
        let advice = "choose another with --metrics ADDRESS:PORT, or --metrics off";
        anyhow!("metrics can't be served on {wanted}: {error}; {advice}")
    })
}

/// Serves nothing on a socket that stays open all the same, because it is the service manager's. Left alone it would let
/// connections wait for ever, and they would start the service again once it was stopped.
fn turn_away(listener: TcpListener, stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let turn_away = move || {
        if let Err(error) = http::turn_away(listener, &stop) {
            log::error!("connections to the metrics' socket are no longer closed: {error}");
        }
    };
    std::thread::Builder::new().name("milad-metrics".to_owned()).spawn(turn_away).context("metrics thread")?;
    Ok(())
}

/// Serves metrics from now on. Returns where.
fn serve_metrics(
    listener: TcpListener,
    metrics: &Metrics,
    health: &Arc<Health>,
    view: Option<View>,
    stop: &Stop,
) -> anyhow::Result<SocketAddr> {
    let address = listener.local_addr().context("metrics address")?;
    let (metrics, health, stop) = (metrics.clone(), health.clone(), stop.clone());
    let serve = move || {
        if let Err(error) = http::serve(listener, &metrics, &health, view.as_ref(), &stop) {
            log::error!("metrics are no longer served: {error}");
        }
    };
    std::thread::Builder::new().name("milad-metrics".to_owned()).spawn(serve).context("metrics thread")?;
    Ok(address)
}

/// The live view, where one is wanted. It reads the results socket like any client.
fn view(config: &Config, results: &Path) -> Option<View> {
    let wanted = &config.view;
    wanted.enabled.then(|| View::new(results.to_owned(), wanted.allow_remote, wanted.token.clone()))
}

/// Tells the person at the terminal what plays and where to read it.
fn announce(settings: &Settings, model: &Model, results: &Path, metrics: Option<SocketAddr>, view: bool) {
    if settings.source_was_chosen_here {
        log::info!("no source is configured: playing {}", settings.source);
    }
    // A terminal that is gone is no reason to end.
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    let tasks: Vec<_> = model.spec.tasks.iter().map(|task| task.name.as_str()).collect();
    say(format!("playing  {} with bundle {} ({})", settings.source, model.spec.name, tasks.join(", ")));
    say(format!("results  nc -U {}", results.display()));
    say(format!("         milad watch --socket {}", results.display()));
    match metrics {
        Some(address) => say(format!("metrics  http://{address}/metrics")),
        None => say("metrics  off".to_owned()),
    }
    if let (true, Some(address)) = (view, metrics) {
        say(format!("view     http://{address}/"));
    }
}
