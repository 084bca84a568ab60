//! Sockets that the service manager passes: `results` and `metrics`, by the names in the `.socket` units.
//!
//! A socket under another name, or of another kind, is refused: a daemon that quietly binds its own beside it would be
//! looked for in the wrong place.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::config::{self, Config};
use crate::settings::Refused;

/// What was passed.
#[derive(Debug, Default)]
pub struct Passed {
    /// `FileDescriptorName=results`: a listening Unix stream socket.
    pub results: Option<UnixListener>,
    /// `FileDescriptorName=metrics`: a listening TCP socket.
    pub metrics: Option<TcpListener>,
}

/// The sockets passed to this process, each checked. To be called once, before anything else opens descriptors by number.
pub fn passed() -> Result<Passed, Refused> {
    let found = sd_notify::listen_fds_with_names().map_err(|error| {
        Refused(format!("sockets were passed, but $LISTEN_FDS and $LISTEN_FDNAMES do not fit together: {error}"))
    })?;
    let mut passed = Passed::default();
    for (fd, name) in found {
        // SAFETY: the service manager opened this descriptor for this process ($LISTEN_PID is checked), and nobody else
        // here has taken it: this is the only place that looks at $LISTEN_FDS, and it is called once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        passed.take(&name, fd)?;
    }
    Ok(passed)
}

/// The units that pass this process its sockets: those of `milad.service`, or of the instance that this is.
#[derive(Debug, PartialEq, Eq)]
pub struct Units {
    /// `milad.socket`, or `milad@front.socket`.
    pub results: String,
    /// `milad-metrics.socket`, or `milad-metrics@front.socket`.
    pub metrics: String,
}

impl Units {
    /// By the control group that the service manager put this process in, which is called after its unit.
    pub fn of_this_process() -> Units {
        Units::of(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// `groups` are lines as `/proc/PID/cgroup` has them. What is called otherwise counts as `milad.service`.
    fn of(groups: &str) -> Units {
        let units = groups.lines().filter_map(|line| line.rsplit('/').next()?.strip_suffix(".service"));
        let instance = units.filter_map(|unit| unit.strip_prefix("milad@")).next();
        let suffix = instance.map(|name| format!("@{name}")).unwrap_or_default();
        Units { results: format!("milad{suffix}.socket"), metrics: format!("milad-metrics{suffix}.socket") }
    }
}

/// What the configuration says of sockets in vain, since others were passed: a line for each key, with what to do.
pub fn ignored(config: &Config, results: Option<&Path>, metrics: Option<SocketAddr>, units: &Units) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(passed), Some(wanted)) = (results, &config.results.socket)
        && passed != wanted
    {
        lines.push(format!(
            "results.socket = {wanted:?} is ignored: results go out on the socket that was passed, {}; set ListenStream= in its \
             .socket unit instead (systemctl edit {}), or remove the key",
            passed.display(),
            units.results
        ));
    }
    let wanted = &config.metrics.listen;
    if let Some(passed) = metrics {
        if wanted == "off" {
            lines.push(format!(
                "metrics.listen = \"off\": nothing is served on the socket that was passed, {passed}; it stays open, and connections \
                 are closed, until its .socket unit is masked (systemctl mask --now {}) and the daemon restarted",
                units.metrics
            ));
        } else if *wanted != config::Metrics::default().listen && wanted.parse() != Ok(passed) {
            lines.push(format!(
                "metrics.listen = {wanted:?} is ignored: metrics are served on the socket that was passed, {passed}; set \
                 ListenStream= in its .socket unit instead (systemctl edit {}), or remove the key",
                units.metrics
            ));
        }
    }
    lines
}

impl Passed {
    fn take(&mut self, name: &str, fd: OwnedFd) -> Result<(), Refused> {
        let kind = Kind::of(&fd);
        let wrong = |expected: Kind| {
            Err(Refused(format!(
                "the socket passed as {name:?} is {kind}; expected {expected}: correct its .socket unit"
            )))
        };
        let twice =
            || Err(Refused(format!("two sockets were passed as {name:?}, expected one: correct the .socket unit")));
        match name {
            "results" if kind != Kind::UnixStream => wrong(Kind::UnixStream),
            "results" if self.results.is_some() => twice(),
            "results" => {
                self.results = Some(UnixListener::from(fd));
                Ok(())
            }
            "metrics" if kind != Kind::Tcp => wrong(Kind::Tcp),
            "metrics" if self.metrics.is_some() => twice(),
            "metrics" => {
                self.metrics = Some(TcpListener::from(fd));
                Ok(())
            }
            other => Err(Refused(format!(
                "a socket was passed as {other:?}, expected \"results\" or \"metrics\": set FileDescriptorName= in its .socket unit"
            ))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    UnixStream,
    Tcp,
    Other,
}

impl Kind {
    fn of(fd: &OwnedFd) -> Kind {
        let listens = sockopt::socket_acceptconn(fd).unwrap_or(false);
        let stream = sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM);
        match sockopt::socket_domain(fd) {
            Ok(AddressFamily::UNIX) if listens && stream => Kind::UnixStream,
            Ok(AddressFamily::INET | AddressFamily::INET6) if listens && stream => Kind::Tcp,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::UnixStream => "a listening Unix stream socket",
            Kind::Tcp => "a listening TCP socket",
            Kind::Other => "no listening stream socket of the Unix or internet family",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    fn tcp() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn sockets_are_taken_by_name() {
        let mut passed = Passed::default();
        let path = std::env::temp_dir().join(format!("milad-passed-{}.sock", std::process::id()));
        passed.take("results", UnixListener::bind(&path).unwrap().into()).unwrap();
        passed.take("metrics", tcp()).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(passed.results.is_some() && passed.metrics.is_some());
    }

    #[test]
    fn a_wrong_name_or_kind_is_refused_in_words() {
        let refusal = |name: &str, fd: OwnedFd| Passed::default().take(name, fd).unwrap_err().to_string();
        assert!(refusal("milad.socket", tcp()).contains("expected \"results\" or \"metrics\""));
        let said = refusal("results", tcp());
        assert!(said.contains("a listening TCP socket; expected a listening Unix stream socket"), "{said}");
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(refusal("metrics", datagrams.into()).contains("expected a listening TCP socket"));
        // Connected, not listening: Accept=yes in the unit.
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(refusal("results", one.into()).contains("no listening stream socket"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(refusal("results", file.into()).contains("no listening stream socket"));
    }

    #[test]
    fn keys_that_passed_sockets_overrule_are_told() {
        let told = |text: &str| {
            let config = Config::parse(text, Path::new("test")).unwrap();
            let passed = Path::new("/run/milad/results.sock");
            ignored(&config, Some(passed), Some("127.0.0.1:9465".parse().unwrap()), &Units::of(""))
        };
        assert_eq!(told(""), [""; 0], "defaults are nobody's wish");
        let same = "[results]\nsocket = \"/run/milad/results.sock\"\n[metrics]\nlisten = \"127.0.0.1:9465\"";
        assert_eq!(told(same), [""; 0]);
        let lines = told("[results]\nsocket = \"/tmp/r\"\n[metrics]\nlisten = \"0.0.0.0:9465\"");
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("results.socket = \"/tmp/r\" is ignored") && lines[0].contains("edit milad.socket)")
        );
        assert!(lines[1].starts_with("metrics.listen = \"0.0.0.0:9465\" is ignored"), "{}", lines[1]);
        let off = told("[metrics]\nlisten = \"off\"");
        assert!(off.len() == 1 && off[0].contains("nothing is served") && off[0].contains("mask --now"), "{off:?}");
        let config = Config::parse(same, Path::new("test")).unwrap();
        assert_eq!(ignored(&config, None, None, &Units::of("")), [""; 0], "without passed sockets the keys rule");
    }

    #[test]
    fn an_instance_is_told_of_its_own_units() {
        let units = |results: &str, metrics: &str| Units { results: results.into(), metrics: metrics.into() };
        let front = units("milad@front-1.socket", "milad-metrics@front-1.socket");
        let path = "/system.slice/system-milad.slice/milad@front-1.service\n";
        assert_eq!(Units::of(&format!("0::{path}")), front);
        assert_eq!(
            Units::of(&format!("12:pids:/user.slice\n1:name=systemd:{path}")),
            front,
            "control groups of version 1"
        );
        let plain = units("milad.socket", "milad-metrics.socket");
        for other in ["", "0::/system.slice/milad.service\n", "0::/user.slice/session-3.scope\n", "0::/ssh@1.service\n"]
        {
            assert_eq!(Units::of(other), plain, "{other}");
        }
        let told = |listen: &str| {
            let text = format!("[results]\nsocket = \"/tmp/r\"\n[metrics]\nlisten = \"{listen}\"");
            let config = Config::parse(&text, Path::new("test")).unwrap();
            ignored(&config, Some(Path::new("/run/passed")), "127.0.0.1:9465".parse().ok(), &front).join("\n")
        };
        let said = told("0.0.0.0:9465");
        assert!(
            said.contains("edit milad@front-1.socket)") && said.contains("edit milad-metrics@front-1.socket)"),
            "{said}"
        );
        assert!(told("off").contains("mask --now milad-metrics@front-1.socket)"));
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let mut passed = Passed::default();
        passed.take("metrics", tcp()).unwrap();
        assert!(passed.take("metrics", tcp()).unwrap_err().to_string().contains("two sockets"));
    }
}
