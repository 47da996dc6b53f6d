//! Attacks over the network, while a scraper that behaves gets its scrape before the deadline that it declares.
//!
//! The exporter is the real binary with its real limits, over clear text and over TLS, and the attackers are as many as
//! descriptors allow. Afterwards it holds no descriptor and no thread of theirs, and has not grown beyond a bound.

mod besieged;
mod floods;
mod held;
mod imitation;
mod introspection;
mod slow;
