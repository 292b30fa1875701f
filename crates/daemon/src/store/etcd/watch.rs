//! The watch: what changes below the prefix, in order, over lost connections and from member to
//! member. etcd-client's own does not come back by itself.

use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse};
use tokio::sync::mpsc;

use super::{EtcdStore, MAX_MESSAGE};
use crate::store::shared::{Changes, Key, Put};

/// How long to wait before another member is asked; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a member may take to begin a watch.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// Changes that wait to be taken.
const QUEUE: usize = 1024;

/// What a watch hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What one revision changed.
    Changes(Changes),
    /// The revisions that come next are compacted away: all must be listed again. The watch has ended.
    Compacted,
    /// The connection was lost; the watch goes on by itself.
    Lost(String),
}

/// A running watch; it ends when this is dropped.
pub struct Watch {
    heard: mpsc::Receiver<Heard>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// What comes next; none when the watch has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl EtcdStore {
    /// Watches all keys below the prefix for what changes behind `revision`.
    #[must_use]
    pub fn watch(&self, revision: u64) -> Watch {
        let (tell, heard) = mpsc::channel(QUEUE);
        let store = self.clone();
        let task = self.inner.runtime.spawn(async move {
            store.keep_watching(revision, &tell).await;
        });
        Watch { heard, task }
    }

    async fn keep_watching(&self, behind: u64, tell: &mpsc::Sender<Heard>) {
        let mut behind = behind;
        let mut pause = FIRST_PAUSE;
        loop {
            let line = self.line();
            let before = behind;
            let why = match self.watch_once(&line, &mut behind, tell).await {
                Ok(()) => return,
                Err(why) => why,
            };
            if behind > before {
                pause = FIRST_PAUSE;
            }
            if tell.send(Heard::Lost(why)).await.is_err() {
                return;
            }
            self.pass_over(&line);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Watches over one connection; `Ok` when nothing more is to come.
    async fn watch_once(
        &self,
        line: &super::channel::Line,
        behind: &mut u64,
        tell: &mpsc::Sender<Heard>,
    ) -> Result<(), String> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(i64::try_from(*behind + 1).unwrap_or(i64::MAX))
            .with_progress_notify();
        let client = line.client.watch_client();
        let mut client = client.max_decoding_message_size(MAX_MESSAGE);
        let begin = client.watch(self.inner.prefix.clone(), Some(options));
        let mut stream = match tokio::time::timeout(BEGIN_WITHIN, begin).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer".to_owned()),
        };
        loop {
            let response = match stream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err("the watch ended".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            if response.canceled() {
                if response.compact_revision() > 0 {
                    drop(tell.send(Heard::Compacted).await);
                    return Ok(());
                }
                return Err(response.cancel_reason().to_owned());
            }
            for changes in self.revisions(&response) {
                *behind = changes.revision;
                if tell.send(Heard::Changes(changes)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The response's events by revision. etcd never splits one revision over two responses.
    fn revisions(&self, response: &WatchResponse) -> Vec<Changes> {
        let mut all: Vec<Changes> = Vec::new();
        for event in response.events() {
            let Some(pair) = event.kv() else { continue };
            let revision = u64::try_from(pair.mod_revision()).unwrap_or(0);
            let Some(key) = pair.key().strip_prefix(self.inner.prefix.as_slice()) else {
                continue;
            };
            let value = match event.event_type() {
                EventType::Put => Some(Put {
                    value: pair.value().to_vec(),
                    version: u64::try_from(pair.version()).unwrap_or(0),
                }),
                EventType::Delete => None,
            };
            if all.last().is_none_or(|last| last.revision != revision) {
                let keys = Vec::new();
                all.push(Changes { revision, keys });
            }
            if let Some(last) = all.last_mut() {
                last.keys.push((Key::parse(key), value));
            }
        }
        all
    }
}
