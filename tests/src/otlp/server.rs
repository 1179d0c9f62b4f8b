//! Runs the server of a collector on its own thread.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, serve};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tonic::service::Routes;

use super::slow::Port;
use super::{Mood, Seen};

/// The protocol of a collector.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    runtime: Runtime,
}

impl Server {
    pub(super) async fn start(
        protocol: Protocol,
        address: SocketAddr,
        seen: &watch::Sender<Seen>,
        mood: &watch::Sender<Mood>,
    ) -> Self {
        let desk = Desk { seen: seen.clone(), mood: mood.subscribe() };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (listens, listening) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.expect("the port is free");
            let address = listener.local_addr().expect("it is bound");
            let _ = listens.send(address);
            let port = Port { listener, mood: desk.mood.clone() };
            serve(port, desk.router(protocol)).await.expect("a server runs until it is stopped");
        });
        Self { address: listening.await.expect("it listens"), runtime }
    }

    /// Closes the port and all connections.
    pub(super) fn stop(self) {
        // Code that runs on a runtime must not wait for another runtime.
        let stopped = thread::spawn(|| self.runtime.shutdown_timeout(Duration::from_secs(5)));
        stopped.join().expect("it stops");
    }
}

/// Accepts connections.
#[derive(Debug, Clone)]
struct Desk {
    seen: watch::Sender<Seen>,
    mood: watch::Receiver<Mood>,
}

impl Desk {
    fn router(self, protocol: Protocol) -> Router {
        match protocol {
            Protocol::Grpc => {
                Routes::new(TraceServiceServer::new(self.clone()).max_decoding_message_size(usize::MAX))
                    .add_service(
                        MetricsServiceServer::new(self.clone()).max_decoding_message_size(usize::MAX),
                    )
                    .add_service(LogsServiceServer::new(self).max_decoding_message_size(usize::MAX))
                    .into_axum_router()
            }
            Protocol::Http => Router::new()
                .route("/v1/traces", post(http_traces))
                .route("/v1/metrics", post(http_metrics))
                .route("/v1/logs", post(http_logs))
                .layer(DefaultBodyLimit::disable())
                .with_state(self),
        }
    }

    /// Keeps the received telemetry, unless the collector refuses it. Returns whether it was kept.
    async fn take(&self, keep: impl FnOnce(&mut Seen)) -> bool {
        self.seen.send_modify(|seen| seen.requests += 1);
        let mut mood = self.mood.clone();
        let mood = mood.wait_for(|mood| *mood != Mood::Hangs).await.map_or(Mood::Refuses, |mood| *mood);
        let takes = mood != Mood::Refuses;
        if takes {
            self.seen.send_modify(keep);
        }
        takes
    }

    async fn answer<R: Default>(
        &self,
        keep: impl FnOnce(&mut Seen),
    ) -> Result<tonic::Response<R>, tonic::Status> {
        if self.take(keep).await {
            Ok(tonic::Response::new(R::default()))
        } else {
            Err(tonic::Status::unavailable("the collector refuses"))
        }
    }

    async fn respond<M: Message + Default>(
        &self,
        (headers, body): (HeaderMap, Bytes),
        keep: impl FnOnce(&mut Seen, M),
    ) -> Response {
        let protobuf = [(header::CONTENT_TYPE, "application/x-protobuf")];
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != protobuf[0].1) {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        let Ok(message) = M::decode(body) else { return StatusCode::BAD_REQUEST.into_response() };
        if self.take(|seen| keep(seen, message)).await {
            // The response of each signal is empty when everything was kept.
            protobuf.into_response()
        } else {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn http_traces(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    desk.respond((headers, body), Seen::add_traces).await
}

async fn http_metrics(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    desk.respond((headers, body), Seen::add_metrics).await
}

async fn http_logs(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    desk.respond((headers, body), Seen::add_logs).await
}

#[tonic::async_trait]
impl TraceService for Desk {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.answer(|seen| seen.add_traces(request.into_inner())).await
    }
}

#[tonic::async_trait]
impl MetricsService for Desk {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.answer(|seen| seen.add_metrics(request.into_inner())).await
    }
}

#[tonic::async_trait]
impl LogsService for Desk {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.answer(|seen| seen.add_logs(request.into_inner())).await
    }
}
