//! The exporters that send to a collector, by gRPC or HTTP.

use std::collections::HashMap;

use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind};
use crate::settings::plan::{Endpoint, Protocol};

pub(super) fn spans(endpoint: &Endpoint, runtime: &Handle) -> Result<SpanExporter, Error> {
    let _inside = runtime.enter();
    let builder = SpanExporter::builder();
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint)?.build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

pub(super) fn metrics(endpoint: &Endpoint, delta: bool, runtime: &Handle) -> Result<MetricExporter, Error> {
    let _inside = runtime.enter();
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint)?.build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

pub(super) fn lines(endpoint: &Endpoint, runtime: &Handle) -> Result<LogExporter, Error> {
    let _inside = runtime.enter();
    let builder = LogExporter::builder();
    let built = match endpoint.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), endpoint)?.build(),
        Protocol::Http => http(builder.with_http(), endpoint)?.build(),
    };
    built.map_err(|error| refused(endpoint, error))
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, endpoint: &Endpoint) -> Result<B, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        let parsed = (name.to_ascii_lowercase().parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(name), Ok(mut value)) = parsed else { return Err(no_header(name)) };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let builder = builder.with_endpoint(&endpoint.url).with_timeout(endpoint.timeout);
    Ok(builder.with_metadata(MetadataMap::from_headers(headers)))
}

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, endpoint: &Endpoint) -> Result<B, Error> {
    // The one that is installed already stays: any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(endpoint.timeout).build().map_err(|error| {
        Error::new(ErrorKind::Settings, "no client can be made for the collector").with_source(error)
    })?;
    let headers: HashMap<String, String> = endpoint.headers.iter().cloned().collect();
    let builder = builder.with_endpoint(&endpoint.url).with_timeout(endpoint.timeout);
    Ok(builder
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_http_client(client)
        .with_headers(headers))
}

fn refused(endpoint: &Endpoint, error: ExporterBuildError) -> Error {
    let message = format!("`{}` is no address of a collector", endpoint.url);
    Error::new(ErrorKind::Settings, message)
        .with_source(error)
        .with_hint("write OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4317 (gRPC), or port 4318 and OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
}

fn no_header(name: &str) -> Error {
    let message = format!("OTEL_EXPORTER_OTLP_HEADERS: `{name}` and its value are no header");
    Error::new(ErrorKind::Settings, message).with_hint("write name=value,name=value; other characters as %20")
}
