//! A daemon of one's own, in a folder of its own, gone at the end of the test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tiny bundle of `tests/bundles`.
pub fn bundle(name: &str) -> PathBuf {
    root().join("tests/bundles").join(name)
}

/// The program under test, in the repository, without what the tester's own surroundings configure.
pub fn milad() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milad"));
    command.current_dir(root()).env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").env_remove("RUST_LOG");
    command
}

/// A new folder under the system's temporary one.
pub fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("milad-test-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// How a program ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

/// A running `milad run`.
pub struct Daemon {
    child: Child,
    folder: PathBuf,
}

impl Daemon {
    /// Starts it with these arguments beside a socket and a metrics port of its own, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Daemon {
        Daemon::start_in(folder(), arguments)
    }

    /// As [`Daemon::start`], in a folder that holds its files already.
    pub fn start_in(folder: PathBuf, arguments: &[&str]) -> Daemon {
        let log = |name| fs::File::create(folder.join(name)).unwrap();
        let child = milad()
            .arg("run")
            .args(["--socket", folder.join("results.sock").to_str().unwrap(), "--metrics", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap();
        let mut daemon = Daemon { child, folder };
        daemon.wait_until("the daemon listens", |daemon| daemon.stdout().contains("metrics "));
        daemon
    }

    /// Waits for a condition; fails, with the daemon's log, when the daemon ends or a generous limit is over.
    pub fn wait_until(&mut self, what: &str, condition: impl Fn(&Daemon) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            if let Some(status) = self.child.try_wait().unwrap()
                && !condition(self)
            {
                panic!("not until {what}: ended with {status}\n{}", self.stderr());
            }
            assert!(Instant::now() < limit, "never: {what}\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("results.sock")
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.folder.join("stdout")).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// Its standard input, for `pipe:`.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// A client that has asked for nothing.
    pub fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        BufReader::new(stream)
    }

    /// The body of a page of the metrics endpoint, after its status line was checked.
    pub fn get(&self, path: &str, status: u16) -> String {
        let stdout = self.stdout();
        let address = stdout.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended { status, stderr: self.stderr() };
            }
            assert!(Instant::now() < limit, "does not end\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and waits for that.
    pub fn stop(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The next line as JSON.
pub fn line(client: &mut impl BufRead) -> serde_json::Value {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

/// The next line of a type, others skipped.
pub fn line_of(client: &mut impl BufRead, kind: &str) -> serde_json::Value {
    loop {
        let line = line(client);
        if line["type"] == kind {
            return line;
        }
    }
}

/// The numbers of the closing line: `account: captured=60 published=60 …`.
pub fn account(stderr: &str, name: &str) -> u64 {
    let line = stderr.lines().rev().find(|line| line.contains("account: ")).expect(stderr);
    let entries = line.split_whitespace().filter_map(|entry| entry.split_once('='));
    // Drops carry their stage and cause: `dropped{fast,replaced}=3`.
    entries.filter(|(key, _)| key.split('{').next() == Some(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}
