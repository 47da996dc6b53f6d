//! Paths and methods to answers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::AuthResult;
use super::landing;
use super::scrape::{Encoded, ScrapeDeadline, ScrapeFailure, ScrapeKey, Scrapes, outcome, pack};
use super::web::WebSettings;
use super::{Backend, Options};
use crate::output::prometheus::negotiate::{self, Encoding};
use crate::telemetry::{HttpMetrics, HttpRefusal, process_start_time};

/// What the scraper says it waits, in seconds.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// When the process that the samples come from started, as client_golang says it.
const PROCESS_START_TIME: HeaderName = HeaderName::from_static("process-start-time-unix");

/// Requests that wait until others have read their JVMs.
const QUEUE: usize = 128;

/// Seconds until a refused scraper may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// How to authenticate.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"hotspot-exporter\", charset=\"UTF-8\"");

/// Nothing but the page itself may load, run, frame or submit anything.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Answer = Response<Bytes>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Landing,
    /// `None` is the default profile.
    Metrics(Option<String>),
    Targets,
    Healthy,
    Ready,
    Reload,
}

/// The endpoints over a site.
pub(super) struct Routes {
    options: Options,
    site: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    scrapes: Arc<Scrapes>,
    places: Option<Arc<Semaphore>>,
    queue: Semaphore,
    start_time: Option<HeaderValue>,
}

impl Routes {
    pub(super) fn new(options: Options, site: Arc<dyn Backend>, telemetry: Arc<HttpMetrics>) -> Self {
        let places = (options.max_requests > 0).then(|| Arc::new(Semaphore::new(options.max_requests)));
        let scrapes = Scrapes::new(site.clone(), telemetry.clone());
        let start_time = process_start_time().map(|seconds| HeaderValue::from(seconds as u64));
        Self { options, site, telemetry, scrapes, places, queue: Semaphore::new(QUEUE), start_time }
    }

    /// The answer to a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let web = self.options.web.current();
        let mut answer = match self.refusal(&web, request.headers()).await {
            Some(refusal) => refusal,
            None => match self.route(request.uri().path()) {
                _ if !request.body().is_end_stream() => self.refuse_body(),
                None => text(StatusCode::NOT_FOUND, "Not found.\n"),
                Some(route) => match allowed(&route, request.method()) {
                    Err(methods) => method_not_allowed(methods),
                    Ok(()) => self.dispatch(route, request.headers()).await,
                },
            },
        };
        harden(answer.headers_mut());
        for (name, value) in &web.headers {
            match value {
                Some(value) => answer.headers_mut().insert(name, value.clone()),
                None => answer.headers_mut().remove(name),
            };
        }
        answer
    }

    /// What the web configuration has against the request; in the toolkit's order, so that guesses spend tokens too.
    async fn refusal(&self, web: &WebSettings, headers: &HeaderMap) -> Option<Answer> {
        if web.rate.as_ref().is_some_and(|rate| !rate.allows(Instant::now())) {
            self.telemetry.request_refused(HttpRefusal::RateLimit);
            let mut answer = text(StatusCode::TOO_MANY_REQUESTS, "Limit of the web configuration (rate_limit).\n");
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            return Some(answer);
        }
        if web.users.is_empty() {
            return None;
        }
        match web.users.check(headers.get(header::AUTHORIZATION)).await {
            AuthResult::Allowed => None,
            AuthResult::Busy => Some(self.busy(HttpRefusal::PasswordQueue, "Too many passwords wait to be checked.\n")),
            AuthResult::Denied => {
                self.telemetry.request_refused(HttpRefusal::Unauthorized);
                let mut answer = text(StatusCode::UNAUTHORIZED, "A user and password are needed.\n");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
                Some(answer)
            }
        }
    }

    fn route(&self, path: &str) -> Option<Route> {
        Some(match path {
            "/" => Route::Landing,
            "/targets" => Route::Targets,
            "/-/healthy" => Route::Healthy,
            "/-/ready" => Route::Ready,
            "/-/reload" => Route::Reload,
            path => match path.strip_prefix(self.options.telemetry_path.as_str())? {
                "" => Route::Metrics(None),
                below => Route::Metrics(Some(below.strip_prefix('/')?.to_owned())),
            },
        })
    }

    async fn dispatch(&self, route: Route, headers: &HeaderMap) -> Answer {
        match route {
            Route::Landing => self.landing(headers).await,
            Route::Metrics(profile) => self.metrics(profile, headers).await,
            Route::Targets => self.targets(headers).await,
            Route::Healthy => text(StatusCode::OK, "Healthy.\n"),
            Route::Ready if self.site.is_ready() => text(StatusCode::OK, "Ready.\n"),
            Route::Ready => text(StatusCode::SERVICE_UNAVAILABLE, "Not ready: the first scan has not ended.\n"),
            Route::Reload => self.reload().await,
        }
    }

    async fn metrics(&self, profile: Option<String>, headers: &HeaderMap) -> Answer {
        let profiles = self.site.profiles();
        let profile = match profile {
            None => profiles.into_iter().next(),
            Some(profile) => profiles.into_iter().find(|name| *name == profile),
        };
        let Some(profile) = profile else {
            return text(StatusCode::NOT_FOUND, "No such profile; / lists those there are.\n");
        };
        let answer = self.scrape(profile.clone(), headers).await;
        self.telemetry.scraped(&profile, answer.status().as_u16());
        answer
    }

    /// Who wants what is being made already waits for it without a place of his own.
    async fn scrape(&self, profile: String, headers: &HeaderMap) -> Answer {
        let asked = Instant::now();
        // Its own run shares it, and counts for as long as it works, whether anybody waits for it or not.
        let counted = Arc::new(self.telemetry.request());
        let representation = negotiate::representation(values(headers, &header::ACCEPT));
        let encoding = accepted_encoding(headers);
        let patience = patience(headers);
        let wish = ScrapeKey { profile, format: representation.format, encoding, patience };
        let run = match self.scrapes.running(&wish) {
            Some(run) => run,
            None => match self.admit(patience).await {
                Some(permit) => self.scrapes.start(wish, asked, (permit, counted.clone())),
                None => return self.too_many(),
            },
        };
        match outcome(run, asked + patience.timeout).await {
            Ok(packed) => {
                let mut answer = packed_answer(packed, &representation.to_string());
                answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
                if let Some(start_time) = &self.start_time {
                    answer.headers_mut().insert(PROCESS_START_TIME, start_time.clone());
                }
                answer
            }
            Err(ScrapeFailure::NoSuchProfile) => text(StatusCode::NOT_FOUND, "The profile is gone since a reload.\n"),
            Err(ScrapeFailure::Broken) => broken(),
            Err(ScrapeFailure::Late) => self.busy(HttpRefusal::Deadline, "The exposition was not ready in time.\n"),
        }
    }

    async fn landing(&self, headers: &HeaderMap) -> Answer {
        let path = self.options.telemetry_path.clone();
        let media = "text/html; charset=utf-8";
        let mut answer = self
            .read(headers, media, move |site| {
                landing::render(&landing::Contents {
                    telemetry_path: path.as_str(),
                    profiles: &site.profiles(),
                    ready: site.is_ready(),
                    listing: &site.targets(),
                })
            })
            .await;
        if answer.status() == StatusCode::OK {
            let policy = format!("{POLICY}; style-src '{}'", landing::STYLE_HASH);
            if let Ok(policy) = HeaderValue::try_from(policy) {
                answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            }
        }
        answer
    }

    async fn targets(&self, headers: &HeaderMap) -> Answer {
        self.read(headers, "application/json", |site| {
            // A listing holds strings and numbers only, which serialisation cannot fail on.
            let mut json = serde_json::to_string_pretty(&site.targets()).unwrap_or_default();
            json.push('\n');
            json
        })
        .await
    }

    /// Answers with what `make` reads of the JVMs, on a blocking thread.
    async fn read(
        &self,
        headers: &HeaderMap,
        media: &'static str,
        make: impl FnOnce(&dyn Backend) -> String + Send + 'static,
    ) -> Answer {
        let counted = self.telemetry.request();
        let Some(permit) = self.admit(patience(headers)).await else { return self.too_many() };
        let (site, encoding) = (self.site.clone(), accepted_encoding(headers));
        let made = tokio::task::spawn_blocking(move || {
            let _work = (permit, counted);
            pack(make(&*site).into(), encoding)
        });
        let Ok(packed) = made.await else { return broken() };
        let mut answer = packed_answer(packed, media);
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        answer
    }

    async fn reload(&self) -> Answer {
        if !self.options.lifecycle {
            self.telemetry.request_refused(HttpRefusal::Lifecycle);
            return text(
                StatusCode::FORBIDDEN,
                "Reloading over HTTP needs --web.enable-lifecycle; SIGHUP always works.\n",
            );
        }
        let site = self.site.clone();
        match tokio::task::spawn_blocking(move || site.reload()).await {
            Ok(Ok(())) => text(StatusCode::OK, "Reloaded.\n"),
            Ok(Err(error)) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("The old configuration stays in force: {error}\n"))
            }
            Err(_) => broken(),
        }
    }

    /// A place among those that read JVMs. Where all are taken, a few wait for some of their time, the first come first.
    async fn admit(&self, patience: ScrapeDeadline) -> Option<Permit> {
        let Some(places) = &self.places else { return Some(None) };
        if let Ok(permit) = places.clone().try_acquire_owned() {
            return Some(Some(permit));
        }
        let _waiting = self.queue.try_acquire().ok()?;
        let permit = tokio::time::timeout(patience.budget / 2, places.clone().acquire_owned()).await;
        permit.ok()?.ok().map(Some)
    }

    fn too_many(&self) -> Answer {
        let reason = format!("Limit of {} requests at a time (--web.max-requests).\n", self.options.max_requests);
        self.busy(HttpRefusal::MaxRequests, reason)
    }

    fn busy(&self, refusal: HttpRefusal, reason: impl Into<Bytes>) -> Answer {
        self.telemetry.request_refused(refusal);
        let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, reason);
        answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        answer
    }

    /// The body is left unread, so the connection cannot go on.
    fn refuse_body(&self) -> Answer {
        self.telemetry.request_refused(HttpRefusal::Body);
        let mut answer = text(StatusCode::PAYLOAD_TOO_LARGE, "No endpoint takes a request body.\n");
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

/// A place among those that read JVMs; there is none where they are not bounded.
type Permit = Option<OwnedSemaphorePermit>;

fn patience(headers: &HeaderMap) -> ScrapeDeadline {
    ScrapeDeadline::of(headers.get(SCRAPE_TIMEOUT).map(HeaderValue::as_bytes))
}

fn allowed(route: &Route, method: &Method) -> Result<(), &'static str> {
    let (ok, methods) = match route {
        Route::Reload => (matches!(*method, Method::POST | Method::PUT), "POST, PUT"),
        _ => (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD"),
    };
    if ok { Ok(()) } else { Err(methods) }
}

fn method_not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("Allowed here: {methods}.\n"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn broken() -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, "The exporter failed to answer; its log says why.\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// hyper states the length of the body and keeps it to itself when the method is HEAD.
fn packed_answer(packed: Encoded, media: &str) -> Answer {
    let mut answer = Response::new(packed.bytes);
    let headers = answer.headers_mut();
    if let Ok(media) = HeaderValue::from_str(media) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    if packed.encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// The headers that browsers are told to be careful with, as exporter-toolkit names them.
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
