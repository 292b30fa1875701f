//! One alarm, as humans and programs are told of it.

use palisade_ledger::Millis;
use palisade_link::api::Alarm;
use serde::Serialize;

use super::alarms::Turn;

/// What is sent: to a webhook and a program as JSON, by mail as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The cluster's name.
    pub cluster: String,
    /// What it is about: `node_down`, `quorum_lost`, `certificate_expiry`, `certificate_renewal`,
    /// `ledger`, `refused_logins`, `drift`, `test`.
    pub kind: &'static str,
    /// `raised`, `over`, or `happened` for what was over as it was seen.
    pub state: &'static str,
    /// The node that it is about.
    pub node: u32,
    /// What on that node; may be empty.
    pub subject: String,
    /// When it began (RFC 3339).
    pub since: String,
    /// What is the matter, in words.
    pub text: String,
    /// The node that tells it.
    pub sender: u32,
}

impl Notice {
    /// The notice of `alarm` from node `sender`.
    #[must_use]
    pub fn new(cluster: &str, sender: u32, alarm: &Alarm, turn: Turn) -> Self {
        Self {
            cluster: cluster.to_owned(),
            kind: alarm.kind.name(),
            state: match turn {
                Turn::Raised => "raised",
                Turn::Over => "over",
                Turn::Happened => "happened",
            },
            node: alarm.node,
            subject: alarm.subject.clone(),
            since: Millis(alarm.since).to_string(),
            text: alarm.text.clone(),
            sender,
        }
    }

    /// One line, such as a mail's subject.
    #[must_use]
    pub fn line(&self) -> String {
        let end = if self.state == "over" { " is over" } else { "" };
        let Self {
            cluster,
            kind,
            node,
            ..
        } = self;
        // A line break in a name would begin another header of the mail.
        format!("[{cluster}] {kind} on node {node}{end}").replace(|c: char| c.is_control(), " ")
    }

    /// The whole, for people.
    #[must_use]
    pub fn body(&self) -> String {
        let Self {
            cluster,
            kind,
            state,
            node,
            since,
            text,
            sender,
            ..
        } = self;
        format!(
            "{text}\n\ncluster: {cluster}\nwhat:    {kind} ({state})\nnode:    {node}\nsince:   {since}\n\
             told by node {sender}; see: palisade status\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_link::api::AlarmKind;

    #[test]
    fn a_subject_holds_no_line_break() {
        let alarm = Alarm {
            kind: AlarmKind::NodeDown,
            node: 2,
            subject: String::new(),
            since: 0,
            text: "no answer".to_owned(),
            over: true,
        };
        let notice = Notice::new("a\r\nBcc: all", 1, &alarm, Turn::Over);
        assert_eq!(notice.line(), "[a  Bcc: all] node_down on node 2 is over");
        assert!(notice.body().contains("since:   1970-01-01T00:00:00Z"));
    }
}
