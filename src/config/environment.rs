//! The environment variables of the OpenTelemetry specification, over `otlp:` of the file.
//!
//! An option comes from the first source that has it: `OTEL_EXPORTER_OTLP_METRICS_…`, `OTEL_EXPORTER_OTLP_…`, the file,
//! the default. So the environment replaces the file, as the command line does. The specification has the environment
//! ignored where its own configuration file is in use; the file here is not that one, and has many other keys.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::load::unplaced;
use super::otlp::{
    COMPRESSIONS, Content, DEFAULT_ENDPOINT, Files, HISTOGRAMS, LIST_MAXIMUM, Otlp, OtlpFiles, OtlpKeys, OtlpProtocol,
    PROTOCOLS, TEMPORALITIES, address, header,
};
use super::{Problem, Problems};
use crate::tls::{self, ClientTls};
use crate::yaml::codec::Choice;

/// Where metrics go over HTTP below a base address.
const HTTP_PATH: &str = "/v1/metrics";

/// Variables of the environment; an empty one counts as not set, as the specification requires.
struct Environment<'a> {
    variables: &'a [(String, String)],
    problems: Vec<Problem>,
}

impl<'a> Environment<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.variables.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The name of the variable for metrics if it is set, else of the one for all signals.
    fn name(&self, option: &str) -> Option<String> {
        let names = ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"].map(|prefix| format!("{prefix}{option}"));
        names.into_iter().find(|name| self.get(name).is_some())
    }

    /// The parsed value of that variable. `None` after a problem.
    fn variable<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = parse(self.get(name)?);
        parsed.map_err(|message| self.problems.push(unplaced("environment", name, message))).ok()
    }

    /// The parsed value of the variable for metrics, else of the one for all signals.
    fn option<T>(&mut self, option: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.variable(&self.name(option)?, parse)
    }

    fn choice<T: Copy>(&mut self, option: &str, choice: &Choice<T>) -> Option<T> {
        self.option(option, |text| self::choice(text, choice.words))
    }
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
    variables: &[(String, String)],
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Otlp {
    let mut environment = Environment { variables, problems: Vec::new() };
    let disabled = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let enabled = keys.enabled.unwrap_or_else(|| environment.name("ENDPOINT").is_some()) && !disabled;
    if !enabled {
        environment.variables = &[];
    }
    let protocol = environment.choice("PROTOCOL", &PROTOCOLS).unwrap_or(keys.protocol);
    let endpoint = environment_endpoint(&mut environment, protocol);
    let otlp = Otlp {
        enabled,
        endpoint: endpoint.unwrap_or_else(|| file_endpoint(keys.endpoint, protocol)),
        protocol,
        interval: environment.variable("OTEL_METRIC_EXPORT_INTERVAL", milliseconds).unwrap_or(keys.interval),
        timeout: environment.option("TIMEOUT", milliseconds).unwrap_or(keys.timeout),
        compression: environment.choice("COMPRESSION", &COMPRESSIONS).unwrap_or(keys.compression),
        headers: environment.option("HEADERS", header_list).or(read.headers.take()).unwrap_or_default(),
        tls: client_tls(&mut environment, read, files),
        temporality: environment.choice("TEMPORALITY_PREFERENCE", &TEMPORALITIES).unwrap_or(keys.temporality),
        histograms: environment.choice("DEFAULT_HISTOGRAM_AGGREGATION", &HISTOGRAMS).unwrap_or(keys.histograms),
        service_name: environment.get("OTEL_SERVICE_NAME").map(str::to_owned),
        resource_attributes: resource_attributes(&mut environment, keys.resource_attributes),
    };
    if otlp.enabled
        && environment.problems.is_empty()
        && let Err(message) = tls::client(&otlp.tls, otlp.is_encrypted())
    {
        environment.problems.push(unplaced("otlp", "", message));
    }
    environment.problems.into_iter().for_each(|problem| problems.push(problem));
    otlp
}

fn client_tls(environment: &mut Environment<'_>, read: OtlpFiles, files: &mut Files<'_>) -> ClientTls {
    let mut pem = |option, content| environment.option(option, |text| files.pem(text.into(), content));
    let roots = pem("CERTIFICATE", Content::Certificates).or(read.certificate);
    let chain = pem("CLIENT_CERTIFICATE", Content::Certificates).or(read.client_certificate);
    let key = pem("CLIENT_KEY", Content::Key).or(read.client_key);
    if chain.is_some() != key.is_some() && environment.problems.is_empty() {
        let name = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
        let message = "a client certificate and OTEL_EXPORTER_OTLP_CLIENT_KEY go together".to_owned();
        environment.problems.push(unplaced("environment", name, message));
    }
    ClientTls { roots, identity: chain.zip(key) }
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
fn environment_endpoint(environment: &mut Environment<'_>, protocol: OtlpProtocol) -> Option<Uri> {
    let insecure = environment.option("INSECURE", boolean).unwrap_or(false);
    let name = environment.name("ENDPOINT")?;
    let is_general = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
    environment.variable(&name, |text| match protocol {
        OtlpProtocol::Grpc if !text.contains("://") => {
            address(&format!("{}://{text}", if insecure { "http" } else { "https" }))
        }
        OtlpProtocol::HttpProtobuf if is_general => address(&format!("{}{HTTP_PATH}", text.trim_end_matches('/'))),
        _ => address(text),
    })
}

/// In the file an address for HTTP without a path means the usual one.
fn file_endpoint(endpoint: Option<Uri>, protocol: OtlpProtocol) -> Uri {
    match (endpoint, protocol) {
        (None, OtlpProtocol::Grpc) => Uri::from_static(DEFAULT_ENDPOINT),
        (None, OtlpProtocol::HttpProtobuf) => Uri::from_static("http://localhost:4318/v1/metrics"),
        (Some(uri), OtlpProtocol::HttpProtobuf) if matches!(uri.path(), "" | "/") => {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static(HTTP_PATH));
            Uri::from_parts(parts).unwrap_or(uri)
        }
        (Some(uri), _) => uri,
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
