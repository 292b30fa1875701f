//! The three etcd hosts n1, n2 and n3, on one machine: their files, their ports.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_testkit::{TempDir, free_port, temp_dir};

use super::common::{Process, ok, palisade};

/// Nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The manual's configuration file for openssl, with the section that "alternative subject names for the etcd
/// host" are specified under.
const SAN_CONF: &str = "\
[ req ]
default_bits       = 4096
distinguished_name = req_distinguished_name
req_extensions     = req_ext
[ req_distinguished_name ]
countryName                 = Country Name (2 letter code)
stateOrProvinceName         = State or Province Name (full name)
localityName               = Locality Name (eg, city)
organizationName           = Organization Name (eg, company)
commonName                 = Common Name (e.g. server FQDN or YOUR name)
[ req_ext ]
subjectAltName = @alt_names
[ alt_names ]
DNS.1   = n1
IP.1   = 127.0.0.1
IP.2   = ::1
";

pub(crate) struct Hosts {
    temp: TempDir,
    /// Peer and client port of each.
    ports: [(u16, u16); 3],
}

impl Hosts {
    pub(crate) fn new() -> Self {
        let ports = || (free_port().unwrap(), free_port().unwrap());
        Self {
            temp: temp_dir().unwrap(),
            ports: [ports(), ports(), ports()],
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A line of the manual.
    pub(crate) fn sh(&self, line: &str) -> String {
        self.sh_with(line, "")
    }

    /// A line of the manual that asks questions.
    pub(crate) fn sh_with(&self, line: &str, answers: &str) -> String {
        let mut child = Command::new("sh")
            .args(["-ec", line])
            .current_dir(self.temp.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who asks nothing may have closed its end.
        drop(child.stdin.take().unwrap().write_all(answers.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command of the binary, in the directory.
    pub(crate) fn palisade(&self, args: &[&str]) -> Command {
        let mut command = palisade();
        command.args(args).current_dir(self.temp.path());
        command
    }

    pub(crate) fn write_san_conf(&self, name: &str) {
        let text = SAN_CONF.replace("= n1", &format!("= {name}"));
        std::fs::write(self.path(&format!("{name}.san.conf")), text).unwrap();
    }

    fn place(&self, name: &str) -> (u16, u16) {
        let index: usize = name.strip_prefix('n').unwrap().parse().unwrap();
        self.ports[index - 1]
    }

    /// "https://n1:2379,https://n2:2379,https://n3:2379"
    pub(crate) fn endpoints(&self) -> String {
        let url = |(_, client): &(u16, u16)| format!("https://127.0.0.1:{client}");
        self.ports.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// The options of the manual, with the certificate `<who>.crt` and its key.
    pub(crate) fn store_options(&self, who: &str) -> Vec<String> {
        vec![
            "--store-ca-file".to_owned(),
            "rootCA.crt".to_owned(),
            "--store-cert-file".to_owned(),
            format!("{who}.crt"),
            "--store-key".to_owned(),
            format!("{who}.key"),
            "--store-endpoints".to_owned(),
            self.endpoints(),
        ]
    }

    /// `palisade store env`, with the ports of this test.
    pub(crate) fn write_env(&self, name: &str) {
        let hosts: Vec<String> = ["n1", "n2", "n3"]
            .iter()
            .map(|name| {
                let (peer, client) = self.place(name);
                format!("{name}=127.0.0.1:{peer}:{client}")
            })
            .collect();
        let dir = |name: String| self.path(&name).to_str().unwrap().to_owned();
        std::fs::create_dir(self.path(&format!("{name}.env"))).unwrap();
        let services = |ending: &str| dir(format!("shardman/{ending}"));
        ok(self
            .palisade(&["store", "env", "--node", name, "--listen", "127.0.0.1"])
            .args([
                "--hosts",
                &hosts.join(","),
                "--etcd-dir",
                &dir(format!("{name}.etc")),
                "--data-dir",
                &dir(format!("{name}.data")),
                "--store-ca-file",
                &services("rootCA.crt"),
                "--store-cert-file",
                &services("shardman_services.crt"),
                "--store-key",
                &services("shardman_services.key"),
                "--out",
                &dir(format!("{name}.env")),
            ]));
    }

    /// What `systemctl restart etcd` does: etcd with the variables of the file and nothing else.
    pub(crate) fn start_etcd(&self, name: &str) -> Process {
        let mut etcd = Command::new("etcd");
        etcd.env_clear()
            .envs(variables(&self.read(&format!("{name}.env/etcd"))))
            .current_dir(self.temp.path())
            .stdin(Stdio::null());
        // It serves when the others are there.
        Process::start(&mut etcd, &self.path(&format!("{name}.log")), "ersion: 3.")
    }
}

/// The variables of a file for systemd's `EnvironmentFile=`.
pub(crate) fn variables(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        })
        .collect()
}
