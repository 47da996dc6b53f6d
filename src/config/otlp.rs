//! `otlp:`, as the file has it.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use serde_json::{Value as Json, json};

use super::endpoint::OtlpEndpoint;
use super::environment::resolve;
use super::schema::{HOUR, SECOND, TEXT_MAXIMUM, between};
use super::{DownwardApi, Overrides, Problems};
use crate::tls::{self, ClientTls, Pem};
use crate::yaml::codec::{Choice, Codec, Deferred, OrNull, Text};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::document::{Node, NodeData, NodeKey};
use crate::yaml::section::{Section, section};

/// `otlp:` with the environment over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The exporter's own pod and node, which become attributes.
    pub downward: DownwardApi,
    /// Whether metrics are pushed.
    pub enabled: bool,
    /// Over HTTP with the path that is posted to.
    pub endpoint: OtlpEndpoint,
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
    /// The proxy on the way to the endpoint.
    pub proxy: Option<OtlpProxy>,
    /// What the environment says and cannot be used: reasons to warn, and problems only of a check.
    pub ignored: Problems,
}

/// A proxy that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpProxy {
    /// Its address, without credentials.
    pub(crate) uri: Uri,
    /// `Proxy-Authorization`, if its address has credentials; not shown.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Default for Otlp {
    fn default() -> Self {
        let mut files = Files { read: &|_| Err(io::ErrorKind::NotFound.into()), base: None, list: Vec::new() };
        let (keys, overrides) = (OtlpKeys::default(), Overrides::default());
        resolve(keys, OtlpFiles::default(), &overrides, &mut files, &mut Problems::default())
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

/// `otlp.compression` and `web.compression`
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

pub(super) const PROTOCOLS: Choice<OtlpProtocol> =
    Choice::of(&[("grpc", OtlpProtocol::Grpc), ("http/protobuf", OtlpProtocol::HttpProtobuf)]);
pub(super) const COMPRESSIONS: Choice<Compression> =
    Choice::of(&[("none", Compression::None), ("gzip", Compression::Gzip)]);
pub(super) const TEMPORALITIES: Choice<Temporality> = Choice::of(&[
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("lowmemory", Temporality::LowMemory),
]);
pub(super) const HISTOGRAMS: Choice<HistogramForm> = Choice::of(&[
    ("explicit_bucket_histogram", HistogramForm::Explicit),
    ("base2_exponential_bucket_histogram", HistogramForm::Exponential),
]);
const ENABLED: Choice<Option<bool>> = Choice::of(&[
    ("auto", None),
    ("true", Some(true)),
    ("on", Some(true)),
    ("false", Some(false)),
    ("off", Some(false)),
]);

/// Where the endpoint is if nothing names one, over gRPC.
pub(super) const DEFAULT_ENDPOINT: &str = "http://localhost:4317";
/// Most headers and attributes.
pub(super) const LIST_MAXIMUM: usize = 100;
/// Longest header value, attribute value and secret file, in bytes.
const VALUE_MAXIMUM: usize = 64 << 10;

section! {
    /// The keys of `otlp:`, before the environment replaces some.
    #[derive(Debug)]
    pub(super) struct OtlpKeys {
        /// auto: enabled if the environment names an endpoint. true: unless OTEL_SDK_DISABLED or OTEL_METRICS_EXPORTER
        /// forbids it. false: never.
        pub(super) enabled: Option<bool> = None => OrNull(ENABLED),
        /// OTEL_EXPORTER_OTLP_ENDPOINT. For http/protobuf, /v1/metrics is appended to an address without a path; the usual
        /// port is 4318.
        pub(super) endpoint: Option<OtlpEndpoint> = None => OrNull(Text {
            maximum: TEXT_MAXIMUM,
            pattern: "^[Hh][Tt][Tt][Pp][Ss]?://[^@]+$",
            parse: |text| Ok(Some(OtlpEndpoint::new(text)?)),
            print: |_| Some(DEFAULT_ENDPOINT.to_owned()),
        }),
        /// grpc or http/protobuf (…_PROTOCOL).
        pub(super) protocol: OtlpProtocol = OtlpProtocol::Grpc => OrNull(PROTOCOLS),
        /// Time between two pushes (OTEL_METRIC_EXPORT_INTERVAL, in milliseconds). A failed push is retried with increasing
        /// delays until the next one is due.
        pub(super) interval: Duration = Duration::from_secs(15) => OrNull(between(SECOND, HOUR)),
        /// Timeout of a request (…_TIMEOUT, in milliseconds).
        pub(super) timeout: Duration = Duration::from_secs(10) => OrNull(between(Duration::from_millis(1), HOUR)),
        /// none or gzip (…_COMPRESSION).
        pub(super) compression: Compression = Compression::None => OrNull(COMPRESSIONS),
        /// Headers of every request (…_HEADERS). A file holds a secret value:
        /// {authorization: {file: /run/secrets/otlp}}.
        pub(super) headers: Option<Node> = None => OrNull(Deferred { schema: headers_schema, default: || json!({}) }),
        /// PEM file of certificates to trust; default: those of the system (…_CERTIFICATE). A change of this file, or of a
        /// file of a header, reloads the configuration.
        pub(super) certificate: Option<Node> = None => OrNull(Deferred::of(file_schema)),
        /// PEM file of the client's certificate, for mutual TLS (…_CLIENT_CERTIFICATE).
        pub(super) client_certificate: Option<Node> = None => OrNull(Deferred::of(file_schema)),
        /// PEM file of the client's key (…_CLIENT_KEY).
        pub(super) client_key: Option<Node> = None => OrNull(Deferred::of(file_schema)),
        /// cumulative: totals. delta: counters and histograms as differences from the last values that the receiver
        /// accepted. lowmemory: delta for histograms only (…_METRICS_TEMPORALITY_PREFERENCE).
        pub(super) temporality: Temporality = Temporality::Cumulative => OrNull(TEMPORALITIES),
        /// explicit_bucket_histogram, with the bounds of sampling.buckets, or base2_exponential_bucket_histogram
        /// (…_METRICS_DEFAULT_HISTOGRAM_AGGREGATION).
        pub(super) histograms: HistogramForm = HistogramForm::Explicit => OrNull(HISTOGRAMS),
        /// Attributes of every resource, unless it has its own value, such as {deployment.environment.name: production}
        /// (OTEL_RESOURCE_ATTRIBUTES). service.name, or OTEL_SERVICE_NAME, names the exporter itself; JVMs have names of
        /// their own.
        pub(super) resource_attributes: Vec<(String, String)> = Vec::new() => OrNull(Attributes),
    }
}

/// Name and value pairs; a value of any type of scalar is its text.
struct Attributes;

impl Codec for Attributes {
    type Value = Vec<(String, String)>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        let pairs = decoder.pairs(node, path).into_iter().take(LIST_MAXIMUM);
        let attribute = |(key, field): (&NodeKey, &Node)| {
            let text = decoder.text(field, &path.key(&key.text), VALUE_MAXIMUM)?;
            Some((key.text.to_string(), text.to_owned()))
        };
        Some(pairs.filter_map(attribute).collect())
    }

    fn encode(&self, value: &Self::Value) -> Json {
        let pairs = value.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        Json::Object(pairs.collect())
    }

    fn schema(&self) -> Json {
        json!({"type": "object", "additionalProperties": scalar()})
    }
}

/// The JSON Schema of a value that is used as text.
fn scalar() -> Json {
    json!({"type": ["string", "number", "boolean"], "maxLength": VALUE_MAXIMUM})
}

fn headers_schema() -> Json {
    let secret = HeaderKeys::schema_requiring(&["file"]);
    json!({"type": "object", "additionalProperties": {"anyOf": [scalar(), secret]}})
}

fn file_schema() -> Json {
    FILE.schema()
}

const FILE: Text<String> = Text::any(TEXT_MAXIMUM);

section! {
    /// A header whose value is in a file.
    #[derive(Debug)]
    struct HeaderKeys {
        /// The file.
        file: Option<Node> = None => Deferred::of(file_schema),
    }
}

/// What a PEM file has to hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Certificates,
    Key,
}

/// Reads files and remembers which, so that a change of one reloads the configuration.
pub(super) struct Files<'a> {
    pub(super) read: &'a dyn Fn(&FilePath) -> io::Result<String>,
    /// Where relative paths of the configuration file start.
    pub(super) base: Option<&'a FilePath>,
    pub(super) list: Vec<PathBuf>,
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

    pub(super) fn pem(&mut self, path: PathBuf, content: Content) -> Result<Pem, String> {
        let text = self.text(path.clone())?;
        let checked = match content {
            Content::Certificates => tls::certificates(&text).map(|_| ()),
            Content::Key => tls::key(&text).map(|_| ()),
        };
        checked.map(|()| Pem(text)).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn based(&self, text: &str) -> PathBuf {
        self.base.map_or_else(|| PathBuf::from(text), |base| base.join(text))
    }
}

/// What is read from the files that the keys name.
#[derive(Debug, Default)]
pub(super) struct OtlpFiles {
    pub(super) headers: Option<Vec<(HeaderName, HeaderValue)>>,
    pub(super) certificate: Option<Pem>,
    pub(super) client_certificate: Option<Pem>,
    pub(super) client_key: Option<Pem>,
}

/// Reads headers, certificates and the key.
pub(super) fn read(keys: &OtlpKeys, decoder: &mut Decoder<'_>, path: &Path<'_>, files: &mut Files<'_>) -> OtlpFiles {
    let headers = keys.headers.as_ref().map(|node| headers(decoder, node, &path.key("headers"), files));
    let mut pem = |node: &Option<Node>, key, content| {
        node.as_ref().and_then(|node| file(decoder, node, &path.key(key), files, content))
    };
    let read = OtlpFiles {
        headers,
        certificate: pem(&keys.certificate, "certificate", Content::Certificates),
        client_certificate: pem(&keys.client_certificate, "client_certificate", Content::Certificates),
        client_key: pem(&keys.client_key, "client_key", Content::Key),
    };
    if let (Some(alone), None) | (None, Some(alone)) = (&keys.client_certificate, &keys.client_key) {
        decoder.report(alone.position, path, "`client_certificate` and `client_key` go together", "give both");
    }
    read
}

fn file(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    files: &mut Files<'_>,
    content: Content,
) -> Option<Pem> {
    let name = FILE.decode(decoder, node, path)?;
    match files.pem(files.based(&name), content) {
        Ok(pem) => Some(pem),
        Err(message) => {
            decoder.report(node.position, path, message, "relative paths start at the configuration's directory");
            None
        }
    }
}

/// Name and value pairs; a value may be in a file: `{file: /run/secrets/token}`.
fn headers(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    files: &mut Files<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (key, field) in decoder.pairs(node, path).into_iter().take(LIST_MAXIMUM) {
        let path = &path.key(&key.text);
        let Some(value) = header_value(decoder, field, path, files) else { continue };
        match header(&key.text, &value) {
            Ok(header) => headers.push(header),
            Err(message) => decoder.report(key.position, path, message, ""),
        }
    }
    headers
}

fn header_value(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>, files: &mut Files<'_>) -> Option<String> {
    if !matches!(node.data, NodeData::Mapping(_)) {
        return decoder.text(node, path, VALUE_MAXIMUM).map(str::to_owned);
    }
    let (keys, _) = HeaderKeys::decode(decoder, node, path);
    let Some(file) = keys.file else {
        decoder.report(node.position, path, "the header has no value", "write `{file: /run/secrets/token}`");
        return None;
    };
    let path = &path.key("file");
    let name = FILE.decode(decoder, &file, path)?;
    match files.text(files.based(&name)) {
        Ok(secret) => Some(secret.trim().to_owned()),
        Err(message) => {
            decoder.report(file.position, path, message, "");
            None
        }
    }
}

/// A header whose value is not shown. gRPC has its own, which nobody else may set.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
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
