//! Small C programs that play what a test needs a process for.

use std::path::PathBuf;
use std::process::Command;

use super::{is_ci, package, program, target};

/// Compiles sources of the package, with options among them, into that file of `target/native`; `None` where there is no
/// compiler.
///
/// # Panics
/// If the sources cannot be compiled, or if a required compiler is missing.
pub fn compile(output: &str, words: &[&str]) -> Option<PathBuf> {
    let Some(compiler) = program("cc") else {
        assert!(!is_ci(), "CI needs a C compiler");
        return None;
    };
    let directory = target().join("native");
    std::fs::create_dir_all(&directory).unwrap();
    // Other tests may compile or run the same one now: nobody sees it half written.
    let scratch = tempfile::tempdir_in(&directory).unwrap();
    let mut command = Command::new(compiler);
    command.args(["-O1", "-Wall", "-Wextra", "-o"]).arg(scratch.path().join(output));
    for word in words {
        if word.starts_with('-') {
            command.arg(word)
        } else {
            command.arg(package().join(word))
        };
    }
    let result = command.output().unwrap();
    assert!(result.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&result.stderr));
    let output = directory.join(output);
    std::fs::rename(scratch.path().join(output.file_name().unwrap()), &output).unwrap();
    Some(output)
}
