//! The last values of ended JVMs, which wait for the receiver.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::encode::REQUEST_MAXIMUM;

/// Most bytes that are kept while the receiver is unavailable.
const QUEUE_MAXIMUM: usize = 4 << 20;

/// Encoded requests in the order in which the JVMs ended.
#[derive(Debug, Default)]
pub(super) struct EndedQueue(VecDeque<QueuedRequest>);

/// A request with the last values of one or more JVMs.
#[derive(Clone, Debug)]
pub(super) struct QueuedRequest {
    pub(super) message: Bytes,
    pub(super) points: u64,
}

impl EndedQueue {
    /// Appends a request, to the last one if that stays short: a request is one repeated field, so two make one.
    pub(super) fn push(&mut self, message: Vec<u8>, points: u64) {
        match self.0.back_mut() {
            _ if points == 0 => {}
            Some(last) if last.message.len() + message.len() <= REQUEST_MAXIMUM => {
                // Appends in place if the message has no other owner.
                let own = std::mem::take(&mut last.message).try_into_mut();
                let mut own = own.unwrap_or_else(|shared| BytesMut::from(&*shared));
                own.extend_from_slice(&message);
                last.message = own.freeze();
                last.points += points;
            }
            _ => self.0.push_back(QueuedRequest { message: message.into(), points }),
        }
    }

    /// Discards the oldest requests that exceed the limit; returns their points.
    pub(super) fn shrink(&mut self) -> u64 {
        let mut discarded = 0;
        while self.bytes() > QUEUE_MAXIMUM {
            discarded += self.0.pop_front().map_or(0, |queued| queued.points);
        }
        discarded
    }

    pub(super) fn front(&self) -> Option<&QueuedRequest> {
        self.0.front()
    }

    pub(super) fn pop_front(&mut self) {
        self.0.pop_front();
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|queued| queued.message.len()).sum()
    }

    pub(super) fn points(&self) -> u64 {
        self.0.iter().map(|queued| queued.points).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_merged_and_the_oldest_are_discarded() {
        let mut queue = EndedQueue::default();
        queue.push(Vec::new(), 0);
        assert!(queue.front().is_none(), "a request without points is not queued");
        queue.push(vec![1], 2);
        queue.push(vec![2], 3);
        let merged = queue.front().map(|queued| (queued.message.to_vec(), queued.points));
        assert_eq!(merged, Some((vec![1, 2], 5)));
        for _ in 0..QUEUE_MAXIMUM / REQUEST_MAXIMUM {
            queue.push(vec![0; REQUEST_MAXIMUM], 1);
        }
        assert_eq!(queue.shrink(), 5);
        assert_eq!((queue.bytes(), queue.points()), (QUEUE_MAXIMUM, 4));
    }
}
