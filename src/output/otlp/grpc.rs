//! OTLP over gRPC. Requests pass through tonic as encoded bytes.

use std::error::Error;
use std::iter::successors;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Request, Status, TimeoutExpired};
use tonic_types::StatusExt;

use super::failure::{Accepted, PushFailure, PushFailureReason, Retry};
use super::{USER_AGENT, connect};
use crate::config::{Compression, Otlp};

const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");

/// Most characters of a receiver's message that are logged.
const EXCERPT_MAXIMUM: usize = 300;

/// A client that connects with the first request, and again after a connection breaks.
#[derive(Debug)]
pub(super) struct Grpc {
    client: tonic::client::Grpc<Channel>,
    headers: MetadataMap,
    timeout: std::time::Duration,
}

impl Grpc {
    /// Must be called in a runtime.
    ///
    /// # Errors
    /// TLS cannot be used as configured.
    pub(super) fn new(config: &Otlp) -> Result<Self, String> {
        let endpoint = Endpoint::from(config.endpoint.uri().clone());
        let endpoint = endpoint.user_agent(USER_AGENT).map_err(|error| error.to_string())?;
        let channel = endpoint.connect_with_connector_lazy(connect::connector(config)?);
        let mut client = tonic::client::Grpc::new(channel);
        if config.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        let headers = MetadataMap::from_headers(config.headers.iter().cloned().collect());
        Ok(Self { client, headers, timeout: config.timeout })
    }

    pub(super) async fn send(&mut self, message: Bytes) -> Result<Accepted, PushFailure> {
        self.client.ready().await.map_err(|error| PushFailure::of_exchange(&error))?;
        let mut request = Request::from_parts(self.headers.clone(), Extensions::default(), message);
        request.set_timeout(self.timeout);
        match self.client.unary(request, EXPORT, EncodedRequest).await {
            Ok(response) => Ok(accepted(response.into_inner())),
            Err(status) if is_timeout(&status) => Err(PushFailure::timeout(self.timeout)),
            Err(status) => Err(failure(&status)),
        }
    }
}

/// The beginning of a receiver's message, for a log line.
pub(super) fn excerpt(text: &str) -> String {
    text.trim().chars().take(EXCERPT_MAXIMUM).collect()
}

/// Reads the response to an accepted request.
pub(super) fn accepted(response: ExportMetricsServiceResponse) -> Accepted {
    let partial = response.partial_success.unwrap_or_default();
    let message = excerpt(&partial.error_message);
    Accepted { rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0), message }
}

/// tonic also enforces the timeout that it sends to the receiver.
fn is_timeout(status: &Status) -> bool {
    successors(status.source(), |&error| error.source()).any(|error| error.is::<TimeoutExpired>())
}

/// The specification's retryable codes (opentelemetry.io/docs/specs/otlp, "Failures").
fn failure(status: &Status) -> PushFailure {
    // tonic made this status from a failed exchange.
    if let Some(error) = status.source()
        && status.code() != Code::DeadlineExceeded
    {
        return PushFailure::of_exchange(error);
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let later = delay.map_or(Retry::Backoff, Retry::After);
    let (reason, retry) = match status.code() {
        Code::ResourceExhausted => (PushFailureReason::Throttled, delay.map_or(Retry::Never, Retry::After)),
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::OutOfRange | Code::DataLoss => {
            (PushFailureReason::Unavailable, later)
        }
        Code::DeadlineExceeded => (PushFailureReason::Timeout, later),
        Code::Unauthenticated | Code::PermissionDenied => (PushFailureReason::Unauthorized, Retry::Never),
        Code::Unimplemented => (PushFailureReason::Protocol, Retry::Never),
        // tonic makes this status from a response that is not gRPC.
        Code::Unknown | Code::Internal if status.message().contains("grpc-status header missing") => {
            (PushFailureReason::Protocol, Retry::Never)
        }
        _ => (PushFailureReason::Rejected, Retry::Never),
    };
    let detail = format!("the receiver responded with {:?}: {}", status.code(), excerpt(status.message()));
    PushFailure { reason, retry, detail }
}

/// Sends encoded requests, and decodes responses.
#[derive(Clone, Copy, Debug)]
struct EncodedRequest;

impl Codec for EncodedRequest {
    type Encode = Bytes;
    type Decode = ExportMetricsServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for EncodedRequest {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(message.len());
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for EncodedRequest {
    type Item = ExportMetricsServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        ExportMetricsServiceResponse::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
