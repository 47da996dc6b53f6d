//! Listen addresses, and the sockets that listen on them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen as listen_socket, socket_with, sockopt,
};
use tokio::net::TcpListener;

/// Connections that the kernel queues before they are accepted.
const BACKLOG: i32 = 1024;

/// `--web.listen-address`: `:9850`, `host:9850` or `[::1]:9850`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// `None` is every address of the host, IPv6 and IPv4.
    host: Option<Box<str>>,
    port: u16,
}

/// Why a text is no listen address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("listen address {0:?}: expected :PORT, HOST:PORT or [IPV6]:PORT, such as :9850")]
pub struct ListenAddressError(String);

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ListenAddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit())).ok_or_else(error)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok().then_some(inner),
            None => (!host.contains([':', '[', ']', '/', ' '])).then_some(host),
        };
        let host = host.ok_or_else(error)?;
        Ok(Self { host: (!host.is_empty()).then(|| host.into()), port })
    }
}

impl Default for ListenAddress {
    /// `:9850`
    fn default() -> Self {
        Self { host: None, port: 9850 }
    }
}

impl ListenAddress {
    /// Under which `HOST:PORT` a program of this machine may reach a server that listens there.
    pub(super) fn reachable(&self) -> Vec<String> {
        let hosts = match self.host.as_deref() {
            None => vec!["127.0.0.1", "[::1]"],
            Some("0.0.0.0") => vec!["127.0.0.1"],
            Some("::") => vec!["[::1]"],
            Some(_) => return vec![self.to_string()],
        };
        hosts.into_iter().map(|host| format!("{host}:{}", self.port)).collect()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => write!(f, ":{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Why an address cannot be listened on. The message includes the cause, so there is no `source` to print after it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; {}", remedy(cause))]
pub struct BindError {
    address: String,
    cause: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the process that uses the port (`ss -ltnp` shows it) or choose another port with --web.listen-address"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose another port with --web.listen-address"
        }
        io::ErrorKind::AddrNotAvailable => "this host has no such address; see --web.listen-address",
        _ => "see --web.listen-address",
    }
}

/// Listening sockets.
#[derive(Debug)]
pub struct Bound {
    pub(super) listeners: Vec<TcpListener>,
}

impl Bound {
    /// Registers sockets that listen already, those of [`bind`] or of systemd, with the current runtime.
    pub fn inherit(sockets: impl IntoIterator<Item = std::net::TcpListener>) -> io::Result<Self> {
        let register = |socket: std::net::TcpListener| {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        Ok(Self { listeners: sockets.into_iter().map(register).collect::<io::Result<_>>()? })
    }

    /// The addresses of the sockets, with the ports that the kernel has chosen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Listens on every address, or fails with the first that cannot be listened on. Needs no runtime, so that it can run
/// before privileges are dropped.
pub fn bind(addresses: &[ListenAddress]) -> Result<Vec<std::net::TcpListener>, BindError> {
    let bind =
        |address: &ListenAddress| bind_one(address).map_err(|cause| BindError { address: address.to_string(), cause });
    addresses.iter().map(bind).collect()
}

fn bind_one(address: &ListenAddress) -> io::Result<std::net::TcpListener> {
    let Some(host) = address.host.as_deref() else {
        // One socket for both families; a kernel without IPv6 has IPv4 only.
        return listen((Ipv6Addr::UNSPECIFIED, address.port).into()).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => listen((Ipv4Addr::UNSPECIFIED, address.port).into()),
        });
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host name has no address");
    for resolved in (host, address.port).to_socket_addrs()? {
        match listen(resolved) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &address)?;
    listen_socket(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_parsed_and_displayed_alike() {
        for text in [":9850", "localhost:80", "127.0.0.1:0", "[::1]:9850", "[::]:9850"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "9850", "localhost", "::1:9850", "[::1]", "host:", "host:+80", "host:65536", "a b:1", "[x]:1"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_used_port_names_the_address_and_the_remedy() {
        let bound = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = bound[0].local_addr().unwrap();
        let error = bind(&[address.to_string().parse().unwrap()]).unwrap_err();
        assert!(std::error::Error::source(&error).is_none(), "the cause would be printed twice");
        let error = error.to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(error.contains("--web.listen-address"), "{error}");
    }

    #[tokio::test]
    async fn without_a_host_both_families_are_served() {
        let bound = Bound::inherit(bind(&[":0".parse().unwrap()]).unwrap()).unwrap();
        let address = bound.addresses()[0];
        assert!(address.ip().is_unspecified());
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
    }
}
