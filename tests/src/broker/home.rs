//! Prepares the folder, the ports and the environment of a broker node, and starts its processes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::certificates::Certificates;
use super::options::BrokerOptions;
use super::ports;

/// The folder of RabbitMQ's scripts, found when this crate was built.
const SBIN: Option<&str> = option_env!("ERGON_RABBITMQ_SBIN");

const MISSING: &str = "rabbitmq-server was not found when this crate was built: install the package \
    `rabbitmq-server`, or name the folder of its scripts in ERGON_RABBITMQ_SBIN, and build again";

/// The folder and the ports of a node.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) tls: Option<(u16, Certificates)>,
    /// The Erlang port mapper's, the node's for `rabbitmqctl`, and the first of `rabbitmqctl` itself.
    inner_ports: [u16; 3],
}

impl Home {
    /// Makes the folder with all files that a node reads at its start.
    ///
    /// # Panics
    /// Panics when `rabbitmq-server` is not installed.
    pub(super) fn make(options: &BrokerOptions) -> io::Result<Self> {
        assert!(SBIN.is_some(), "{MISSING}");
        let folder = TempDir::with_prefix("ergon-broker-")?.keep();
        let [port, tls_port, mapper, node, control] = ports::free();
        let tls = options.tls.then(|| (tls_port, Certificates::write(&folder)));
        let home = Self { folder, port, tls, inner_ports: [mapper, node, control] };
        home.fill(options)?;
        Ok(home)
    }

    fn fill(&self, options: &BrokerOptions) -> io::Result<()> {
        let tls = self.tls.as_ref().map(|(port, files)| (*port, files));
        fs::write(self.path("rabbitmq.conf"), options.conf_text(self.port, tls))?;
        fs::write(self.path("advanced.config"), options.advanced_text())?;
        fs::write(self.path("enabled_plugins"), "[].\n")?;
        let cookie = self.path(".erlang.cookie");
        fs::write(&cookie, format!("{:032X}", fastrand::u128(..)))?;
        fs::set_permissions(cookie, Permissions::from_mode(0o400))
    }

    /// The file or folder of this name in the node's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts the Erlang port mapper, so that the node does not start one that stays.
    pub(super) fn spawn_mapper(&self) -> io::Result<Child> {
        let mut command = Command::new("epmd");
        command.args(["-port", &self.inner_ports[0].to_string(), "-address", "127.0.0.1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn()
    }

    /// Starts the node; the process is the Erlang machine itself, alone in its group with what it starts.
    pub(super) fn spawn_node(&self) -> io::Result<Child> {
        let mut command = self.script("rabbitmq-server");
        let log = File::options().create(true).append(true).open(self.path("console"))?;
        command.env("detached", "1").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0).spawn()
    }

    /// A script of RabbitMQ in this node's environment, without the environment of the machine's own broker.
    pub(super) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(SBIN.expect(MISSING)).join(name));
        command.env_clear().current_dir(&self.folder);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LANG", "C.UTF-8").env("HOME", &self.folder);
        command.envs(self.ports_and_name()).envs(self.places());
        command
    }

    fn ports_and_name(&self) -> [(&'static str, String); 7] {
        let [mapper, node, control] = self.inner_ports;
        [
            ("RABBITMQ_NODENAME", format!("ergon-{}@localhost", self.port)),
            ("RABBITMQ_DIST_PORT", node.to_string()),
            ("RABBITMQ_CTL_DIST_PORT_MIN", control.to_string()),
            ("RABBITMQ_CTL_DIST_PORT_MAX", (control + 16).to_string()),
            ("ERL_EPMD_PORT", mapper.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
        ]
    }

    fn places(&self) -> [(&'static str, PathBuf); 7] {
        [
            ("RABBITMQ_CONF_ENV_FILE", PathBuf::from("/dev/null")),
            ("RABBITMQ_CONFIG_FILE", self.path("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", self.path("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", self.path("data")),
            ("RABBITMQ_LOG_BASE", self.path("log")),
            ("RABBITMQ_PID_FILE", self.path("pid")),
        ]
    }
}
