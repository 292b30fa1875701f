//! The etcd that the daemon runs itself, with the daemon's life and death.

use palisade_testkit::{poll, temp_dir};

use super::common::{Process, ok, palisade};
use super::fleet::Machine;
use super::hosts::PATIENCE;

/// "etcd is a critical component": it runs when the daemon runs, and never alone. Issue 3: "no plaintext listener,
/// client and peer certificates required".
#[test]
fn the_daemons_own_etcd_lives_and_dies_with_it() {
    let dir = temp_dir().unwrap();
    let machine = Machine::new(dir.path(), "node");
    ok(&mut machine.placed(&["init"]));
    let pid_file = machine.dir.join("etcd/etcd.pid");
    let start = || {
        let mut daemon = palisade();
        daemon
            .args(["daemon", "-c"])
            .arg(machine.dir.join("palisade.cfg"));
        let log = machine.dir.with_extension("log");
        let daemon = Process::start(&mut daemon, &log, "serving at");
        let members = poll("its etcd", PATIENCE, || {
            let output = machine.command(&["store", "members"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.contains("| started | palisade_node_1 |")
                .then_some(text)
        });
        let members = members.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
        (daemon, members, std::fs::read_to_string(&pid_file).unwrap())
    };
    let (daemon, members, pid) = start();
    assert!(!members.contains("http://"), "{members}");
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let line = String::from_utf8(line).unwrap();
    assert!(
        line.contains("--client-cert-auth=true") && !line.contains("http://"),
        "{line}"
    );

    // SIGKILL: no code of ours runs any more.
    daemon.kill();
    let runs = || {
        let found = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !found.is_empty() && !found.contains(") Z ")
    };
    poll("etcd's end", PATIENCE, || (!runs()).then_some(())).unwrap();

    let (daemon, again, new) = start();
    assert_eq!(again, members);
    assert_ne!(new, pid);
    daemon.stop();
    assert!(!std::path::Path::new(&format!("/proc/{new}")).exists());
}
