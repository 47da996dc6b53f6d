//! Clients that hurry.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::attack::besieged::{Attacker, Besieged};
use crate::support::certificates::TLS;

/// Sends the request on one connection, again and again, until the server has enough of it.
fn repeat(attacker: &Attacker, request: &[u8]) {
    let Ok(mut stream) = attacker.connect() else { return };
    let mut answer = vec![0; 1 << 20];
    while !attacker.is_over() && stream.write_all(request).is_ok() {
        if !matches!(stream.read(&mut answer), Ok(1..)) {
            return;
        }
    }
}

#[test]
fn connections() {
    for besieged in Besieged::both() {
        besieged.endure("connection flood", 8, |attacker| drop(attacker.tcp()));
    }
}

#[test]
fn handshakes() {
    let [_, besieged] = Besieged::both();
    besieged.endure("handshake flood", 4, |attacker| drop(attacker.connect()));
}

#[test]
fn equal_requests() {
    for besieged in Besieged::both() {
        besieged.endure("request flood", 60, |attacker| repeat(attacker, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
}

/// No two share a run, and together they want more than `--web.max-requests`.
#[test]
fn different_requests() {
    let number = AtomicUsize::new(1);
    for besieged in Besieged::both() {
        besieged.endure("flood of different requests", 60, |attacker| {
            let timeout = 5.0 + number.fetch_add(1, Relaxed) as f64 / 1e6;
            let request = format!(
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Prometheus-Scrape-Timeout-Seconds: {timeout}\r\n\r\n"
            );
            repeat(attacker, request.as_bytes());
        });
    }
}

#[test]
fn wrong_methods_oversize_headers_and_garbage() {
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let body =
        format!("POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n{}", "a".repeat(1 << 20));
    let requests: [&[u8]; 8] = [
        b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics/../../etc/passwd HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 4096],
        huge.as_bytes(),
        many.as_bytes(),
        body.as_bytes(),
    ];
    let number = AtomicUsize::new(0);
    for besieged in Besieged::both() {
        besieged.endure("garbage", 8, |attacker| {
            let request = requests[number.fetch_add(1, Relaxed) % requests.len()];
            let Ok(mut stream) = attacker.connect() else { return };
            let _ = stream.write_all(request);
            let _ = stream.read(&mut [0; 4096]);
            // And before the handshake.
            let Ok(mut stream) = attacker.tcp() else { return };
            let _ = stream.write_all(request);
            let _ = stream.read(&mut [0; 64]);
        });
    }
}

/// Guesses cost a bcrypt each; the scraper here has no password, so it is another client that asks.
#[test]
fn guesses() {
    use base64::Engine;
    let hash = bcrypt::hash("right", 10).unwrap();
    let besieged = Besieged::with_password(&format!("{TLS}basic_auth_users: {{ann: {hash}}}\n"), "ann:right");
    let number = AtomicUsize::new(0);
    besieged.endure("guesses", 8, |attacker| {
        let guess = format!("ann:{}", number.fetch_add(1, Relaxed));
        let guess = base64::engine::general_purpose::STANDARD.encode(guess);
        repeat(attacker, format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {guess}\r\n\r\n").as_bytes());
    });
    assert!(besieged.refused("unauthorized") > 0.0);
}
