//! OTLP messages as comparable samples, receivers, and certificates.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hotspot_exporter::metric::{Family, Kind, label_name};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use super::exposition::{Exposition, Labels};

/// Values by name and labels, in the spelling of `/metrics`.
pub type Samples = BTreeMap<(String, Labels), f64>;

/// The series of the JVMs on a page, without the exporter's own. Sampled moments are left out: they differ from look to
/// look.
pub fn samples_of_page(page: &Exposition) -> Samples {
    let jvms = page.samples.iter().filter(|sample| sample.labels.contains_key("slot"));
    jvms.map(|sample| ((sample.name.clone(), sample.labels.clone()), sample.value)).collect()
}

/// The attribute as a text.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

/// The attributes of the resource.
pub fn resource(metrics: &ResourceMetrics) -> &[KeyValue] {
    metrics.resource.as_ref().map_or(&[], |resource| &resource.attributes)
}

/// The metrics of the JVM resources as `/metrics` would show them: `app` and `slot` from the resource, names by the
/// specification's translation.
pub fn samples_of_push(request: &ExportMetricsServiceRequest) -> Samples {
    let mut samples = Samples::new();
    for metrics in &request.resource_metrics {
        let Some(slot) = attribute(resource(metrics), "jvm.hotspot.slot") else { continue };
        let app = attribute(resource(metrics), "service.name").unwrap();
        let identity = Labels::from([("app".to_owned(), app), ("slot".to_owned(), slot)]);
        for metric in metrics.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            for (suffix, attributes, value) in points(metric) {
                let mut labels = identity.clone();
                labels.extend(attributes);
                let name = prometheus_name(metric) + suffix;
                assert_eq!(samples.insert((name.clone(), labels.clone()), value), None, "{name} {labels:?} twice");
            }
        }
    }
    samples
}

fn prometheus_name(metric: &Metric) -> String {
    let kind = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) if sum.is_monotonic => Kind::Counter,
        Data::Sum(_) => Kind::UpDownCounter,
        Data::Gauge(_) => Kind::Gauge,
        _ => Kind::Histogram,
    };
    let (name, unit) = (metric.name.as_str().into(), metric.unit.as_str().into());
    let mut name = Family { name, unit, kind, help: "".into() }.prometheus();
    if kind == Kind::Counter {
        name.push_str("_total");
    }
    name
}

fn labels(attributes: &[KeyValue]) -> Labels {
    attributes.iter().map(|pair| (label_name(&pair.key), attribute(attributes, &pair.key).unwrap())).collect()
}

/// Suffix, labels and value of each sample of a metric.
fn points(metric: &Metric) -> Vec<(&'static str, Labels, f64)> {
    let number = |point: &NumberDataPoint| {
        let value = match point.value.unwrap() {
            Number::AsInt(value) => value as f64,
            Number::AsDouble(value) => value,
        };
        ("", labels(&point.attributes), value)
    };
    match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => gauge.data_points.iter().map(number).collect(),
        Data::Sum(sum) => sum.data_points.iter().map(number).collect(),
        Data::Histogram(histogram) => {
            let mut out = Vec::new();
            for point in &histogram.data_points {
                let own = labels(&point.attributes);
                let mut below = 0;
                let bounds = point.explicit_bounds.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(&point.bucket_counts) {
                    below += count;
                    let mut labels = own.clone();
                    labels.insert("le".to_owned(), bound);
                    out.push(("_bucket", labels, below as f64));
                }
                out.push(("_count", own.clone(), point.count as f64));
                out.push(("_sum", own, point.sum.unwrap()));
            }
            out
        }
        other => panic!("{other:?}"),
    }
}

/// What a receiver answers to one request.
pub type Answer = Result<ExportMetricsServiceResponse, Status>;

/// A receiver over gRPC that keeps what it takes and answers as it is told.
#[derive(Clone)]
pub struct Receiver {
    /// Requests that were taken.
    pub taken: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    /// Every request with its headers: how often it was asked.
    pub asked: Arc<Mutex<Vec<tonic::metadata::MetadataMap>>>,
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

impl Receiver {
    /// A receiver whose answer follows from the number of the request, from 0.
    pub fn new(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self { taken: Arc::default(), asked: Arc::default(), answer: Arc::new(answer) }
    }

    /// One that takes everything.
    pub fn willing() -> Self {
        Self::new(|_| Ok(ExportMetricsServiceResponse::default()))
    }

    /// Serves on that listener until the runtime ends.
    pub fn serve(&self, listener: TcpListener) {
        let service = MetricsServiceServer::new(self.clone())
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .max_decoding_message_size(4 << 20);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let service = hyper_util::service::TowerToHyperService::new(service.clone());
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
                );
            }
        });
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.metadata().clone());
            asked.len() - 1
        };
        let response = (self.answer)(number)?;
        self.taken.lock().unwrap().push(request.into_inner());
        Ok(Response::new(response))
    }
}

/// Certificates of an authority, a server at 127.0.0.1 and a client, as files in a directory.
#[derive(Debug)]
pub struct Certificates {
    pub authority: PathBuf,
    pub server: (PathBuf, PathBuf),
    pub client: (PathBuf, PathBuf),
}

impl Certificates {
    /// Makes them.
    pub fn write(directory: &Path) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::from_params(&params, &key);
        let put = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let signed = |name: &str, subject: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new([subject.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
            (put(&format!("{name}.pem"), certificate.pem()), put(&format!("{name}-key.pem"), key.serialize_pem()))
        };
        Self {
            authority: put("authority.pem", authority.pem()),
            server: signed("server", "127.0.0.1"),
            client: signed("client", "exporter"),
        }
    }
}
