//! `basic_auth_users`: names and bcrypt hashes.
//!
//! bcrypt is slow by design, so its use is bounded: one check at a time runs on a blocking thread, and few wait. The
//! last accepted password of each user is recognised by its HMAC, whose random key exists in memory only. Rejected
//! passwords are not remembered, so that a flood of guesses cannot evict a scraper's password. Unknown users cost as
//! much as known ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use tokio::sync::Semaphore;

use crate::sync::lock;

/// Checks that may wait while one runs; further requests get 503 at once. At cost 10, all of them take a second.
const QUEUE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthResult {
    Allowed,
    /// User and password are missing, malformed or wrong.
    Denied,
    /// Too many checks are waiting.
    Busy,
}

pub(super) struct Users {
    users: BTreeMap<String, User>,
    /// The slowest hash, which passwords of unknown users are checked against.
    slowest: String,
    /// Of the HMACs; `None` if the kernel gave no randomness.
    key: Option<hmac::Key>,
    queue: Arc<Semaphore>,
    /// Held by the check that runs.
    running: Arc<Semaphore>,
}

struct User {
    hash: String,
    /// The HMAC of the last accepted password.
    accepted: Mutex<Option<hmac::Tag>>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

/// The cost of a bcrypt hash; `None` for other texts.
pub(super) fn cost(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let slowest = hashes.values().max_by_key(|hash| cost(hash)).cloned().unwrap_or_default();
        // Without a key no password is remembered, and every request costs a check.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).ok();
        let users = hashes.into_iter().map(|(name, hash)| (name, User { hash, accepted: Mutex::default() })).collect();
        Self { users, slowest, key, queue: Arc::new(Semaphore::new(QUEUE)), running: Arc::new(Semaphore::new(1)) }
    }

    /// Checks the value of an Authorization header.
    pub(super) async fn check(self: &Arc<Self>, header: Option<&HeaderValue>) -> AuthResult {
        let Some((name, password)) = header.and_then(credentials) else { return AuthResult::Denied };
        if self.users.get(&name).is_some_and(|user| self.recognises(user, &password)) {
            return AuthResult::Allowed;
        }
        let Ok(_waiting) = self.queue.clone().try_acquire_owned() else { return AuthResult::Busy };
        let Ok(running) = self.running.clone().acquire_owned().await else { return AuthResult::Denied };
        let users = self.clone();
        let verify = move || {
            // Held until the work is done, even if the client has gone.
            let _until_done = running;
            users.verify(&name, &password)
        };
        match tokio::task::spawn_blocking(verify).await {
            Ok(true) => AuthResult::Allowed,
            _ => AuthResult::Denied,
        }
    }

    /// Compares with the last accepted password, in constant time.
    fn recognises(&self, user: &User, password: &[u8]) -> bool {
        let accepted = *lock(&user.accepted);
        let (Some(key), Some(tag)) = (&self.key, accepted) else { return false };
        hmac::verify(key, password, tag.as_ref()).is_ok()
    }

    /// Checks by bcrypt. Blocks.
    fn verify(&self, name: &str, password: &[u8]) -> bool {
        let user = self.users.get(name);
        // A check that ran while this one waited may have accepted the same password.
        if user.is_some_and(|user| self.recognises(user, password)) {
            return true;
        }
        let hash = user.map_or(&self.slowest, |user| &user.hash);
        let matches = bcrypt::verify(password, hash).unwrap_or(false);
        let Some(user) = user.filter(|_| matches) else { return false };
        let tag = self.key.as_ref().map(|key| hmac::sign(key, password));
        *lock(&user.accepted) = tag;
        true
    }
}

/// The user and the password of `Basic …` (RFC 7617).
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some((String::from_utf8(decoded).ok()?, password))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header(text: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(text)).parse().unwrap()
    }

    fn users() -> Arc<Users> {
        let hashes = [("ann", "right"), ("bob", "other")];
        let hashes = hashes.map(|(name, password)| (name.to_owned(), bcrypt::hash(password, 4).unwrap()));
        Arc::new(Users::new(hashes.into()))
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_user_is_accepted() {
        let users = users();
        // Twice: before and after passwords are remembered.
        for _ in 0..2 {
            for (text, expected) in [
                ("ann:right", AuthResult::Allowed),
                ("ann:wrong", AuthResult::Denied),
                ("ann:", AuthResult::Denied),
                ("bob:right", AuthResult::Denied),
                ("bob:other", AuthResult::Allowed),
                ("nobody:right", AuthResult::Denied),
                (":right", AuthResult::Denied),
                ("annright", AuthResult::Denied),
            ] {
                assert_eq!(users.check(Some(&header(text))).await, expected, "{text}");
            }
        }
        for value in ["", "Basic", "Basic !", "Basic YQ==", "Bearer YW5uOnJpZ2h0", "Basic /////w=="] {
            assert_eq!(users.check(Some(&value.parse().unwrap())).await, AuthResult::Denied, "{value}");
        }
        assert_eq!(users.check(None).await, AuthResult::Denied);
        assert_eq!(users.check(Some(&"bAsIc YW5uOnJpZ2h0".parse().unwrap())).await, AuthResult::Allowed);
    }

    #[tokio::test]
    async fn an_accepted_password_is_recognised_during_a_flood_of_guesses() {
        let users = users();
        assert_eq!(users.check(Some(&header("ann:right"))).await, AuthResult::Allowed);
        let running = users.running.clone().acquire_owned().await.unwrap();
        let waiting = (0..QUEUE).map(|number| {
            let users = users.clone();
            tokio::spawn(async move { users.check(Some(&header(&format!("ann:{number}")))).await })
        });
        let waiting = waiting.collect::<Vec<_>>();
        while users.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(users.check(Some(&header("bob:other"))).await, AuthResult::Busy);
        assert_eq!(users.check(Some(&header("ann:right"))).await, AuthResult::Allowed, "it is recognised");
        drop(running);
        for check in waiting {
            assert_eq!(check.await.unwrap(), AuthResult::Denied);
        }
        assert_eq!(users.check(Some(&header("bob:other"))).await, AuthResult::Allowed);
    }

    #[test]
    fn hashes_of_all_tools_are_accepted() {
        let tail = "10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        for prefix in ["2y", "2a", "2b", "2x"] {
            assert_eq!(cost(&format!("${prefix}${tail}")), Some(10), "{prefix}");
        }
        for text in ["", "password", "$1$abc", "$2y$10$short", "$2y$10$\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(cost(text), None, "{text}");
        }
    }
}
