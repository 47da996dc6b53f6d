//! `--web.config.file` against clients that are not ours: curl and openssl.

mod clients;
mod failures;
mod passwords;
mod rotation;
mod tls;
mod website;
