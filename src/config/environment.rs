//! The environment variables of the OpenTelemetry specification, over `otlp:` of the file.
//!
//! An option comes from the first source that has it: `OTEL_EXPORTER_OTLP_METRICS_…`, `OTEL_EXPORTER_OTLP_…`, the file,
//! the default. So the environment replaces the file, as the command line does. The specification has the environment
//! ignored where its own configuration file is in use; the file here is not that one, and has many other keys.
//!
//! An environment is often shared with applications whose SDKs understand more. A value that cannot be used counts as
//! not set, with a warning, as the specification requires.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::endpoint::OtlpEndpoint;
use super::load::unplaced;
use super::otlp::{
    COMPRESSIONS, Content, DEFAULT_ENDPOINT, Files, HISTOGRAMS, LIST_MAXIMUM, Otlp, OtlpFiles, OtlpKeys, OtlpProtocol,
    OtlpProxy, PROTOCOLS, TEMPORALITIES, header,
};
use super::{DownwardApi, Overrides, Problems};
use crate::tls::{self, ClientTls};
use crate::yaml::codec::Choice;

/// Variables of the environment; an empty one counts as not set, as the specification requires.
struct Environment<'a> {
    variables: &'a [(String, String)],
    /// Why values are ignored.
    ignored: Problems,
}

impl<'a> Environment<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.variables.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    fn ignore(&mut self, name: &str, message: String) {
        self.ignored.push(unplaced("environment", name, message));
    }

    /// The parsed value of that variable. `None` after a problem.
    fn variable<T>(&mut self, name: &str, mut parse: impl FnMut(&str) -> Result<T, String>) -> Option<T> {
        parse(self.get(name)?).map_err(|message| self.ignore(name, message)).ok()
    }

    /// The parsed value of the variable for metrics, else of the one for all signals.
    fn option<T>(&mut self, option: &str, mut parse: impl FnMut(&str) -> Result<T, String>) -> Option<T> {
        names(option).iter().find_map(|name| self.variable(name, &mut parse))
    }

    fn choice<T: Copy>(&mut self, option: &str, choice: &Choice<T>) -> Option<T> {
        self.option(option, |text| self::choice(text, choice.words))
    }

    /// The variable that turns pushing off, whatever else is configured.
    fn off(&mut self) -> Option<&'static str> {
        if self.variable("OTEL_SDK_DISABLED", boolean) == Some(true) {
            return Some("OTEL_SDK_DISABLED");
        }
        (!self.exports_otlp()).then_some(EXPORTER)
    }

    /// Whether the list of exporters leaves OTLP on. Prometheus is always served; a word without meaning is not there.
    fn exports_otlp(&mut self) -> bool {
        let words = self.get(EXPORTER).unwrap_or_default().to_ascii_lowercase();
        let (mut is_known, mut is_otlp) = (false, false);
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "none" => return false,
                "otlp" => is_otlp = true,
                "prometheus" => {}
                "console" | "logging" | "otlp/stdout" => {
                    self.ignore(EXPORTER, format!("`{word}` is not supported; use --once to print metrics"));
                }
                _ => {
                    self.ignore(
                        EXPORTER,
                        format!("expected otlp, prometheus or none, comma-separated, found `{word}`"),
                    );
                    continue;
                }
            }
            is_known = true;
        }
        is_otlp || !is_known
    }
}

/// Which exporters of metrics an SDK has.
const EXPORTER: &str = "OTEL_METRICS_EXPORTER";

/// The variables of an option: for metrics, for all signals.
fn names(option: &str) -> [String; 2] {
    ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"].map(|prefix| format!("{prefix}{option}"))
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("expected one of {}, found `{text}`", words.join(", "))
    })
}

/// The file's keys with the environment over them. Without pushing, only the variables that could enable it are read.
pub(super) fn resolve(
    keys: OtlpKeys,
    mut read: OtlpFiles,
    overrides: &Overrides,
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Otlp {
    let mut environment = Environment { variables: &overrides.environment, ignored: Problems::default() };
    if keys.enabled == Some(false) {
        environment.variables = &[];
    }
    let off = environment.off();
    if let (Some(name), Some(true)) = (off, keys.enabled) {
        environment.ignore("otlp.enabled", format!("{name} turns pushing off"));
    }
    let is_named = names("ENDPOINT").iter().any(|name| environment.get(name).is_some());
    if off.is_some() || !keys.enabled.unwrap_or(is_named) {
        environment.variables = &[];
    }
    let protocol = environment.choice("PROTOCOL", &PROTOCOLS).unwrap_or(keys.protocol);
    let named = environment_endpoint(&mut environment, protocol);
    let is_named = named.is_some();
    let endpoint = named.unwrap_or_else(|| file_endpoint(keys.endpoint, protocol));
    let mut otlp = Otlp {
        downward: DownwardApi::default(),
        enabled: off.is_none() && keys.enabled.unwrap_or(is_named),
        protocol,
        interval: environment.variable("OTEL_METRIC_EXPORT_INTERVAL", milliseconds).unwrap_or(keys.interval),
        timeout: environment.option("TIMEOUT", milliseconds).unwrap_or(keys.timeout),
        compression: environment.choice("COMPRESSION", &COMPRESSIONS).unwrap_or(keys.compression),
        headers: environment.option("HEADERS", header_list).or(read.headers.take()).unwrap_or_default(),
        tls: client_tls(&mut environment, read, files, endpoint.is_encrypted()),
        temporality: environment.choice("TEMPORALITY_PREFERENCE", &TEMPORALITIES).unwrap_or(keys.temporality),
        histograms: environment.choice("DEFAULT_HISTOGRAM_AGGREGATION", &HISTOGRAMS).unwrap_or(keys.histograms),
        service_name: environment.get("OTEL_SERVICE_NAME").map(str::to_owned),
        resource_attributes: resource_attributes(&mut environment, keys.resource_attributes),
        proxy: None,
        ignored: Problems::default(),
        endpoint,
    };
    if otlp.enabled
        && let Err(message) = tls::client(&otlp.tls, otlp.endpoint.is_encrypted())
    {
        // The endpoint of an environment is no reason to end the program.
        let problems = if is_named { &mut environment.ignored } else { problems };
        problems.push(unplaced("otlp", "", message));
        otlp.enabled = false;
    }
    if otlp.enabled {
        otlp.proxy = overrides.proxies.as_deref().and_then(|proxies| proxy(&mut environment, proxies, &otlp.endpoint));
    }
    Otlp { ignored: environment.ignored, ..otlp }
}

/// The environment's certificates over those of the file, where they can be used.
fn client_tls(environment: &mut Environment<'_>, read: OtlpFiles, files: &mut Files<'_>, encrypted: bool) -> ClientTls {
    let mut pem = |option, content| environment.option(option, |text| files.pem(text.into(), content));
    let roots = pem("CERTIFICATE", Content::Certificates);
    let chain = pem("CLIENT_CERTIFICATE", Content::Certificates).or_else(|| read.client_certificate.clone());
    let key = pem("CLIENT_KEY", Content::Key).or_else(|| read.client_key.clone());
    let from_file = ClientTls { roots: read.certificate, identity: read.client_certificate.zip(read.client_key) };
    let name = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    if chain.is_some() != key.is_some() {
        let message = "a client certificate and OTEL_EXPORTER_OTLP_CLIENT_KEY go together".to_owned();
        environment.ignore(name, message);
    }
    let identity = chain.zip(key).or_else(|| from_file.identity.clone());
    let tls = ClientTls { roots: roots.or_else(|| from_file.roots.clone()), identity };
    if tls == from_file {
        return tls;
    }
    match tls::client(&tls, encrypted) {
        Ok(_) => tls,
        Err(message) => {
            environment.ignore(name, message);
            from_file
        }
    }
}

/// The proxy on the way to the endpoint.
fn proxy(environment: &mut Environment<'_>, proxies: &Matcher, endpoint: &OtlpEndpoint) -> Option<OtlpProxy> {
    let found = proxies.intercept(endpoint.uri())?;
    let uri = found.uri().clone();
    if uri.scheme_str() != Some("http") {
        environment.ignore("proxy", format!("expected an http:// address, found {uri}; requests go to the receiver"));
        return None;
    }
    Some(OtlpProxy { uri, authorization: found.basic_auth().cloned() })
}

/// The environment's attributes, then those of the file that it does not name.
fn resource_attributes(environment: &mut Environment<'_>, file: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut attributes = environment.variable("OTEL_RESOURCE_ATTRIBUTES", pairs).unwrap_or_default();
    let is_named = |key: &str| attributes.iter().any(|(known, _)| known == key);
    let others: Vec<_> = file.into_iter().filter(|(key, _)| !is_named(key)).collect();
    attributes.extend(others);
    attributes
}

/// The address for metrics is taken as it is; below the one for all signals, HTTP has a path for each. gRPC takes one
/// without a scheme too, and then `INSECURE` decides.
fn environment_endpoint(environment: &mut Environment<'_>, protocol: OtlpProtocol) -> Option<OtlpEndpoint> {
    let insecure = environment.option("INSECURE", boolean).unwrap_or(false);
    let address = |text: &str| match protocol {
        OtlpProtocol::Grpc if !text.contains("://") => {
            OtlpEndpoint::new(&format!("{}://{text}", if insecure { "http" } else { "https" }))
        }
        _ => OtlpEndpoint::new(text),
    };
    let [metrics, general] = names("ENDPOINT");
    environment.variable(&metrics, address).or_else(|| match protocol {
        OtlpProtocol::Grpc => environment.variable(&general, address),
        OtlpProtocol::HttpProtobuf => environment.variable(&general, address).map(OtlpEndpoint::metrics),
    })
}

/// In the file an address for HTTP without a path means the usual one.
fn file_endpoint(endpoint: Option<OtlpEndpoint>, protocol: OtlpProtocol) -> OtlpEndpoint {
    match (endpoint, protocol) {
        (None, OtlpProtocol::Grpc) => OtlpEndpoint::of(Uri::from_static(DEFAULT_ENDPOINT)),
        (None, OtlpProtocol::HttpProtobuf) => OtlpEndpoint::of(Uri::from_static("http://localhost:4318/v1/metrics")),
        (Some(endpoint), OtlpProtocol::HttpProtobuf) if endpoint.uri().path() == "/" => endpoint.metrics(),
        (Some(endpoint), _) => endpoint,
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    text.to_ascii_lowercase().parse().map_err(|_| format!("expected true or false, found `{text}`"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(number @ 1..=86_400_000) => Ok(Duration::from_millis(number)),
        _ => Err(format!("expected milliseconds, 1 to 86400000, found `{text}`")),
    }
}

fn header_list(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    pairs(text)?.iter().map(|(name, value)| header(name, value)).collect()
}

/// `key=value,key=value`, values percent-encoded. What is wrong is named by its number only: it may be a secret.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text.split(',').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty());
    let pairs = parts.map(|(index, part)| {
        let problem = || format!("expected key=value, comma-separated and percent-encoded; part {} is not", index + 1);
        let (key, value) = part.split_once('=').ok_or_else(problem)?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text.trim()).decode_utf8().map(String::from);
        let (Ok(key), Ok(value)) = (decode(key), decode(value)) else { return Err(problem()) };
        if key.is_empty() { Err(problem()) } else { Ok((key, value)) }
    });
    let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
    if pairs.len() > LIST_MAXIMUM { Err(format!("more than {LIST_MAXIMUM} pairs")) } else { Ok(pairs) }
}
