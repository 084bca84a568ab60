//! What monitoring gets: text that Prometheus' own tools accept, over an HTTP server that nobody can hold up.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use milad::clock;
use milad::stop::Stop;
use milad::telemetry::http::{self, CONNECTIONS, Deadlines, HEAD_BYTES, Listener};
use milad::telemetry::{Cause, Health, Metrics, Stage};

/// A server on a free port of the loopback.
struct Rig {
    address: SocketAddr,
    metrics: Metrics,
    health: Arc<Health>,
    stop: Stop,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

fn start(
    listener: impl Into<Listener>,
    metrics: &Metrics,
    health: &Arc<Health>,
    stop: &Stop,
    deadlines: Deadlines,
) -> JoinHandle<std::io::Result<()>> {
    let (listener, metrics, health, stop) = (listener.into(), metrics.clone(), health.clone(), stop.clone());
    std::thread::spawn(move || http::serve_within(listener, &metrics, &health, None, &stop, deadlines))
}

impl Rig {
    fn new() -> Rig {
        Rig::within(Deadlines::default())
    }

    /// With little patience, so that no test waits for long.
    fn impatient() -> Rig {
        Rig::within(Deadlines { exchange: Duration::from_millis(300), linger: Duration::from_millis(300) })
    }

    fn within(deadlines: Deadlines) -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, stop) = (Metrics::new(), Stop::new().unwrap());
        let health = Arc::new(Health::new(Duration::from_secs(60), Duration::from_secs(60)));
        let thread = Some(start(listener, &metrics, &health, &stop, deadlines));
        Rig { address, metrics, health, stop, thread }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read(&mut stream)
    }

    fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.set();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn read(stream: &mut impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// One value of each kind that there is.
fn stir(metrics: &Metrics) {
    metrics.captured();
    metrics.driver_gap(2);
    metrics.dropped(Stage::Fast, Cause::Replaced);
    Stage::ALL.into_iter().for_each(|stage| metrics.stage(stage, 0.012));
    metrics.latency(0.0214);
    metrics.keyframe_age(0.1667);
    metrics.published(clock::monotonic_ns());
    metrics.camera_up(true);
    metrics.model_info("street \"quoted\"", &"0".repeat(64));
}

fn promtool(text: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Some(mut child) = tool("promtool", spawned) else { return };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// A tool of Debian's package prometheus; may only be missing outside CI.
fn tool(name: &str, spawned: std::io::Result<Child>) -> Option<Child> {
    match spawned {
        Ok(child) => Some(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {name} is not installed (apt-get install prometheus)");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    let metrics = Metrics::new();
    let mut text = String::new();
    metrics.render(&mut text);
    promtool(&text);
    stir(&metrics);
    text.clear();
    metrics.render(&mut text);
    promtool(&text);
}

/// The names and labels of all samples, without their values.
fn series(text: &str) -> Vec<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn every_series_is_there_at_the_first_scrape_and_no_other_comes_later() {
    let rig = Rig::new();
    rig.metrics.model_info("street", "00");
    let first = rig.get("/metrics");
    let first = series(first.split_once("\r\n\r\n").unwrap().1);
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md")).unwrap();
    for name in first.iter().map(|s| s.split('{').next().unwrap()) {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let told = documented.contains(&format!("`{family}`")) || documented.contains(&format!("`{family}{{"));
        assert!(told, "{family} is not in docs/METRICS.md");
    }
    stir(&rig.metrics);
    rig.metrics.model_info("street", "00");
    let later = rig.get("/metrics");
    assert_eq!(series(later.split_once("\r\n\r\n").unwrap().1), first);
    assert_eq!(first.iter().filter(|s| s.starts_with("milad_frames_dropped_total{")).count(), 20);
}

#[test]
fn health_and_readiness_tell_the_pipelines_state() {
    let rig = Rig::new();
    assert!(rig.get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let early = rig.get("/readyz");
    assert!(early.starts_with("HTTP/1.1 503 ") && early.ends_with("\r\n\r\nno frame published yet\n"), "{early}");
    rig.health.published(clock::monotonic_ns());
    assert!(rig.get("/readyz").ends_with("no keyframe finished yet\n"));
    rig.health.keyframe(clock::monotonic_ns());
    assert!(rig.get("/readyz").ends_with("\r\n\r\nok\n"));
    rig.health.set_limits(Duration::ZERO, Duration::ZERO);
    let stale = rig.get("/readyz");
    assert!(stale.starts_with("HTTP/1.1 503 ") && stale.contains("newest frame published"), "{stale}");
    // The machine has been up for more than a minute.
    rig.health.progress(1);
    assert!(rig.get("/healthz").starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_unix_socket_serves_the_same() {
    let path = std::env::temp_dir().join(format!("milad-test-{}-http", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let (metrics, stop) = (Metrics::new(), Stop::new().unwrap());
    let health = Arc::new(Health::new(Duration::ZERO, Duration::ZERO));
    let thread = start(UnixListener::bind(&path).unwrap(), &metrics, &health, &stop, Deadlines::default());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"HEAD /metrics HTTP/1.0\r\n\r\n").unwrap();
    let head = read(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    stop.set();
    thread.join().unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn slow_bytes_are_served_and_do_not_hold_up_others() {
    let rig = Rig::new();
    let mut slow = rig.connect();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r" {
        slow.write_all(&[*byte]).unwrap();
        assert!(rig.get("/healthz").starts_with("HTTP/1.1 200 "));
    }
    slow.write_all(b"\n").unwrap();
    assert!(read(&mut slow).ends_with("\r\n\r\nok\n"));
}

#[test]
fn a_head_that_never_ends_and_one_that_is_too_long_are_cut_off() {
    let rig = Rig::new();
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; HEAD_BYTES]].concat();
    assert!(rig.ask(&long).starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(rig.ask(many.as_bytes()).starts_with("HTTP/1.1 431 "));
    let rig = Rig::impatient();
    let mut half = rig.connect();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    assert!(read(&mut half).starts_with("HTTP/1.1 408 "));
    assert!(rig.get("/metrics").contains("\nmilad_http_refusals_total 1\n"), "it was counted");
}

#[test]
fn what_is_not_served_says_so() {
    let rig = Rig::new();
    assert!(rig.get("/").starts_with("HTTP/1.1 404 "));
    assert!(rig.get("/metrics/../etc/passwd").starts_with("HTTP/1.1 404 "));
    let post = rig.ask(b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    assert!(rig.ask(b"\x16\x03\x01\x00\xa5\x01\x00\x00").starts_with("HTTP/1.1 400 "));
    assert!(rig.ask(b"GET /metrics HTTP/3.0\r\n\r\n").starts_with("HTTP/1.1 "));
}

#[test]
fn idle_connections_do_not_lock_out_a_scraper_for_long() {
    let rig = Rig::impatient();
    // Twice as many as there is room for; they say nothing and their time runs out.
    let _idle: Vec<_> = (0..2 * CONNECTIONS).map(|_| rig.connect()).collect();
    assert!(rig.get("/metrics").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_scraper_that_hangs_up_is_forgotten() {
    let rig = Rig::new();
    for _ in 0..4 * CONNECTIONS {
        let mut stream = rig.connect();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    assert!(rig.get("/metrics").starts_with("HTTP/1.1 200 "));
}

/// Ends a program when the test does.
struct Running(Child, std::path::PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

#[test]
fn a_real_prometheus_scrapes_it() {
    let rig = Rig::new();
    stir(&rig.metrics);
    let folder = std::env::temp_dir().join(format!("milad-test-{}-prometheus", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!(
        "scrape_configs:\n- job_name: milad\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{}']\n",
        rig.address
    );
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    // Free a moment ago: the price of a program that can't tell which port it got.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spawned = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--log.level=error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Some(child) = tool("prometheus", spawned) else { return };
    let _running = Running(child, folder);

    let query = |what: &str| -> Option<serde_json::Value> {
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET /api/v1/query?query={what} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let answer: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
        answer["data"]["result"].as_array().filter(|found| !found.is_empty()).map(|found| found[0]["value"][1].clone())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let value = |what: &str| loop {
        if let Some(value) = query(what) {
            return value.as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "no {what} in a minute");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(value("up{job=\"milad\"}".replace('"', "%22").as_str()), "1");
    assert_eq!(value("milad_driver_gap_frames_total"), "2");
    assert_eq!(value("milad_frames_dropped_total{stage=%22fast%22,cause=%22replaced%22}"), "1");
    assert_eq!(value("histogram_quantile(1,milad_latency_seconds_bucket)"), "0.025");
    assert_eq!(value("milad_model_info"), "1");
    assert!(value("process_resident_memory_bytes").parse::<f64>().unwrap() > 1e6);
}
