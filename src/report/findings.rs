//! What is wrong with a JVM.

use super::overview::{Finding, JvmOverview};

/// What is wrong with a JVM, the worst first.
pub fn findings(_jvm: &JvmOverview) -> Vec<Finding> {
    Vec::new()
}
