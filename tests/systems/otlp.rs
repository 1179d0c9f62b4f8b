//! Tests the collector that the tests of telemetry use: it keeps what it receives, and fails as the test says.

use std::time::Duration;

use ergon_tests::otlp::{Collector, Figure, Status};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status as ProtoStatus};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Any::StringValue(value.to_owned()))
}

fn resource() -> Resource {
    Resource { attributes: vec![text("service.name", "orders")], ..Resource::default() }
}

fn span(name: &str, id: u8, parent: &[u8]) -> Span {
    Span {
        name: name.to_owned(),
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        parent_span_id: parent.to_vec(),
        kind: 5,
        ..Span::default()
    }
}

/// Two spans, one the parent of the other.
fn traces() -> ExportTraceServiceRequest {
    let child = Span {
        attributes: vec![pair("ergon.attempt", Any::IntValue(2)), text("ergon.category", "system")],
        events: vec![Event { name: "exception".to_owned(), ..Event::default() }],
        links: vec![Link { trace_id: vec![8; 16], span_id: vec![3; 8], ..Link::default() }],
        status: Some(ProtoStatus { code: 2, message: "broke".to_owned() }),
        ..span("process", 2, &[1; 8])
    };
    let scope = ScopeSpans { spans: vec![span("transaction", 1, &[]), child], ..ScopeSpans::default() };
    let part =
        ResourceSpans { resource: Some(resource()), scope_spans: vec![scope], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![part] }
}

fn logs() -> ExportLogsServiceRequest {
    let log = LogRecord {
        body: Some(any(Any::StringValue("low stock".to_owned()))),
        severity_text: "WARN".to_owned(),
        trace_id: vec![7; 16],
        ..LogRecord::default()
    };
    let scope = Some(InstrumentationScope { name: "shop::stock".to_owned(), ..Default::default() });
    let scope = ScopeLogs { scope, log_records: vec![log], ..ScopeLogs::default() };
    let part =
        ResourceLogs { resource: Some(resource()), scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![part] }
}

/// A counter and a histogram, each with one series.
fn metrics(temporality: AggregationTemporality, by: u32) -> ExportMetricsServiceRequest {
    let attributes = vec![text("task", "ship")];
    let value = Some(Number::AsInt(by.into()));
    let counted = NumberDataPoint { attributes: attributes.clone(), value, ..Default::default() };
    let recorded = HistogramDataPoint {
        attributes,
        count: by.into(),
        sum: Some(f64::from(by) / 2.0),
        explicit_bounds: vec![1.0],
        bucket_counts: vec![by.into(), 0],
        ..Default::default()
    };
    let aggregation_temporality = temporality.into();
    let sum = Sum { data_points: vec![counted], aggregation_temporality, is_monotonic: true };
    let histogram = Histogram { data_points: vec![recorded], aggregation_temporality };
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let metrics = vec![metric("done", Data::Sum(sum)), metric("took", Data::Histogram(histogram))];
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let part = ResourceMetrics {
        resource: Some(resource()),
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![part] }
}

/// Posts a message, and returns the status of the response.
async fn post(endpoint: &str, path: &str, message: &impl Message) -> u16 {
    let address = endpoint.strip_prefix("http://").unwrap();
    let body = message.encode_to_vec();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn spans_come_by_grpc_with_all_that_a_test_asks_for() {
    let collector = Collector::grpc().await;
    let mut client = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
    client.export(traces()).await.unwrap();
    let seen = collector.until(|seen| seen.spans.len() == 2).await;
    let child = seen.spans_named("process").next().unwrap();
    let parent = seen.parent(child).unwrap();
    assert_eq!(
        (parent.name.as_str(), &parent.parent_id, &parent.status),
        ("transaction", &None, &Status::Unset)
    );
    assert_eq!(seen.children(parent).map(|span| &*span.span_id).collect::<Vec<_>>(), ["0202020202020202"]);
    assert_eq!(seen.spans_with("ergon.attempt", 2).count(), 1);
    assert_eq!(seen.spans_with("ergon.attempt", "2").count(), 0);
    assert_eq!((child.kind, &child.status), ("CONSUMER", &Status::Error("broke".to_owned())));
    assert_eq!(child.links, [("08".repeat(16), "03".repeat(8))]);
    assert_eq!(
        (child.events[0].name.as_str(), &child.resource["service.name"]),
        ("exception", &"orders".into())
    );
}

#[tokio::test]
async fn all_signals_come_by_http() {
    let collector = Collector::http().await;
    let endpoint = collector.endpoint();
    let cumulative = AggregationTemporality::Cumulative;
    assert_eq!(post(&endpoint, "/v1/traces", &traces()).await, 200);
    assert_eq!(post(&endpoint, "/v1/logs", &logs()).await, 200);
    assert_eq!(post(&endpoint, "/v1/metrics", &metrics(cumulative, 3)).await, 200);
    assert_eq!(post(&endpoint, "/v1/else", &traces()).await, 404);
    let seen = collector.seen();
    assert_eq!((seen.requests, seen.spans.len(), seen.logs.len(), seen.metrics.len()), (3, 2, 1, 2));
    let log = seen.logs_saying("stock").next().unwrap();
    assert_eq!((log.severity.as_str(), log.target.as_str(), &log.span_id), ("WARN", "shop::stock", &None));
    collector.forget();
    assert_eq!(collector.seen().requests, 0);
}

#[tokio::test]
async fn the_latest_value_of_a_series_is_kept_and_differences_are_added_up() {
    let collector = Collector::grpc().await;
    let mut client = MetricsServiceClient::connect(collector.endpoint()).await.unwrap();
    for (temporality, by) in [
        (AggregationTemporality::Cumulative, 3),
        (AggregationTemporality::Cumulative, 5),
        (AggregationTemporality::Delta, 4),
    ] {
        client.export(metrics(temporality, by)).await.unwrap();
    }
    let seen = collector.seen();
    assert_eq!(seen.metrics.len(), 2);
    assert!((seen.total("done", &[("task", "ship")]) - 9.0).abs() < 1e-9);
    assert!(seen.total("done", &[("task", "pack")]).abs() < 1e-9);
    let took = seen.series("took", &[]).next().unwrap();
    assert_eq!(took.count(), 9);
    let figure = Figure::Histogram { count: 9, sum: 4.5, bounds: vec![1.0], buckets: vec![9, 0] };
    assert_eq!(took.figure, figure);
}

#[tokio::test]
async fn a_collector_that_refuses_says_so_and_keeps_nothing() {
    let (grpc, http) = (Collector::grpc().await, Collector::http().await);
    grpc.refuse();
    http.refuse();
    let mut client = TraceServiceClient::connect(grpc.endpoint()).await.unwrap();
    assert_eq!(client.export(traces()).await.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(post(&http.endpoint(), "/v1/traces", &traces()).await, 503);
    for collector in [&grpc, &http] {
        let seen = collector.seen();
        assert_eq!((seen.requests, seen.spans.len()), (1, 0));
        collector.recover();
    }
    client.export(traces()).await.unwrap();
    assert_eq!(grpc.spans().len(), 2);
}

#[tokio::test]
async fn a_collector_that_hangs_answers_only_when_it_recovers() {
    let collector = Collector::http().await;
    collector.hang();
    let endpoint = collector.endpoint();
    let mut posted = tokio::spawn(async move { post(&endpoint, "/v1/traces", &traces()).await });
    collector.until(|seen| seen.requests == 1).await;
    assert!(timeout(Duration::from_millis(500), &mut posted).await.is_err(), "it was answered");
    assert!(collector.spans().is_empty());
    collector.recover();
    assert_eq!(posted.await.unwrap(), 200);
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn a_slow_collector_moves_one_byte_a_second() {
    let collector = Collector::http().await;
    collector.one_byte_a_second();
    let endpoint = collector.endpoint();
    let began = Instant::now();
    let answer = timeout(Duration::from_millis(2500), post(&endpoint, "/v1/traces", &traces())).await;
    assert!(answer.is_err() && began.elapsed() >= Duration::from_millis(2500));
    assert_eq!(collector.seen().requests, 0, "not even the head came in that time");
    collector.recover();
    assert_eq!(post(&endpoint, "/v1/traces", &traces()).await, 200);
}

#[tokio::test]
async fn a_collector_that_was_stopped_comes_back_on_its_port_with_what_it_kept() {
    let mut collector = Collector::http().await;
    let endpoint = collector.endpoint();
    assert_eq!(post(&endpoint, "/v1/traces", &traces()).await, 200);
    collector.stop();
    let address = endpoint.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    collector.restart().await;
    assert_eq!(collector.endpoint(), endpoint);
    assert_eq!(post(&endpoint, "/v1/traces", &traces()).await, 200);
    assert_eq!(collector.spans().len(), 4);
}
