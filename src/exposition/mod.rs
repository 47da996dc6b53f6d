//! Writing metrics down: the formats, and which of them a scraper gets.

pub mod negotiate;
