//! Alerts as they leave the machine: to a webhook over TLS, by mail over STARTTLS, to a program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use palisade_daemon::alerts::{Notice, SendError, Sender, Turn, seal_secret};
use palisade_ledger::{Alert, AlertTarget, NodeId};
use palisade_link::api::{Alarm, AlarmKind};
use palisade_link::seal::SealSecret;
use palisade_testkit::receiver::{Mail, Tls, Web};
use palisade_testkit::{TempDir, temp_dir};

const TOKEN: &str = "a-token-that-nobody-may-see";

/// Nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A certificate for `localhost`; its authority is in the directory.
fn authority() -> (TempDir, Tls) {
    let dir = temp_dir().unwrap();
    let tls = Tls::make(dir.path()).unwrap();
    (dir, tls)
}

/// What is wrong, in words.
async fn refused(sender: &Sender, alert: &Alert) -> String {
    let error: SendError = sender.once(alert, &notice()).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(TOKEN), "{text}");
    text
}

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn notice() -> Notice {
    let alarm = Alarm {
        kind: AlarmKind::NodeDown,
        node: 2,
        subject: String::new(),
        since: 1000,
        text: "node 2 does not answer".to_owned(),
        over: false,
    };
    Notice::new("test", 1, &alarm, Turn::Raised)
}

/// A sender of node 1 and an alert whose secret is sealed to it.
fn sealed(target: AlertTarget, roots: Vec<Vec<u8>>) -> (Sender, Alert) {
    let own = SealSecret::generate().unwrap();
    let name = "ops".to_owned();
    let secret = seal_secret(&own.public(), &name, &target, TOKEN).unwrap();
    let alert = Alert {
        name,
        target,
        sealed: BTreeMap::from([(node(1), secret)]),
    };
    (
        Sender::new(node(1), own, BTreeMap::new(), roots).unwrap(),
        alert,
    )
}

fn webhook(url: String) -> AlertTarget {
    AlertTarget::Webhook { url }
}

#[tokio::test]
async fn a_webhook_is_told_over_tls_with_the_unsealed_token() {
    let (_dir, tls) = authority();
    let web = Web::start(Some(&tls), "204 No Content").unwrap();
    let url = format!("{}/hook?x=1", web.url());
    let (sender, alert) = sealed(webhook(url), vec![tls.root().to_vec()]);
    sender.once(&alert, &notice()).await.unwrap();
    let post = web.nth(0, PATIENCE).unwrap();
    let (head, body) = (post.head, post.body);
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["kind"], "node_down");
    assert_eq!(body["state"], "raised");
    assert_eq!(body["node"], 2);
    assert!(!body.to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_webhook_that_can_not_prove_its_name_learns_nothing() {
    let (_dir, tls) = authority();
    let web = Web::start(Some(&tls), "204 No Content").unwrap();
    // The system's authorities don't know this one.
    let (sender, alert) = sealed(webhook(web.url()), Vec::new());
    let error = refused(&sender, &alert).await;
    assert!(
        error.contains("UnknownIssuer") && error.contains("alerts.ca_file"),
        "{error}"
    );
    // A certificate for another name.
    let url = web.url().replace("localhost", "127.0.0.2");
    let (sender, alert) = sealed(webhook(url), vec![tls.root().to_vec()]);
    refused(&sender, &alert).await;
    assert!(web.posts().is_empty());
}

#[tokio::test]
async fn an_alert_leaves_the_machine_by_tls_alone() {
    for url in [
        "http://192.0.2.1/",
        "http://example.org/",
        "ftp://localhost/",
    ] {
        let (sender, alert) = sealed(webhook(url.to_owned()), Vec::new());
        let error = refused(&sender, &alert).await;
        assert!(error.contains("https"), "{error}");
    }
}

// What is wrong, and what mends it.
#[tokio::test]
async fn a_webhook_that_refuses_is_told_of_with_its_remedy() {
    for (status, remedy) in [
        ("500 Oops", "look at the log of the server"),
        (
            "401 Unauthorized",
            "add the alert again with the right token",
        ),
        ("403 Forbidden", "add the alert again with the right token"),
        ("404 Not Found", "add the alert again with the right URL"),
        ("302 Found", "add the alert again with the right URL"),
    ] {
        let web = Web::start(None, status).unwrap();
        let (sender, alert) = sealed(webhook(web.url()), Vec::new());
        let error = refused(&sender, &alert).await;
        let number = status.split(' ').next().unwrap();
        assert!(error.contains(number) && error.contains(remedy), "{error}");
        web.nth(0, PATIENCE).unwrap();
    }
    let web = Web::start(None, "204 No Content").unwrap();
    let url = web.url();
    drop(web);
    let (sender, alert) = sealed(
        webhook(url.replace("localhost", "nowhere.invalid")),
        Vec::new(),
    );
    let error = refused(&sender, &alert).await;
    assert!(error.contains("https"), "{error}");
}

#[tokio::test]
async fn a_secret_opens_for_its_node_and_its_alert_alone() {
    let target = || webhook("http://127.0.0.1:9/".to_owned());
    let (_, alert) = sealed(target(), Vec::new());
    let (other, _) = sealed(target(), Vec::new());
    let error = other.once(&alert, &notice()).await.unwrap_err().to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    let (sender, mut alert) = sealed(target(), Vec::new());
    alert.name = "other".to_owned();
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    // Whoever may write alerts pastes the sealed secret of another into one that leads to himself.
    let (sender, mut alert) = sealed(target(), Vec::new());
    alert.target = webhook("http://127.0.0.1:10/".to_owned());
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    let (sender, mut alert) = sealed(target(), Vec::new());
    let secret = alert.sealed.remove(&node(1)).unwrap();
    alert.sealed.insert(node(2), secret);
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("add it again"), "{error}");
}

#[tokio::test]
async fn a_program_is_run_by_its_name_alone_with_nothing_in_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script = format!("cat > {0}; env >> {0}", out.display());
    let commands = BTreeMap::from([(
        "page".to_owned(),
        ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
    )]);
    let own = SealSecret::generate().unwrap();
    let sender = Sender::new(node(1), own, commands, Vec::new()).unwrap();
    let alert = |name: &str| Alert {
        name: "ops".to_owned(),
        target: AlertTarget::Command {
            name: name.to_owned(),
        },
        sealed: BTreeMap::new(),
    };
    sender.once(&alert("page"), &notice()).await.unwrap();
    let said = std::fs::read_to_string(&out).unwrap();
    assert!(said.contains("node 2 does not answer"), "{said}");
    assert!(!said.contains("CARGO"), "{said}");
    let error = sender.once(&alert("/bin/sh"), &notice()).await.unwrap_err();
    assert!(
        error.to_string().contains("alerts.commands./bin/sh"),
        "{error}"
    );
    for (line, remedy) in [
        (vec!["/nowhere/page"], "/nowhere/page can't be run"),
        (vec!["/bin/sh", "-c", "exit 3"], "exit status: 3"),
    ] {
        let line = line.into_iter().map(str::to_owned).collect();
        let commands = BTreeMap::from([("page".to_owned(), line)]);
        let own = SealSecret::generate().unwrap();
        let sender = Sender::new(node(1), own, commands, Vec::new()).unwrap();
        let error = sender.once(&alert("page"), &notice()).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(remedy) && error.contains("alerts.commands.page"),
            "{error}"
        );
    }
}

fn by_mail(mail: &Mail) -> AlertTarget {
    AlertTarget::Smtp {
        server: mail.address().parse().unwrap(),
        from: "palisade@example.org".to_owned(),
        to: vec!["ops@example.org".to_owned(), "dba@example.org".to_owned()],
        user: Some("palisade".to_owned()),
    }
}

#[tokio::test]
async fn a_mail_goes_over_starttls_with_the_unsealed_password() {
    let (_dir, tls) = authority();
    let mail = Mail::start(Some(&tls), "PLAIN", true).unwrap();
    let (sender, alert) = sealed(by_mail(&mail), vec![tls.root().to_vec()]);
    sender.once(&alert, &notice()).await.unwrap();
    let talk = mail.nth(0, PATIENCE).unwrap();
    assert!(talk.plain.ends_with("STARTTLS\r\n"), "{}", talk.plain);
    assert!(!talk.plain.contains("example.org"), "{}", talk.plain);
    let said = talk.secured;
    let password = BASE64_STANDARD.encode(format!("\0palisade\0{TOKEN}"));
    for sign in [
        format!("AUTH PLAIN {password}\r\n").as_str(),
        "MAIL FROM:<palisade@example.org>",
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<dba@example.org>",
        "Subject: [test] node_down on node 2",
        "node 2 does not answer",
    ] {
        assert!(said.contains(sign), "{sign}\n{said}");
    }
    assert!(!said.contains(TOKEN), "{said}");
}

#[tokio::test]
async fn a_mail_server_is_given_the_password_as_it_asks_for_it() {
    let (_dir, tls) = authority();
    let mail = Mail::start(Some(&tls), "LOGIN", true).unwrap();
    let (sender, alert) = sealed(by_mail(&mail), vec![tls.root().to_vec()]);
    sender.once(&alert, &notice()).await.unwrap();
    let said = mail.nth(0, PATIENCE).unwrap().secured;
    for word in ["palisade", TOKEN] {
        let word = BASE64_STANDARD.encode(word);
        assert!(said.contains(&format!("{word}\r\n")), "{word}\n{said}");
    }
    assert!(said.contains("node 2 does not answer"), "{said}");
}

#[tokio::test]
async fn a_mail_without_a_user_asks_nobody_for_a_password() {
    let (_dir, tls) = authority();
    let mail = Mail::start(Some(&tls), "PLAIN LOGIN", true).unwrap();
    let mut target = by_mail(&mail);
    if let AlertTarget::Smtp { user, .. } = &mut target {
        *user = None;
    }
    let (sender, mut alert) = sealed(target, vec![tls.root().to_vec()]);
    alert.sealed.clear();
    sender.once(&alert, &notice()).await.unwrap();
    let said = mail.nth(0, PATIENCE).unwrap().secured;
    assert!(
        !said.contains("AUTH") && said.contains("node_down"),
        "{said}"
    );
}

#[tokio::test]
async fn a_mail_server_that_takes_no_such_password_is_told_of_with_its_remedy() {
    let (_dir, tls) = authority();
    for auth in ["PLAIN", "LOGIN"] {
        let mail = Mail::start(Some(&tls), auth, false).unwrap();
        let (sender, alert) = sealed(by_mail(&mail), vec![tls.root().to_vec()]);
        let error = refused(&sender, &alert).await;
        assert!(
            error.contains("no such user or password") && error.contains("add the alert again"),
            "{error}"
        );
        let said = mail.nth(0, PATIENCE).unwrap().secured;
        assert!(said.contains("AUTH") && !said.contains("DATA"), "{said}");
    }
    // One that knows no way that we do.
    let mail = Mail::start(Some(&tls), "GSSAPI", true).unwrap();
    let (sender, alert) = sealed(by_mail(&mail), vec![tls.root().to_vec()]);
    let error = refused(&sender, &alert).await;
    assert!(error.contains("PLAIN"), "{error}");
}

#[tokio::test]
async fn a_mail_server_without_tls_gets_neither_password_nor_mail() {
    let mail = Mail::start(None, "PLAIN", true).unwrap();
    let (sender, alert) = sealed(by_mail(&mail), Vec::new());
    let error = refused(&sender, &alert).await;
    assert!(
        error.contains("STARTTLS") && error.contains("port"),
        "{error}"
    );
    let said = mail.nth(0, PATIENCE).unwrap().plain;
    assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{said}");
}

#[tokio::test]
async fn a_mail_server_that_can_not_prove_its_name_gets_neither_password_nor_mail() {
    let (_dir, tls) = authority();
    let mail = Mail::start(Some(&tls), "PLAIN", true).unwrap();
    let (sender, alert) = sealed(by_mail(&mail), Vec::new());
    let error = refused(&sender, &alert).await;
    assert!(error.contains("alerts.ca_file"), "{error}");
    let talk = mail.nth(0, PATIENCE).unwrap();
    assert!(!talk.plain.contains("AUTH") && talk.secured.is_empty());
}
