//! The loop of the pushing thread: when to push, and what to do about commands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::failure::PushFailure;
use super::pusher::Pusher;
use super::retry::RequestSender;
use crate::config::Otlp;
use crate::sync::lock;
use crate::targets::Target;

/// Most ended JVMs whose last values are not read yet while a push is in progress: each keeps its region open.
const UNREAD_MAXIMUM: usize = 64;
/// Longest wait for the first push.
const FIRST_PUSH: Duration = Duration::from_secs(1);

/// A command to the pusher.
#[derive(Debug)]
pub enum PushCommand {
    /// These JVMs have ended: push their last values.
    Ended(Vec<Arc<Target>>),
    /// Apply a new configuration.
    Configure(Box<Otlp>),
    /// Push once more and end.
    Stop,
}

/// Commands in the order in which they are executed.
struct Commands {
    received: UnboundedReceiver<PushCommand>,
    /// Received during a push.
    waiting: VecDeque<PushCommand>,
}

impl Commands {
    /// The next command; `Stop` when the channel is closed.
    async fn next(&mut self) -> PushCommand {
        match self.waiting.pop_front() {
            Some(command) => command,
            None => self.received.recv().await.unwrap_or(PushCommand::Stop),
        }
    }

    /// Removes the commands that announce ended JVMs, and returns these JVMs.
    fn take_ended(&mut self) -> Vec<Arc<Target>> {
        let mut ended = Vec::new();
        self.waiting.retain_mut(|command| match command {
            PushCommand::Ended(targets) => {
                ended.append(targets);
                false
            }
            PushCommand::Configure(_) | PushCommand::Stop => true,
        });
        ended
    }

    /// Runs a push, and receives commands meanwhile, which are executed after it. `Stop` ends the push at once and is
    /// executed first. When too many JVMs have ended for their regions to be kept open, the push continues only while
    /// the receiver accepts requests; else its last failure is returned.
    async fn receive_during<T>(
        &mut self,
        push: impl Future<Output = T>,
        last_failure: &Mutex<Option<PushFailure>>,
    ) -> Option<PushFailure> {
        let mut push = std::pin::pin!(push);
        let mut unread = 0;
        loop {
            tokio::select! {
                _ = &mut push => return None,
                command = self.received.recv() => match command {
                    None | Some(PushCommand::Stop) => {
                        self.waiting.push_front(PushCommand::Stop);
                        return None;
                    }
                    Some(command) => {
                        if let PushCommand::Ended(targets) = &command {
                            unread += targets.len();
                        }
                        self.waiting.push_back(command);
                        if unread > UNREAD_MAXIMUM && let Some(failure) = lock(last_failure).clone() {
                            return Some(failure);
                        }
                    }
                },
            }
        }
    }
}

impl<S: RequestSender> Pusher<S> {
    /// Pushes until it is stopped. `connect` makes the sender of a new configuration.
    pub async fn run(mut self, received: UnboundedReceiver<PushCommand>, connect: impl Fn(&Otlp) -> Result<S, String>) {
        let mut commands = Commands { received, waiting: VecDeque::new() };
        let mut ticks = ticks(&self.config);
        loop {
            let command = tokio::select! {
                // The last values of an ended JVM are read before the push in which it is missing.
                biased;
                command = commands.next() => Some(command),
                _ = ticks.tick() => None,
            };
            let is_due = match command {
                Some(PushCommand::Stop) => break,
                Some(PushCommand::Configure(config)) => {
                    match connect(&config) {
                        Ok(sender) => {
                            self.configure(*config, sender);
                            ticks = self::ticks(&self.config);
                        }
                        Err(error) => {
                            tracing::error!(error, "cannot apply the new OTLP configuration; the old one stays in use");
                        }
                    }
                    continue;
                }
                Some(ended @ PushCommand::Ended(_)) => {
                    commands.waiting.push_front(ended);
                    self.enqueue(commands.take_ended());
                    // A steady flow of ended JVMs must not delay the push.
                    tokio::select! { biased; _ = ticks.tick() => true, () = std::future::ready(()) => false }
                }
                None => true,
            };
            // While the receiver is unavailable, the queue waits for the next push, which begins with it.
            if is_due || !self.is_failing {
                self.push_receiving(is_due, &mut commands).await;
            }
        }
        while let Ok(command) = commands.received.try_recv() {
            commands.waiting.push_back(command);
        }
        self.flush(commands.take_ended()).await;
    }

    /// Pushes everything, or only the queue, and receives commands meanwhile.
    async fn push_receiving(&mut self, everything: bool, commands: &mut Commands) {
        let (began, last_failure) = (Instant::now(), Arc::clone(&self.last_failure));
        if self.is_paused() {
            return self.count_push(false, began);
        }
        let interrupted = match everything {
            true => commands.receive_during(self.push(), &last_failure).await,
            false => commands.receive_during(self.push_queue(), &last_failure).await,
        };
        if let Some(failure) = interrupted {
            self.record_failure(&failure);
            if everything {
                self.count_push(false, began);
            }
        }
    }
}

fn ticks(config: &Otlp) -> Interval {
    let mut ticks = interval_at(Instant::now() + config.interval.min(FIRST_PUSH), config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
