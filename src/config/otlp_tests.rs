#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Compression, Config, HistogramForm, Otlp, OtlpProtocol, Overrides, Problems, Temporality, load};

/// A configuration from the text of the file and variables of the environment, beside some files.
fn configure(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let overrides = Overrides { environment, ..Overrides::default() };
    let (certificate, key) = pems();
    load(Some(Path::new("/etc/c.yaml")), &overrides, &|path| match path.to_str().unwrap() {
        "/etc/c.yaml" => Ok(text.to_owned()),
        "/etc/token" | "/run/token" => Ok("Bearer geheim\n".to_owned()),
        "/etc/ca.pem" | "/run/ca.pem" => Ok(certificate.clone()),
        "/etc/key.pem" => Ok(key.clone()),
        "/etc/other-key.pem" => Ok(pems().1),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

fn pems() -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (signed.cert.pem(), signed.signing_key.serialize_pem())
}

fn otlp(text: &str, variables: &[(&str, &str)]) -> Otlp {
    configure(text, variables).unwrap_or_else(|problems| panic!("{text} {variables:?}: {problems}")).otlp
}

fn problem(text: &str, variables: &[(&str, &str)]) -> String {
    configure(text, variables).map(|_| "none").unwrap_err().to_string()
}

/// What of the environment is ignored.
fn ignored(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    otlp(text, variables).ignored.list.iter().map(ToString::to_string).collect()
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:1");

#[test]
fn an_endpoint_in_the_environment_turns_pushing_on() {
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://host:1");
    let disabled = ("OTEL_SDK_DISABLED", "TRUE");
    let exporter = |list| ("OTEL_METRICS_EXPORTER", list);
    for (text, variables, enabled) in [
        ("", &[][..], false),
        ("", &[ENDPOINT][..], true),
        ("", &[metrics][..], true),
        ("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")][..], false),
        ("otlp: {enabled: auto}", &[ENDPOINT][..], true),
        ("otlp: {enabled: false}", &[ENDPOINT][..], false),
        ("otlp: {enabled: true}", &[][..], true),
        ("otlp: {endpoint: \"http://host:1\"}", &[][..], false),
        ("", &[ENDPOINT, disabled][..], false),
        ("otlp: {enabled: true}", &[disabled][..], false),
        ("", &[ENDPOINT, ("OTEL_SDK_DISABLED", "yes")][..], true),
        ("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://a")][..], false),
        ("", &[ENDPOINT, exporter("none")][..], false),
        ("otlp: {enabled: true}", &[exporter("none")][..], false),
        ("", &[ENDPOINT, exporter("prometheus")][..], false),
        ("", &[ENDPOINT, exporter("console")][..], false),
        ("", &[ENDPOINT, exporter("otlp, none")][..], false),
        ("", &[ENDPOINT, exporter("prometheus,OTLP")][..], true),
        ("", &[ENDPOINT, exporter(" , zipkin")][..], true),
        ("", &[ENDPOINT, exporter("zipkin,prometheus")][..], false),
        ("", &[exporter("otlp")][..], false),
    ] {
        assert_eq!(otlp(text, variables).enabled, enabled, "{text} {variables:?}");
    }
}

#[test]
fn endpoints_are_read_as_the_specification_says() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let general = |value| ("OTEL_EXPORTER_OTLP_ENDPOINT", value);
    let metrics = |value| ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", value);
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    let tls = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/run/ca.pem");
    let file = "otlp: {enabled: true, protocol: http/protobuf, endpoint: \"http://file:1\"}";
    for (text, variables, expected) in [
        ("otlp: {enabled: true}", &[][..], "http://localhost:4317/"),
        ("otlp: {enabled: true}", &[http][..], "http://localhost:4318/v1/metrics"),
        (file, &[][..], "http://file:1/v1/metrics"),
        (&file.replace("file:1", "file:1/as/is"), &[][..], "http://file:1/as/is"),
        (file, &[general("http://a:1")][..], "http://a:1/v1/metrics"),
        (file, &[general("http://a:1/")][..], "http://a:1/v1/metrics"),
        (file, &[general("http://a:1/base")][..], "http://a:1/base/v1/metrics"),
        (file, &[general("http://a:1"), metrics("http://b:2/as/is")][..], "http://b:2/as/is"),
        (file, &[general("http://a:1"), metrics("b:2")][..], "http://a:1/v1/metrics"),
        (file, &[general("a:1")][..], "http://file:1/v1/metrics"),
        (file, &[metrics("http://b:2")][..], "http://b:2/"),
        ("", &[general("http://a:1/")][..], "http://a:1/"),
        ("", &[general("a:1"), insecure][..], "http://a:1/"),
        ("", &[general("a:1"), tls][..], "https://a:1/"),
        ("", &[general("https://a:1"), insecure, tls][..], "https://a:1/"),
    ] {
        assert_eq!(otlp(text, variables).endpoint.to_string(), expected, "{text} {variables:?}");
    }
}

#[test]
fn a_query_of_the_endpoint_is_kept_and_not_shown() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/x?token=geheim");
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a:1?token=geheim");
    let file = "otlp: {enabled: true, protocol: http/protobuf, endpoint: \"http://a:1?token=geheim\"}";
    for (text, variables, expected) in [
        ("", &[http, general][..], "http://a:1/x/v1/metrics?token=geheim"),
        ("", &[http, metrics][..], "http://a:1/?token=geheim"),
        (file, &[][..], "http://a:1/v1/metrics?token=geheim"),
        (&file.replace("1?", "1/x?"), &[][..], "http://a:1/x?token=geheim"),
    ] {
        let otlp = otlp(text, variables);
        assert_eq!(otlp.endpoint.uri().to_string(), expected);
        let shown = format!("{otlp:?} {}", otlp.endpoint);
        assert!(shown.contains("?...") && !shown.contains("geheim"), "{shown}");
    }
    for (text, found) in [
        ("ftp://a?token=geheim", "`ftp://a`"),
        ("http:///x#geheim", "`http:///x`"),
        ("http://me:ge/heim@a", "one with `@`"),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", text)];
        let expected = format!("expected an http:// or https:// address, found {found}");
        assert_eq!(ignored("", &variables), [format!("environment: OTEL_EXPORTER_OTLP_ENDPOINT: {expected}")]);
        let problem = problem(&format!("otlp: {{endpoint: '{text}'}}"), &[]);
        assert!(problem.ends_with(&expected), "{problem}");
    }
}

#[test]
fn metrics_come_before_all_signals_and_the_environment_before_the_file() {
    let text = "otlp: {enabled: true, timeout: 3s, interval: 3s, compression: gzip, temporality: delta, \
                headers: {a: file}, histograms: base2_exponential_bucket_histogram, protocol: http/protobuf, \
                resource_attributes: {x: file, y: file}}";
    let file = otlp(text, &[]);
    assert_eq!((file.timeout, file.interval), (Duration::from_secs(3), Duration::from_secs(3)));
    assert_eq!((file.compression, file.temporality), (Compression::Gzip, Temporality::Delta));
    assert_eq!((file.histograms, file.protocol), (HistogramForm::Exponential, OtlpProtocol::HttpProtobuf));
    assert_eq!((file.headers[0].0.as_str(), file.headers[0].1.as_bytes()), ("a", &b"file"[..]));

    let general = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "b=all%20signals, c=2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        ("OTEL_RESOURCE_ATTRIBUTES", "x=1,service.name=me"),
        ("OTEL_SERVICE_NAME", "watcher"),
    ];
    let environment = otlp(text, &general);
    assert_eq!((environment.timeout, environment.interval), (Duration::from_secs(2), Duration::from_secs(60)));
    assert_eq!((environment.compression, environment.temporality), (Compression::None, Temporality::LowMemory));
    assert_eq!((environment.histograms, environment.protocol), (HistogramForm::Explicit, OtlpProtocol::Grpc));
    let headers: Vec<_> = environment.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("b", &b"all signals"[..]), ("c", b"2")]);
    let attributes = environment.resource_attributes.iter().map(|(key, value)| format!("{key}={value}"));
    assert_eq!(attributes.collect::<Vec<_>>(), ["x=1", "service.name=me", "y=file"]);
    assert_eq!(environment.service_name.as_deref(), Some("watcher"));

    let metrics = [
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "d=metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
    ];
    let signal = otlp(text, &[&general[..], &metrics].concat());
    assert_eq!((signal.timeout, signal.protocol), (Duration::from_secs(1), OtlpProtocol::HttpProtobuf));
    assert_eq!((signal.headers.len(), signal.headers[0].0.as_str()), (1, "d"));
    assert_eq!(signal.compression, Compression::Gzip);
}

#[test]
fn secrets_come_from_files_that_are_watched_and_are_not_shown() {
    let text = "otlp: {enabled: true, endpoint: \"https://h:1\", headers: {authorization: {file: token}}, \
                certificate: ca.pem, client_certificate: ca.pem, client_key: key.pem}";
    let error = problem(&text.replace("key.pem", "other-key.pem"), &[]);
    assert!(error.contains("certificate and key cannot be used"), "the key is of another certificate: {error}");
    let config = configure(text, &[]).unwrap();
    assert_eq!(config.otlp.headers[0].1.as_bytes(), b"Bearer geheim");
    let files: Vec<_> = config.files.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(files, ["/etc/c.yaml", "/etc/token", "/etc/ca.pem", "/etc/ca.pem", "/etc/key.pem"]);
    let shown = format!("{:?}", config.otlp);
    assert!(!shown.contains("geheim") && !shown.contains("BEGIN"), "{shown}");

    let variables = [ENDPOINT, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/run/ca.pem")];
    assert!(otlp("", &variables).tls.roots.is_some());
}

#[test]
fn bad_values_of_the_environment_are_named_and_ignored() {
    for (name, value, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://a", "expected an http:// or https:// address, found `ftp://a`"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:geheim@host",
            "the address names a user; credentials belong into headers",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected one of grpc, http/protobuf, found `http/json`"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "expected milliseconds, 1 to 86400000, found `10s`"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "expected milliseconds, 1 to 86400000, found `0`"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd", "expected one of none, gzip, found `zstd`"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1", "expected true or false, found `1`"),
        ("OTEL_SDK_DISABLED", "1", "expected true or false, found `1`"),
        ("OTEL_METRICS_EXPORTER", "x", "expected otlp, prometheus or none, comma-separated, found `x`"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere", "/nowhere cannot be read: entity not found"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/run/token", "/run/token: expected certificates in PEM, found none"),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "/run/ca.pem",
            "a client certificate and OTEL_EXPORTER_OTLP_CLIENT_KEY go together",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=1,geheim",
            "expected key=value, comma-separated and percent-encoded; part 2 is not",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Content-Type=x", "the header `Content-Type` is the transport's own"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=1", "expected key=value, comma-separated and percent-encoded; part 1 is not"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "rising",
            "expected one of cumulative, delta, lowmemory, found `rising`",
        ),
    ] {
        let endpoint = if name == ENDPOINT.0 { &[][..] } else { &[ENDPOINT][..] };
        let variables = [endpoint, &[(name, value)]].concat();
        assert_eq!(ignored("", &variables), [format!("environment: {name}: {expected}")]);
        let plain = Otlp { ignored: Problems::default(), ..otlp("", &variables) };
        assert_eq!(plain, otlp("", endpoint), "{name}");
        // Who does not push is not bothered.
        assert_eq!(ignored("otlp: {enabled: false}", &variables), [""; 0], "{name}");
    }
}

#[test]
fn a_bad_value_for_metrics_leaves_the_one_for_all_signals() {
    let variables = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/run/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/other-key.pem"),
    ];
    let otlp = otlp("otlp: {client_certificate: ca.pem, client_key: key.pem}", &variables);
    assert_eq!(otlp.timeout, Duration::from_secs(1));
    assert_eq!(otlp.ignored.list.len(), 2, "{}", otlp.ignored);
    assert!(otlp.ignored.to_string().contains("certificate and key cannot be used"), "{}", otlp.ignored);
    assert!(otlp.enabled && otlp.tls.identity.is_some());
    let ignored = ignored("otlp: {enabled: true}", &[("OTEL_METRICS_EXPORTER", "none")]);
    assert_eq!(ignored, ["environment: otlp.enabled: OTEL_METRICS_EXPORTER turns pushing off"]);
}

#[test]
fn problems_of_the_file_have_their_place() {
    let text = r#"
otlp:
  enabled: maybe
  timeout: 0s
  compression: lz4
  temporality: up
  histograms: none
  certificate: nowhere.pem
  client_key: token
  headers:
    content-type: x
    ok: {file: nowhere}
    bad name: y
    empty: {}
  resource_attributes: [a]
"#;
    insta::assert_snapshot!(problem(text, &[]), @r##"
/etc/c.yaml:3:12: otlp.enabled: expected one of auto, true, on, false, off, found `maybe`
/etc/c.yaml:4:12: otlp.timeout: expected a duration from 1ms to 1h, found `0s`
/etc/c.yaml:5:16: otlp.compression: expected one of none, gzip, found `lz4`
/etc/c.yaml:6:16: otlp.temporality: expected one of cumulative, delta, lowmemory, found `up`
/etc/c.yaml:7:15: otlp.histograms: expected one of explicit_bucket_histogram, base2_exponential_bucket_histogram, found `none`
/etc/c.yaml:8:16: otlp.certificate: /etc/nowhere.pem cannot be read: entity not found; relative paths start at the configuration's directory
/etc/c.yaml:9:15: otlp.client_key: /etc/token: expected a private key in PEM, not encrypted: no items found; relative paths start at the configuration's directory
/etc/c.yaml:9:15: otlp: `client_certificate` and `client_key` go together; give both
/etc/c.yaml:11:5: otlp.headers.content-type: the header `content-type` is the transport's own
/etc/c.yaml:12:16: otlp.headers.ok.file: /etc/nowhere cannot be read: entity not found
/etc/c.yaml:13:5: otlp.headers.bad name: `bad name` is no name of a header
/etc/c.yaml:14:12: otlp.headers.empty: the header has no value; write `{file: /run/secrets/token}`
/etc/c.yaml:15:24: otlp.resource_attributes: expected a mapping, found a list
"##);
}
