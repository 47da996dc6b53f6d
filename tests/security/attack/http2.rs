//! Abuse of HTTP/2 by one frame or another (RFC 9113), which only TLS has.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::attack::besieged::{Attacker, Besieged};
use crate::support::certificates::TLS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /metrics` in HPACK: from the static table, and two literals.
fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    block.extend([0x04, 8]);
    block.extend(b"/metrics");
    block.extend([0x01, 1, b'x']);
    block
}

/// Odd numbers from 1, as a client gives them.
fn streams() -> impl Iterator<Item = u32> {
    (0..0x3fff_ffff).map(|number| number * 2 + 1)
}

/// Sends the preface, and then what `next` makes, until the server ends it or the attack is over.
fn abuse(attacker: &Attacker, settings: &[u8], mut next: impl FnMut(u32) -> Vec<u8>) -> io::Result<()> {
    let mut stream = attacker.http2()?;
    stream.write_all(PREFACE)?;
    stream.write_all(&frame(SETTINGS, 0, 0, settings))?;
    stream.sock.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut answers = vec![0; 1 << 16];
    for number in streams().take_while(|_| !attacker.is_over()) {
        stream.write_all(&next(number))?;
        match stream.read(&mut answers) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn endure(name: &str, settings: &[u8], next: impl Fn(u32) -> Vec<u8> + Sync) {
    Besieged::start(TLS).endure(name, 4, |attacker| {
        // How the server ends it is its business.
        let _ = abuse(attacker, settings, &next);
    });
}

#[test]
fn rapid_reset() {
    endure("rapid reset", &[], |stream| {
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get());
        both.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        both.repeat(1)
    });
}

#[test]
fn endless_continuation() {
    endure("CONTINUATION flood", &[], |stream| match stream {
        1 => frame(HEADERS, 0, 1, &get()),
        // Literal headers that grow a list without end.
        _ => frame(CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b'].repeat(2000)),
    });
}

#[test]
fn settings_and_pings() {
    endure("SETTINGS and PING flood", &[], |_| {
        let mut frames = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(50);
        frames.extend(frame(PING, 0, 0, &[7; 8]).repeat(50));
        frames
    });
}

/// Every answer stays in the server, since no window ever opens.
#[test]
fn shut_windows() {
    endure("shut windows", &[0, 4, 0, 0, 0, 0], |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get()));
}

#[test]
fn bodies_and_nonsense() {
    endure("bodies and nonsense", &[], |stream| {
        let mut frames = frame(HEADERS, END_HEADERS, stream, &get());
        frames.extend(frame(DATA, 0, stream, &[0; 8192]));
        frames.extend(match stream % 8 {
            1 => frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            3 => frame(0xfa, 0xff, stream, &[1; 64]),
            5 => frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0xff; 64]),
            _ => Vec::new(),
        });
        frames
    });
}

#[test]
fn silent_connections() {
    Besieged::start(TLS).endure("silent HTTP/2", 2, |attacker| {
        let mut held = Vec::new();
        while held.len() < 400 && !attacker.is_over() {
            let Ok(mut stream) = attacker.http2() else { continue };
            let _ = stream.write_all(PREFACE);
            held.push(stream);
        }
        attacker.linger(Duration::from_secs(60));
    });
}
