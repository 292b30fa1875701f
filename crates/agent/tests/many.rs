//! Many users: the groups have subgroups, and the guards and the plan still agree.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::{Bench, state};

fn users(number: u32) -> String {
    let users: Vec<String> = (2..=number)
        .map(|n| format!("+u{n}:select,insert"))
        .collect();
    format!("+root* - {}", users.join(" - "))
}

#[tokio::test]
async fn a_hundred_users_with_exceptions() {
    let few = state(&users(60));
    let mut bench = Bench::with(&few).await;
    let root = bench.log_in("root").await;
    root.ok("create schema app; create table app.t (a int); create table app.s (a int)")
        .await;

    // Past 64 users the groups are divided.
    let base = users(100);
    let acls = "[u70 app.t]=none - [u3 app.t]=update - [u70 app]=none - [u71 app.later]=none - [u72 app.later]=update";
    let many = state(&format!("{base} - {acls}"));
    bench.agent.apply(&many).await.unwrap();
    let drift = bench.agent.check_drift(&many).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
    bench
        .log_in("u70")
        .await
        .refused("select * from app.t")
        .await;
    bench.log_in("u78").await.ok("select * from app.t").await;
    bench.log_in("u62").await.ok("select * from app.t").await;
    bench
        .log_in("u3")
        .await
        .refused("select * from app.t")
        .await;
    bench.log_in("u3").await.ok("update app.t set a = 1").await;

    // What the guards make of an ACL that was there first is what the plan would.
    root.ok("create table app.later (a serial)").await;
    let drift = bench.agent.check_drift(&many).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
    bench
        .log_in("u71")
        .await
        .refused("select * from app.later")
        .await;
    bench
        .log_in("u79")
        .await
        .ok("select * from app.later")
        .await;

    // One change at a time, by the plan for it alone.
    let mut steps = format!("{base} - {acls}");
    for change in [
        "[u70 app.t]=select",
        "[u70 app.t]",
        "[u5 app.t]=none",
        "u13=select,update",
        "!u5",
        "~u5",
        "-u21",
        "+u101:select",
        "+late:select",
        "u78=*",
        "[u78 app.t]=none",
        "u78=insert",
        "[u99 app.s]=none",
        "u99=none",
        "u99=select",
    ] {
        steps = format!("{steps} - {change}");
        let next = state(&steps);
        let report = bench.agent.apply(&next).await.unwrap();
        assert!(!report.whole, "{change}");
        assert!(report.steps.len() < 40, "{change}: {:#?}", report.steps);
        let drift = bench.agent.check_drift(&next).await.unwrap();
        assert!(drift.is_clean(), "{change}: {drift}");
    }
    // And back over the boundary.
    bench.agent.apply(&few).await.unwrap();
    let drift = bench.agent.check_drift(&few).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
}
