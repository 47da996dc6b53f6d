//! From a request to its response: access checks, routing, and the response headers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::AuthResult;
use super::jvm_path;
use super::page::{self, Site};
use super::scrape::{Encoded, ScrapeDeadline, ScrapeFailure, ScrapeKey, Scrapes, outcome};
use super::web::WebSettings;
use super::{Backend, Options, Readiness};
use crate::output::prometheus::negotiate::{self, Encoding};
use crate::report::overview::SPARKS;
use crate::telemetry::{HttpMetrics, HttpRefusal, process_start_time};

/// How long Prometheus waits, in seconds.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// When the exporter started; client_golang sends the same header.
const PROCESS_START_TIME: HeaderName = HeaderName::from_static("process-start-time-unix");
/// Requests that may wait for a permit to read JVMs.
const QUEUE: usize = 128;
/// Seconds after which a refused client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"hotspot-exporter\", charset=\"UTF-8\"");
/// The page may load, run, embed and submit nothing, and no other page may embed it.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is before `{app}/{slot}` in the paths of one JVM.
const JVM_PATHS: [&str; 3] = ["/overview/", JVM_PAGE, JVM_EXPLAINED];
const JVM_PAGE: &str = "/jvm/";
const JVM_EXPLAINED: &str = "/explain/";

type BytesResponse = Response<Bytes>;

pub(super) struct Routes {
    options: Options,
    backend: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    scrapes: Arc<Scrapes>,
    /// Permits to read JVMs; `None` is no bound.
    permits: Option<Arc<Semaphore>>,
    queue: Semaphore,
    start_time: Option<HeaderValue>,
    /// [`POLICY`], and the style and the script of the pages.
    page_policy: HeaderValue,
}

impl Routes {
    pub(super) fn new(options: Options, backend: Arc<dyn Backend>, telemetry: Arc<HttpMetrics>) -> Self {
        let permits = (options.max_requests > 0).then(|| Arc::new(Semaphore::new(options.max_requests)));
        let scrapes = Scrapes::new(backend.clone(), telemetry.clone());
        let start_time = process_start_time().map(|seconds| HeaderValue::from(seconds as u64));
        let page_policy = HeaderValue::try_from(page::policy(POLICY)).unwrap_or(HeaderValue::from_static(POLICY));
        let queue = Semaphore::new(QUEUE);
        Self { options, backend, telemetry, scrapes, permits, queue, start_time, page_policy }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> BytesResponse {
        let web = self.options.web.current();
        let mut response = match self.refusal(&web, request.headers()).await {
            Some(refusal) => refusal,
            None if !request.body().is_end_stream() => self.refuse_body(),
            None => self.dispatch(&request).await,
        };
        harden(response.headers_mut());
        for (name, value) in &web.headers {
            match value {
                Some(value) => response.headers_mut().insert(name, value.clone()),
                None => response.headers_mut().remove(name),
            };
        }
        response
    }

    /// Refuses by the web configuration: the rate limit comes first, as in exporter-toolkit, and so limits guesses too.
    async fn refusal(&self, web: &WebSettings, headers: &HeaderMap) -> Option<BytesResponse> {
        if web.rate.as_ref().is_some_and(|rate| !rate.allows(Instant::now())) {
            let reason = "Too many requests: rate_limit of the web configuration.\n";
            let again = (header::RETRY_AFTER, RETRY_AFTER);
            return Some(self.refuse(HttpRefusal::RateLimit, StatusCode::TOO_MANY_REQUESTS, again, reason));
        }
        match web.users.as_ref()?.check(headers.get(header::AUTHORIZATION)).await {
            AuthResult::Allowed => None,
            AuthResult::Busy => {
                Some(self.busy(HttpRefusal::PasswordQueue, "Too many passwords are waiting to be checked.\n"))
            }
            AuthResult::Denied => {
                let challenge = (header::WWW_AUTHENTICATE, CHALLENGE);
                let reason = "A valid user and password are required.\n";
                Some(self.refuse(HttpRefusal::Unauthorized, StatusCode::UNAUTHORIZED, challenge, reason))
            }
        }
    }

    async fn dispatch(&self, request: &Request<Incoming>) -> BytesResponse {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        let below = path.strip_prefix(self.options.telemetry_path.as_str());
        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
        match path {
            "/-/reload" if !matches!(*method, Method::POST | Method::PUT) => method_not_allowed("POST, PUT"),
            "/-/reload" => self.reload().await,
            "/" | "/targets" | "/overview" | "/-/healthy" | "/-/ready" if !is_read(method) => {
                method_not_allowed("GET, HEAD")
            }
            "/" => self.overview_page(headers).await,
            "/targets" => self.targets(headers).await,
            "/overview" => self.json(headers, |backend| Some(backend.overview(&SPARKS))).await,
            "/-/healthy" => text(StatusCode::OK, "Healthy.\n"),
            "/-/ready" => ready(self.backend.readiness()),
            _ => match below {
                None if JVM_PATHS.iter().any(|prefix| path.starts_with(prefix)) => self.jvm(request).await,
                None => text(StatusCode::NOT_FOUND, "Not found.\n"),
                Some(_) if !is_read(method) => method_not_allowed("GET, HEAD"),
                Some(below) => self.metrics(below.strip_prefix('/'), headers).await,
            },
        }
    }

    /// `None` is the default profile.
    async fn metrics(&self, profile: Option<&str>, headers: &HeaderMap) -> BytesResponse {
        let profiles = self.backend.profiles();
        let profile = match profile {
            None => profiles.into_iter().next(),
            Some(profile) => profiles.into_iter().find(|name| *name == profile),
        };
        let Some(profile) = profile else {
            return text(StatusCode::NOT_FOUND, "No such profile; / lists the profiles.\n");
        };
        let response = self.scrape(profile.clone(), headers).await;
        self.telemetry.scraped(&profile, response.status().as_u16());
        response
    }

    /// A scrape that joins an equal one needs no permit.
    async fn scrape(&self, profile: String, headers: &HeaderMap) -> BytesResponse {
        let arrived = Instant::now();
        // The run holds it too: it counts while it works, whether a client still waits or not.
        let counted = Arc::new(self.telemetry.request());
        let representation = negotiate::representation(values(headers, &header::ACCEPT));
        let encoding = accepted_encoding(headers);
        let deadline = scrape_deadline(headers);
        let key = ScrapeKey { profile, format: representation.format, encoding, deadline };
        let run = match self.scrapes.running(&key) {
            Some(run) => run,
            None => match self.admit(deadline).await {
                Some(permit) => self.scrapes.start(key, arrived, (permit, counted.clone())),
                None => return self.too_many(),
            },
        };
        match outcome(run, arrived + deadline.timeout).await {
            Ok(body) => {
                let mut response = encoded(body, &representation.to_string());
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
                if let Some(start_time) = &self.start_time {
                    response.headers_mut().insert(PROCESS_START_TIME, start_time.clone());
                }
                response
            }
            Err(ScrapeFailure::NoSuchProfile) => text(StatusCode::NOT_FOUND, "A reload has removed the profile.\n"),
            Err(ScrapeFailure::Panicked | ScrapeFailure::Compression) => internal_error(),
            Err(ScrapeFailure::Timeout) => {
                self.busy(HttpRefusal::Deadline, "The exposition was not ready within the scrape timeout.\n")
            }
        }
    }

    async fn overview_page(&self, headers: &HeaderMap) -> BytesResponse {
        let page = |site: &Site<'_>, backend: &dyn Backend| {
            let ready = backend.readiness() == Readiness::Ready;
            Some(page::overview_page(site, ready, &backend.overview(&SPARKS)))
        };
        self.page(headers, page).await
    }

    /// Responds with an HTML document, which may run its script; `None` is not found.
    async fn page(
        &self,
        headers: &HeaderMap,
        make: impl FnOnce(&Site<'_>, &dyn Backend) -> Option<String> + Send + 'static,
    ) -> BytesResponse {
        let path = self.options.telemetry_path.clone();
        let document = move |backend: &dyn Backend| {
            make(&Site { telemetry_path: path.as_str(), profiles: &backend.profiles() }, backend)
        };
        let mut response = self.read(headers, "text/html; charset=utf-8", document).await;
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.page_policy.clone());
        }
        response
    }

    /// A path of [`JVM_PATHS`].
    async fn jvm(&self, request: &Request<Incoming>) -> BytesResponse {
        let (uri, headers) = (request.uri(), request.headers());
        if !is_read(request.method()) {
            return method_not_allowed("GET, HEAD");
        }
        let named = JVM_PATHS.into_iter().find_map(|prefix| {
            let key = jvm_path::parse(uri.path().strip_prefix(prefix)?, uri.query())?;
            Some((prefix, key))
        });
        match named {
            Some((JVM_PAGE, key)) => {
                self.page(headers, move |site, backend| Some(page::jvm_page(site, &backend.jvm(&key)?))).await
            }
            Some((JVM_EXPLAINED, key)) => {
                self.read(headers, "text/plain; charset=utf-8", move |backend| backend.explain(&key)).await
            }
            Some((_, key)) => self.json(headers, move |backend| backend.jvm(&key)).await,
            None => {
                text(StatusCode::NOT_FOUND, "Not found: expected the app and the slot of a JVM, as in /jvm/APP/SLOT.\n")
            }
        }
    }

    async fn targets(&self, headers: &HeaderMap) -> BytesResponse {
        // A listing consists of strings and numbers, whose serialisation cannot fail.
        let json = |backend: &dyn Backend| serde_json::to_string_pretty(&backend.targets()).unwrap_or_default() + "\n";
        self.read(headers, "application/json", move |backend| Some(json(backend))).await
    }

    /// Responds with JSON of what `make` reads of the JVMs on a blocking thread; `None` is not found.
    async fn json<T: Serialize>(
        &self,
        headers: &HeaderMap,
        make: impl FnOnce(&dyn Backend) -> Option<T> + Send + 'static,
    ) -> BytesResponse {
        // What is made consists of strings and numbers, whose serialisation cannot fail.
        let json = |backend: &dyn Backend| {
            let made = make(backend)?;
            Some(serde_json::to_string(&made).unwrap_or_default() + "\n")
        };
        self.read(headers, "application/json", json).await
    }

    /// Responds with what `make` reads of the JVMs on a blocking thread; `None` is not found.
    async fn read(
        &self,
        headers: &HeaderMap,
        media: &'static str,
        make: impl FnOnce(&dyn Backend) -> Option<String> + Send + 'static,
    ) -> BytesResponse {
        let counted = self.telemetry.request();
        let Some(permit) = self.admit(scrape_deadline(headers)).await else { return self.too_many() };
        let (backend, scrapes, encoding) = (self.backend.clone(), self.scrapes.clone(), accepted_encoding(headers));
        let body = tokio::task::spawn_blocking(move || {
            let _until_done = (permit, counted);
            make(&*backend).map(|body| scrapes.encode(body, encoding)).transpose()
        });
        let Ok(Ok(body)) = body.await else { return internal_error() };
        let Some(body) = body else {
            return text(StatusCode::NOT_FOUND, "No such JVM; / lists those that are known.\n");
        };
        let mut response = encoded(body, media);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        response
    }

    async fn reload(&self) -> BytesResponse {
        if !self.options.lifecycle {
            self.telemetry.request_refused(HttpRefusal::Lifecycle);
            let reason = "Reloading over HTTP needs --web.enable-lifecycle; SIGHUP always works.\n";
            return text(StatusCode::FORBIDDEN, reason);
        }
        let backend = self.backend.clone();
        match tokio::task::spawn_blocking(move || backend.reload()).await {
            Ok(Ok(())) => text(StatusCode::OK, "Reloaded.\n"),
            Ok(Err(error)) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("The previous configuration stays in force: {error}\n"))
            }
            Err(_) => internal_error(),
        }
    }

    /// A permit to read JVMs. While none is free, [`QUEUE`] requests wait up to half of their time, in their order.
    async fn admit(&self, deadline: ScrapeDeadline) -> Option<Permit> {
        let Some(permits) = &self.permits else { return Some(None) };
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Some(Some(permit));
        }
        let _waiting = self.queue.try_acquire().ok()?;
        let permit = tokio::time::timeout(deadline.budget / 2, permits.clone().acquire_owned()).await;
        permit.ok()?.ok().map(Some)
    }

    fn too_many(&self) -> BytesResponse {
        let reason = format!("Too many requests at a time: {} (--web.max-requests).\n", self.options.max_requests);
        self.busy(HttpRefusal::MaxRequests, reason)
    }

    fn busy(&self, refusal: HttpRefusal, reason: impl Into<Bytes>) -> BytesResponse {
        self.refuse(refusal, StatusCode::SERVICE_UNAVAILABLE, (header::RETRY_AFTER, RETRY_AFTER), reason)
    }

    /// The body stays unread, so the connection is closed.
    fn refuse_body(&self) -> BytesResponse {
        let close = (header::CONNECTION, HeaderValue::from_static("close"));
        let reason = "No endpoint accepts a request body.\n";
        self.refuse(HttpRefusal::Body, StatusCode::PAYLOAD_TOO_LARGE, close, reason)
    }

    fn refuse(
        &self,
        refusal: HttpRefusal,
        status: StatusCode,
        (name, value): (HeaderName, HeaderValue),
        reason: impl Into<Bytes>,
    ) -> BytesResponse {
        self.telemetry.request_refused(refusal);
        let mut response = text(status, reason);
        response.headers_mut().insert(name, value);
        response
    }
}

/// Permission to read JVMs; `None` where their number is not bounded.
type Permit = Option<OwnedSemaphorePermit>;

fn scrape_deadline(headers: &HeaderMap) -> ScrapeDeadline {
    ScrapeDeadline::from_header(headers.get(SCRAPE_TIMEOUT).map(HeaderValue::as_bytes))
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn ready(readiness: Readiness) -> BytesResponse {
    let not_ready = |reason| text(StatusCode::SERVICE_UNAVAILABLE, format!("Not ready: {reason}.\n"));
    match readiness {
        Readiness::Ready => text(StatusCode::OK, "Ready.\n"),
        Readiness::Starting => not_ready("the first scan has not finished".to_owned()),
        Readiness::Overdue(age) => not_ready(format!("the last scan ended {} s ago; see the log", age.as_secs())),
    }
}

fn method_not_allowed(methods: &'static str) -> BytesResponse {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Allowed methods: {methods}.\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn internal_error() -> BytesResponse {
    text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error; the exporter's log has the cause.\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> BytesResponse {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// hyper adds Content-Length, and omits the body where the method is HEAD.
fn encoded(body: Encoded, media: &str) -> BytesResponse {
    let mut response = Response::new(body.bytes);
    let headers = response.headers_mut();
    if let Ok(media) = HeaderValue::from_str(media) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    if body.encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Headers that restrict what browsers do with a response.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn accepted_encoding(headers: &HeaderMap) -> Encoding {
    negotiate::encoding(values(headers, &header::ACCEPT_ENCODING))
}
