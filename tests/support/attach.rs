//! A client of HotSpot's attach socket, for truths that only diagnostic commands tell.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::{PATIENCE, wait_for};

/// What a JVM that was started with `-XX:+StartAttachListener` answers to a diagnostic command.
///
/// # Panics
/// If it does not know the command.
pub fn ask(pid: u32, command: &str) -> String {
    let path = format!("/tmp/.java_pid{pid}");
    let mut socket = wait_for(&path, || UnixStream::connect(&path));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Protocol version, operation, and always three arguments.
    socket.write_all(format!("1\0jcmd\0{command}\0\0\0").as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    let (status, text) = reply.split_once('\n').unwrap_or((&reply, ""));
    assert_eq!(status, "0", "{command}: {text}");
    text.to_owned()
}
