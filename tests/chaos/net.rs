//! Three machines on a switch: network namespaces of this test's own.

use std::process::{Command, Stdio};

/// Ports of the managed etcd: for its members and for its clients.
pub const STORE_PORTS: [u16; 2] = [7380, 7379];

/// Nodes are numbered from 1; 0 is the switch.
pub struct Net {
    prefix: String,
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Net {
    /// Makes them; `None` if this user or this machine can't.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !run("nft", &["--version"]) {
            return None;
        }
        let net = Self {
            prefix: format!("pal{}-", std::process::id()),
        };
        let switch = net.space(0);
        if !run("ip", &["netns", "add", &switch]) {
            return None;
        }
        net.ip(0, "link set lo up");
        net.ip(0, "link add br0 type bridge");
        net.ip(0, "link set br0 up");
        for node in 1..=3 {
            net.connect(node);
        }
        Some(net)
    }

    fn connect(&self, node: usize) {
        let (space, switch) = (self.space(node), self.space(0));
        assert!(run("ip", &["netns", "add", &space]));
        let port = format!("port{node}");
        assert!(run(
            "ip",
            &[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &space
            ]
        ));
        self.ip(0, &format!("link set {port} master br0"));
        self.ip(0, &format!("link set {port} up"));
        self.ip(node, "link set lo up");
        self.ip(
            node,
            &format!("addr add {}/24 dev eth0", Self::address(node)),
        );
        self.ip(node, "link set eth0 up");
        self.nft(node, "add table inet chaos");
        for hook in ["input", "output"] {
            let chain =
                format!("add chain inet chaos {hook} {{ type filter hook {hook} priority 0; }}");
            self.nft(node, &chain);
        }
    }

    fn space(&self, node: usize) -> String {
        format!("{}{node}", self.prefix)
    }

    fn ip(&self, node: usize, command: &str) {
        let space = self.space(node);
        let mut args = vec!["-n", &space];
        args.extend(command.split(' '));
        assert!(run("ip", &args), "ip {args:?}");
    }

    fn nft(&self, node: usize, command: &str) {
        let space = self.space(node);
        assert!(
            run("ip", &["netns", "exec", &space, "nft", command]),
            "nft {command}"
        );
    }

    fn tc(&self, node: usize, command: &str) -> bool {
        let space = self.space(node);
        let mut args = vec!["netns", "exec", &space, "tc", "qdisc"];
        args.extend(command.split(' '));
        run("ip", &args)
    }

    /// The address of a node.
    pub fn address(node: usize) -> String {
        format!("10.83.0.{node}")
    }

    /// A program on a node's machine.
    pub fn command(&self, node: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(node)])
            .arg(program);
        command
    }

    /// Cuts a node off from the others.
    pub fn cut(&self, node: usize) {
        self.nft(node, "add rule inet chaos input iifname \"eth0\" drop");
        self.nft(node, "add rule inet chaos output oifname \"eth0\" drop");
    }

    /// Cuts two nodes off from each other; both still reach the third.
    pub fn cut_pair(&self, one: usize, other: usize) {
        for (node, peer) in [(one, other), (other, one)] {
            let peer = Self::address(peer);
            self.nft(
                node,
                &format!("add rule inet chaos input ip saddr {peer} drop"),
            );
            self.nft(
                node,
                &format!("add rule inet chaos output ip daddr {peer} drop"),
            );
        }
    }

    /// Cuts etcd off: nothing of it passes this node's network card, and all else does.
    pub fn cut_store(&self, node: usize) {
        for port in STORE_PORTS {
            for chain in ["input iifname", "output oifname"] {
                for side in ["dport", "sport"] {
                    self.nft(
                        node,
                        &format!("add rule inet chaos {chain} \"eth0\" tcp {side} {port} drop"),
                    );
                }
            }
        }
    }

    /// Makes a node's link as slow as a modem's.
    pub fn slow(&self, node: usize) {
        self.tc(
            node,
            "replace dev eth0 root tbf rate 256kbit burst 8kb latency 400ms",
        );
    }

    /// Takes all that back.
    pub fn heal(&self) {
        for node in 1..=3 {
            self.nft(node, "flush chain inet chaos input");
            self.nft(node, "flush chain inet chaos output");
            self.tc(node, "del dev eth0 root");
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for node in 0..=3 {
            run("ip", &["netns", "del", &self.space(node)]);
        }
    }
}
