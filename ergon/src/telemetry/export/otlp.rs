//! Builds the exporters that send to a collector by gRPC or HTTP.

use std::fmt;
use std::pin::Pin;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind};
use crate::settings::plan::{Endpoint, Protocol};

pub(super) fn spans(endpoint: &Endpoint, runtime: &Handle) -> Result<SpanExporter, Error> {
    let _inside = runtime.enter();
    let builder = SpanExporter::builder();
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint).build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

pub(super) fn metrics(endpoint: &Endpoint, delta: bool, runtime: &Handle) -> Result<MetricExporter, Error> {
    let _inside = runtime.enter();
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint).build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

pub(super) fn lines(endpoint: &Endpoint, runtime: &Handle) -> Result<LogExporter, Error> {
    let _inside = runtime.enter();
    let builder = LogExporter::builder();
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint).build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, endpoint: &Endpoint) -> B {
    let metadata = MetadataMap::from_headers(headers(endpoint));
    let builder = builder.with_endpoint(&endpoint.url).with_timeout(endpoint.timeout);
    // The library adds its own reading of the variables; only the settings' reading counts.
    builder.with_interceptor(move |mut request: tonic::Request<()>| {
        request.metadata_mut().clone_from(&metadata);
        Ok(request)
    })
}

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, endpoint: &Endpoint) -> Result<B, Error> {
    // An installed provider stays: any provider works.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(endpoint.timeout).build().map_err(|error| {
        Error::new(ErrorKind::Settings, "the client for the collector cannot be built").with_source(error)
    })?;
    let builder = builder.with_endpoint(&endpoint.url).with_timeout(endpoint.timeout);
    Ok(builder
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_http_client(Sender { client, headers: headers(endpoint) }))
}

/// The headers of every request, for both protocols.
fn headers(endpoint: &Endpoint) -> HeaderMap {
    let headers = endpoint.headers.iter().filter_map(|(name, value)| {
        // Invalid headers were dropped when the settings were read.
        let (name, mut value) = (name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?);
        value.set_sensitive(true);
        Some((name, value))
    });
    headers.collect()
}

/// Sends over HTTP with the headers of the settings, and without headers from the library's own reading.
struct Sender {
    client: Client,
    headers: HeaderMap,
}

/// Hides the headers, because they may contain a token.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl HttpClient for Sender {
    fn send_bytes<'s, 'f>(
        &'s self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let mut headers = self.headers.clone();
        for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
            if let Some(value) = request.headers_mut().remove(&name) {
                headers.insert(name, value);
            }
        }
        *request.headers_mut() = headers;
        self.client.send_bytes(request)
    }
}

fn refused(endpoint: &Endpoint, error: ExporterBuildError) -> Error {
    // The library's message repeats the address, which may contain credentials.
    drop(error);
    Error::new(ErrorKind::Settings, format!("{} does not hold the address of a collector", endpoint.set_by))
        .with_hint("set OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4317 (gRPC), or port 4318 and OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
}
