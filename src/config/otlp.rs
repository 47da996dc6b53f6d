//! `otlp:`, and the environment variables of the OpenTelemetry specification over it.
//!
//! An option comes from the first source that has it: `OTEL_EXPORTER_OTLP_METRICS_…`, `OTEL_EXPORTER_OTLP_…`, the file,
//! the default. So the environment replaces the file, as the command line does. The specification has the environment
//! ignored where its own configuration file is in use; the file here is not that one, and says much else.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::schema::{HOUR, SECOND, TEXT_MAXIMUM, between, fields, put};
use super::{Problem, Problems};
use crate::tls::{self, ClientTls, Pem};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::document::Node;

/// Where metrics go over HTTP below a base address.
const HTTP_PATH: &str = "/v1/metrics";

/// `otlp:` with the environment over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Whether metrics are pushed.
    pub enabled: bool,
    /// `http://` or `https://` address; over HTTP with the path that is posted to.
    pub endpoint: Uri,
    /// Transport.
    pub protocol: OtlpProtocol,
    /// Time between two pushes.
    pub interval: Duration,
    /// Deadline of one attempt.
    pub timeout: Duration,
    /// Of requests.
    pub compression: Compression,
    /// Sent with every request; values are not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whom to trust, and who we are.
    pub tls: ClientTls,
    /// Whether sums and histograms are totals or differences.
    pub temporality: Temporality,
    /// Buckets of histograms.
    pub histograms: HistogramForm,
    /// `OTEL_SERVICE_NAME`: what the exporter itself is called.
    pub service_name: Option<String>,
    /// Of every resource that does not know better.
    pub resource_attributes: Vec<(String, String)>,
}

impl Otlp {
    /// Whether the endpoint's scheme asks for TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            enabled: false,
            endpoint: Uri::from_static("http://localhost:4317"),
            protocol: OtlpProtocol::Grpc,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            compression: Compression::None,
            headers: Vec::new(),
            tls: ClientTls::default(),
            temporality: Temporality::default(),
            histograms: HistogramForm::default(),
            service_name: None,
            resource_attributes: Vec::new(),
        }
    }
}

/// `otlp.protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP.
    HttpProtobuf,
}

/// `otlp.compression`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip.
    Gzip,
}

/// `otlp.temporality`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the JVM's start.
    #[default]
    Cumulative,
    /// Counters and histograms as differences since the last push that arrived.
    Delta,
    /// Histograms as differences, the rest as totals.
    LowMemory,
}

/// `otlp.histograms`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramForm {
    /// The fixed bounds of `sampling.buckets`.
    #[default]
    Explicit,
    /// Base-2 exponential buckets, where a histogram has them.
    Exponential,
}

const PROTOCOLS: [(&str, OtlpProtocol); 2] =
    [("grpc", OtlpProtocol::Grpc), ("http/protobuf", OtlpProtocol::HttpProtobuf)];
const COMPRESSIONS: [(&str, Compression); 2] = [("none", Compression::None), ("gzip", Compression::Gzip)];
const TEMPORALITIES: [(&str, Temporality); 3] =
    [("cumulative", Temporality::Cumulative), ("delta", Temporality::Delta), ("lowmemory", Temporality::LowMemory)];
const HISTOGRAMS: [(&str, HistogramForm); 2] = [
    ("explicit_bucket_histogram", HistogramForm::Explicit),
    ("base2_exponential_bucket_histogram", HistogramForm::Exponential),
];

/// Most headers and attributes.
const LIST_MAXIMUM: usize = 100;
/// Longest header value, attribute value and secret file, in bytes.
const VALUE_MAXIMUM: usize = 64 << 10;

/// What a PEM file has to hold.
#[derive(Clone, Copy, Debug)]
enum Content {
    Certificates,
    Key,
}

/// Reads files and remembers which, so that a change of one reloads the configuration.
pub(crate) struct Files<'a> {
    pub(crate) read: &'a dyn Fn(&FilePath) -> io::Result<String>,
    /// Where relative paths of the configuration file start.
    pub(crate) base: Option<&'a FilePath>,
    pub(crate) list: Vec<PathBuf>,
}

impl Files<'_> {
    fn text(&mut self, path: PathBuf) -> Result<String, String> {
        self.list.push(path.clone());
        match (self.read)(&path) {
            Ok(text) if text.len() > VALUE_MAXIMUM => Err(format!("{} is too long", path.display())),
            Ok(text) => Ok(text),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    fn pem(&mut self, path: PathBuf, content: Content) -> Result<Pem, String> {
        let text = self.text(path.clone())?;
        let checked = match content {
            Content::Certificates => tls::certificates(&text).map(|_| ()),
            Content::Key => tls::key(&text).map(|_| ()),
        };
        checked.map(|()| Pem(text)).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn based(&self, text: &str) -> PathBuf {
        self.base.map_or_else(|| PathBuf::from(text), |base| base.join(text))
    }
}

/// What the file says; `None` where it says nothing.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    enabled: Option<bool>,
    endpoint: Option<String>,
    protocol: Option<OtlpProtocol>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    compression: Option<Compression>,
    headers: Option<Vec<(HeaderName, HeaderValue)>>,
    certificate: Option<Pem>,
    client_certificate: Option<Pem>,
    client_key: Option<Pem>,
    temporality: Option<Temporality>,
    histograms: Option<HistogramForm>,
    resource_attributes: Vec<(String, String)>,
}

/// Decodes the section.
pub(crate) fn decode(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>, files: &mut Files<'_>) -> Draft {
    let mut draft = Draft::default();
    let (mut chain, mut key_file) = (None, None);
    for (key, field) in fields(decoder, node, path, "otlp") {
        let path = &path.key(key);
        match key {
            _ if field.is_null() => {}
            "enabled" => {
                let choices = [
                    ("auto", None),
                    ("true", Some(true)),
                    ("on", Some(true)),
                    ("false", Some(false)),
                    ("off", Some(false)),
                ];
                put(&mut draft.enabled, decoder.choice(field, path, &choices));
            }
            "endpoint" => draft.endpoint = endpoint(decoder, field, path),
            "protocol" => draft.protocol = decoder.choice(field, path, &PROTOCOLS),
            "interval" => draft.interval = decoder.duration(field, path, &between(SECOND, HOUR)),
            "timeout" => {
                draft.timeout = decoder.duration(field, path, &between(Duration::from_millis(1), HOUR));
            }
            "compression" => draft.compression = decoder.choice(field, path, &COMPRESSIONS),
            "headers" => draft.headers = Some(headers(decoder, field, path, files)),
            "certificate" => draft.certificate = file(decoder, field, path, files, Content::Certificates),
            "client_certificate" => {
                chain = Some(field);
                draft.client_certificate = file(decoder, field, path, files, Content::Certificates);
            }
            "client_key" => {
                key_file = Some(field);
                draft.client_key = file(decoder, field, path, files, Content::Key);
            }
            "temporality" => draft.temporality = decoder.choice(field, path, &TEMPORALITIES),
            "histograms" => draft.histograms = decoder.choice(field, path, &HISTOGRAMS),
            _ => draft.resource_attributes = attributes(decoder, field, path),
        }
    }
    if let (Some(alone), None) | (None, Some(alone)) = (chain, key_file) {
        decoder.report(alone.position, path, "`client_certificate` and `client_key` go together", "give both");
    }
    draft
}

fn endpoint(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<String> {
    let text = decoder.text(node, path, TEXT_MAXIMUM)?;
    match address(text) {
        Ok(_) => Some(text.to_owned()),
        Err(message) if text.contains('@') => {
            decoder.report(node.position, path, message, "");
            None
        }
        Err(_) => decoder.expected("an http:// or https:// address", node, path, ""),
    }
}

fn file(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    files: &mut Files<'_>,
    content: Content,
) -> Option<Pem> {
    let text = decoder.text(node, path, TEXT_MAXIMUM)?;
    let based = files.based(text);
    match files.pem(based, content) {
        Ok(pem) => Some(pem),
        Err(message) => {
            decoder.report(node.position, path, message, "relative paths start at the configuration's directory");
            None
        }
    }
}

/// Name and value pairs; a value may stand in a file: `{file: /run/secrets/token}`.
fn headers(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    files: &mut Files<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (key, field) in decoder.pairs(node, path).into_iter().take(LIST_MAXIMUM) {
        let path = &path.key(&key.text);
        let value = if matches!(field.data, crate::yaml::document::NodeData::Mapping(_)) {
            let inner = decoder.fields(field, path, &["file"]);
            let Some((_, node)) = inner.first() else {
                decoder.report(field.position, path, "the header has no value", "write `{file: /run/secrets/token}`");
                continue;
            };
            let path = &path.key("file");
            let Some(text) = decoder.text(node, path, TEXT_MAXIMUM) else { continue };
            let based = files.based(text);
            match files.text(based) {
                Ok(secret) => secret.trim().to_owned(),
                Err(message) => {
                    decoder.report(node.position, path, message, "");
                    continue;
                }
            }
        } else {
            let Some(text) = decoder.text(field, path, VALUE_MAXIMUM) else { continue };
            text.to_owned()
        };
        match header(&key.text, &value) {
            Ok(header) => headers.push(header),
            Err(message) => decoder.report(key.position, path, message, ""),
        }
    }
    headers
}

fn attributes(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for (key, field) in decoder.pairs(node, path).into_iter().take(LIST_MAXIMUM) {
        if let Some(text) = decoder.text(field, &path.key(&key.text), VALUE_MAXIMUM) {
            attributes.push((key.text.to_string(), text.to_owned()));
        }
    }
    attributes
}

/// A header whose value is not shown. gRPC has its own, which nobody else may set.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let taken = ["content-type", "content-length", "te", "host", "connection", "transfer-encoding"];
    let lower = name.to_ascii_lowercase();
    if taken.contains(&lower.as_str()) || lower.starts_with("grpc-") {
        return Err(format!("the header `{name}` is the transport's own"));
    }
    let name = HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("`{name}` is no name of a header"))?;
    let mut value =
        HeaderValue::from_str(value).map_err(|_| format!("the value of `{name}` is not printable ASCII"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// An address with a scheme and a host.
fn address(text: &str) -> Result<Uri, String> {
    let uri: Result<Uri, _> = text.parse();
    let problem =
        || format!("expected an http:// or https:// address, found `{}`", crate::yaml::document::excerpt(text));
    let uri = uri.map_err(|_| problem())?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("the address names a user; credentials belong into headers".to_owned());
    }
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.host().is_none_or(str::is_empty) {
        return Err(problem());
    }
    Ok(uri)
}

/// Variables of the environment; an empty one counts as not set, as the specification says.
struct Environment<'a> {
    variables: &'a [(String, String)],
    problems: Vec<Problem>,
}

impl<'a> Environment<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.variables.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The variable for metrics, else the one for all signals.
    fn option(&self, option: &str) -> Option<(String, &'a str)> {
        ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"].iter().find_map(|prefix| {
            let name = format!("{prefix}{option}");
            let value = self.get(&name)?;
            Some((name, value))
        })
    }

    /// What a variable says, or a problem and nothing.
    fn parse<T>(&mut self, found: Option<(String, &str)>, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (name, value) = found?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problems.push(super::load::unplaced("environment", &name, message));
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, option: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = self.option(option);
        self.parse(found, |text| choice(text, choices))
    }

    fn file(&mut self, option: &str, files: &mut Files<'_>, content: Content) -> Option<Pem> {
        let found = self.option(option);
        self.parse(found, |text| files.pem(PathBuf::from(text), content))
    }

    fn is_true(&mut self, found: Option<(String, &str)>) -> Option<bool> {
        self.parse(found, |text| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("expected true or false, found `{text}`")),
        })
    }
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("expected one of {}, found `{text}`", words.join(", "))
    })
}

/// The draft with the environment over it. Without pushing, what the environment says of it is not looked at.
pub(crate) fn resolve(
    draft: Draft,
    variables: &[(String, String)],
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Otlp {
    let mut environment = Environment { variables, problems: Vec::new() };
    let disabled = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let asked = draft.enabled.unwrap_or_else(|| environment.option("ENDPOINT").is_some());
    let defaults = Otlp { enabled: asked && !disabled, ..Otlp::default() };
    if !defaults.enabled {
        environment.variables = &[];
    }
    let protocol = environment.choice("PROTOCOL", &PROTOCOLS).or(draft.protocol).unwrap_or(defaults.protocol);
    let endpoint = environment_endpoint(&mut environment, protocol).or_else(|| {
        let text = draft.endpoint.as_deref()?;
        address(text).ok().map(|uri| file_endpoint(uri, protocol))
    });
    let endpoint = endpoint.unwrap_or_else(|| match protocol {
        OtlpProtocol::Grpc => defaults.endpoint.clone(),
        OtlpProtocol::HttpProtobuf => Uri::from_static("http://localhost:4318/v1/metrics"),
    });
    let timeout = environment.option("TIMEOUT");
    let timeout = environment.parse(timeout, milliseconds).or(draft.timeout).unwrap_or(defaults.timeout);
    let interval = environment.get("OTEL_METRIC_EXPORT_INTERVAL");
    let interval = interval.map(|value| ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), value));
    let interval = environment.parse(interval, milliseconds).or(draft.interval).unwrap_or(defaults.interval);
    let given = environment.option("HEADERS");
    let headers = environment.parse(given, header_list).or(draft.headers).unwrap_or_default();
    let roots = environment.file("CERTIFICATE", files, Content::Certificates).or(draft.certificate);
    let chain = environment.file("CLIENT_CERTIFICATE", files, Content::Certificates).or(draft.client_certificate);
    let key = environment.file("CLIENT_KEY", files, Content::Key).or(draft.client_key);
    if chain.is_some() != key.is_some() && environment.problems.is_empty() {
        let name = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
        let message = "a client certificate and OTEL_EXPORTER_OTLP_CLIENT_KEY go together".to_owned();
        environment.problems.push(super::load::unplaced("environment", name, message));
    }
    let attributes = environment.get("OTEL_RESOURCE_ATTRIBUTES");
    let attributes = attributes.map(|value| ("OTEL_RESOURCE_ATTRIBUTES".to_owned(), value));
    let mut resource_attributes = environment.parse(attributes, pairs).unwrap_or_default();
    let unknown = draft.resource_attributes.into_iter();
    let unknown: Vec<_> =
        unknown.filter(|(key, _)| resource_attributes.iter().all(|(known, _)| known != key)).collect();
    resource_attributes.extend(unknown);
    let otlp = Otlp {
        enabled: defaults.enabled,
        endpoint,
        protocol,
        interval,
        timeout,
        compression: environment
            .choice("COMPRESSION", &COMPRESSIONS)
            .or(draft.compression)
            .unwrap_or(defaults.compression),
        headers,
        tls: ClientTls { roots, identity: chain.zip(key) },
        temporality: environment
            .choice("TEMPORALITY_PREFERENCE", &TEMPORALITIES)
            .or(draft.temporality)
            .unwrap_or_default(),
        histograms: environment
            .choice("DEFAULT_HISTOGRAM_AGGREGATION", &HISTOGRAMS)
            .or(draft.histograms)
            .unwrap_or_default(),
        service_name: environment.get("OTEL_SERVICE_NAME").map(str::to_owned),
        resource_attributes,
    };
    if otlp.enabled
        && environment.problems.is_empty()
        && let Err(message) = tls::client(&otlp.tls, otlp.is_encrypted())
    {
        environment.problems.push(super::load::unplaced("otlp", "", message));
    }
    environment.problems.into_iter().for_each(|problem| problems.push(problem));
    otlp
}

/// The address for metrics is taken as it is; below the one for all signals, HTTP has a path for each. gRPC takes one
/// without a scheme too, and then `INSECURE` decides.
fn environment_endpoint(environment: &mut Environment<'_>, protocol: OtlpProtocol) -> Option<Uri> {
    let insecure = environment.option("INSECURE");
    let insecure = environment.is_true(insecure).unwrap_or(false);
    let found = environment.option("ENDPOINT")?;
    let is_general = found.0 == "OTEL_EXPORTER_OTLP_ENDPOINT";
    environment.parse(Some(found), |text| match protocol {
        OtlpProtocol::Grpc if !text.contains("://") => {
            address(&format!("{}://{text}", if insecure { "http" } else { "https" }))
        }
        OtlpProtocol::HttpProtobuf if is_general => address(&format!("{}{HTTP_PATH}", text.trim_end_matches('/'))),
        _ => address(text),
    })
}

/// In the file an address for HTTP without a path means the usual one.
fn file_endpoint(uri: Uri, protocol: OtlpProtocol) -> Uri {
    if protocol == OtlpProtocol::Grpc || !matches!(uri.path(), "" | "/") {
        return uri;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(HTTP_PATH));
    Uri::from_parts(parts).unwrap_or(uri)
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
