//! Makes the same three spans for each transaction without the engine: transaction, process, success. As many tasks as
//! the engine has lanes share one cursor, and a batch processor drops the spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ergon::__private::observe::Nowhere;
use opentelemetry::trace::{Span, SpanBuilder, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

use crate::{CONCURRENCY, PASSES, TRANSACTIONS};

/// Microseconds for each transaction, with this share of the transactions sampled, or without spans.
pub(crate) fn run(ratio: Option<f64>) -> f64 {
    let sampler = match ratio {
        Some(ratio) if ratio >= 1.0 => Sampler::AlwaysOn,
        Some(ratio) if ratio > 0.0 => Sampler::TraceIdRatioBased(ratio),
        _ => Sampler::AlwaysOff,
    };
    let config =
        BatchConfigBuilder::default().with_max_queue_size(16_384).with_max_export_batch_size(1_024).build();
    let processor = BatchSpanProcessor::builder(Nowhere).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(sampler)))
        .with_span_processor(processor)
        .build();
    let tracer = ratio.map(|_| provider.tracer("hand"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        go(tracer.clone(), TRANSACTIONS / 10).await;
        let mut sum = 0.0;
        for _ in 0..PASSES {
            sum += go(tracer.clone(), TRANSACTIONS).await;
        }
        sum / PASSES as f64
    })
}

async fn go(tracer: Option<SdkTracer>, count: usize) -> f64 {
    let (cursor, ids) = (Arc::new(AtomicUsize::new(0)), ids(count));
    let began = Instant::now();
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (cursor, ids, tracer) = (Arc::clone(&cursor), Arc::clone(&ids), tracer.clone());
            tokio::spawn(async move {
                while let Some(id) = ids.get(cursor.fetch_add(1, Ordering::Relaxed)) {
                    transaction(tracer.as_ref(), id).await;
                    tokio::task::coop::consume_budget().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn ids(count: usize) -> Arc<Vec<Arc<str>>> {
    Arc::new((0..count).map(|n| format!("order-{n}").into()).collect())
}

async fn transaction(tracer: Option<&SdkTracer>, id: &Arc<str>) {
    let Some(tracer) = tracer else {
        work(id).await;
        return work(id).await;
    };
    let builder = SpanBuilder::from_name("transaction").with_attributes([
        KeyValue::new("ergon.task.name", "noop"),
        KeyValue::new("ergon.transaction.id", Arc::clone(id)),
    ]);
    let outer = Context::new().with_span(tracer.build_with_context(builder, &Context::new()));
    for step in ["process", "success"] {
        let builder = SpanBuilder::from_name(step).with_attributes([KeyValue::new("ergon.attempt", 1)]);
        let mut span = tracer.build_with_context(builder, &outer);
        work(id).await;
        span.end();
    }
    outer.span().end();
}

#[expect(clippy::unused_async, reason = "a handler is async")]
async fn work(id: &str) {
    std::hint::black_box(id.len());
}
