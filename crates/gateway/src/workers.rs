//! Threads of the gateway's own, for its connections alone.
//!
//! PostgreSQL and the clients are at work at the same time, and what the gateway does for a query is
//! about a quarter of what they do: half of the machine is more than it can use. With fewer threads
//! each finds more to do when it wakes, and they wake each other less. Nothing else that the node
//! does stands in a connection's way here.

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads. They end when the last connection lets go of what all connections share, of which this
/// is a part.
pub(crate) struct Workers(Option<Runtime>);

impl Workers {
    /// Starts one thread for two processors, at least one. Where the system gives none, the caller's
    /// own threads serve.
    pub(crate) fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors / 2).max(1))
            .thread_name("gateway")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Self(Some(runtime)),
            Err(error) => {
                tracing::warn!(%error, "the gateway has no threads of its own");
                Self(None)
            }
        }
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> Handle {
        match &self.0 {
            Some(runtime) => runtime.handle().clone(),
            None => Handle::current(),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Waiting for threads is not allowed inside of a task, which is where this happens.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
