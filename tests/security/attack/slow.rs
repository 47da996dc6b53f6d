//! Clients that take their time.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::attack::besieged::{Attacker, Besieged, Stream};

/// As many sockets as an attacker of one address likes to hold.
const SOCKETS: usize = 10_000;

/// This process may open no further descriptor.
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();

/// Opens sockets until there are enough or no descriptor is left, and holds them.
fn hold<S>(attacker: &Attacker, count: usize, open: impl Fn(&Attacker) -> std::io::Result<S>) -> Vec<S> {
    let mut held = Vec::new();
    while held.len() < count && !attacker.is_over() {
        match open(attacker) {
            Ok(stream) => {
                held.push(stream);
                attacker.opened(false);
            }
            Err(error) if error.raw_os_error() == Some(EMFILE) => {
                attacker.opened(true);
                break;
            }
            // The server has closed it meanwhile.
            Err(_) => {}
        }
    }
    held
}

#[test]
fn ten_thousand_idle_sockets() {
    for besieged in Besieged::both() {
        besieged.endure_until("idle sockets", SOCKETS, 1, |attacker| {
            let held = hold(attacker, SOCKETS, Attacker::tcp);
            println!("{} sockets held", held.len());
            attacker.linger(Duration::from_secs(60));
        });
        assert!(besieged.refused("max_connections") > 0.0, "more came than there is room for");
    }
}

#[test]
fn idle_after_the_handshake() {
    let [_, besieged] = Besieged::both();
    besieged.endure("idle TLS sessions", 2, |attacker| {
        let _held = hold(attacker, 1000, Attacker::connect);
        attacker.linger(Duration::from_secs(60));
    });
}

#[test]
fn slowloris() {
    for besieged in Besieged::both() {
        besieged.endure_until("slowloris", 800, 2, |attacker| {
            let mut held = hold(attacker, 400, |attacker| {
                let mut stream = attacker.connect()?;
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")?;
                Ok(stream)
            });
            while !attacker.is_over() && !held.is_empty() {
                held.retain_mut(|stream: &mut Box<dyn Stream>| {
                    stream.write_all(b"a").and_then(|()| stream.flush()).is_ok()
                });
                attacker.linger(Duration::from_millis(100));
            }
        });
    }
}

#[test]
fn half_requests_and_half_handshakes() {
    // The first bytes of a ClientHello that says to be longer.
    const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for besieged in Besieged::both() {
        besieged.endure_until("half requests", 1600, 4, |attacker| {
            let _held = hold(attacker, 200, |attacker| {
                let mut half: TcpStream = attacker.tcp()?;
                half.write_all(HELLO)?;
                attacker.connect()?.write_all(b"GET /metrics HTTP/1.1\r\nHo")?;
                Ok(half)
            });
        });
    }
}

#[test]
fn slow_readers() {
    for besieged in Besieged::both() {
        besieged.endure_until("slow readers", 800, 2, |attacker| {
            let _held = hold(attacker, 400, |attacker| {
                let mut stream = attacker.connect()?;
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
                Ok(stream)
            });
            attacker.linger(Duration::from_secs(60));
        });
    }
}
