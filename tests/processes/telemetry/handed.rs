//! Tests that a trace continues from task to task.

use ergon_tests::otlp::{Collector, Seen, Span};

use super::{Project, transaction, tree};

/// The spans of a task that have this name.
fn of<'s>(seen: &'s Seen, task: &'static str, name: &'static str) -> Vec<&'s Span> {
    seen.spans_with("ergon.task.name", task).filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_through_a_queue_in_memory() {
    let (collector, project) = (Collector::grpc().await, Project::new(&["fine", "fine", "fine"]));
    let endpoint = collector.endpoint();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    // The second task waits for more until it is stopped.
    let _child = project.command(&["run", "hand", "take"], &variables).spawn().unwrap();
    let all = |seen: &Seen| {
        let batches = of(seen, "take", "batch");
        let linked = |taken: &&Span| batches.iter().any(|batch| taken.links[0].1 == batch.span_id);
        of(seen, "hand", "run hand").len() == 1
            && of(seen, "take", "transaction").iter().filter(|taken| linked(taken)).count() == 3
    };
    let seen = collector.until(all).await;

    let run = of(&seen, "hand", "run hand")[0];
    let handed = of(&seen, "hand", "transaction");
    assert_eq!(handed.len(), 3);
    for span in handed {
        assert_eq!(span.trace_id, run.trace_id);
        let whole = "transaction(process success(dispatch(transaction(process success))))";
        assert_eq!(tree(&seen, span), whole, "{seen:#?}");
    }
    for taken in of(&seen, "take", "transaction") {
        assert_eq!(taken.trace_id, run.trace_id);
        // The batch belongs to the receiving task, and is not part of the sender's trace.
        let batch = of(&seen, "take", "batch").into_iter().find(|batch| taken.links[0].1 == batch.span_id);
        let batch = batch.unwrap();
        assert!(batch.trace_id == taken.links[0].0 && batch.trace_id != run.trace_id, "{taken:?} {batch:?}");
    }
}

#[tokio::test]
async fn a_finite_run_stays_one_trace_and_links_what_it_takes_to_its_senders() {
    let (sender, project) = (Collector::grpc().await, Project::new(&["fine", "fine"]));
    let endpoint = sender.endpoint();
    project.run(&["run", "observe"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let receiver = Collector::grpc().await;
    let endpoint = receiver.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("ERGON_LINES__PATH", "copies.jsonl"),
        ("ERGON_LINES__ENVELOPE", "always"),
    ];
    let output = project.run(&["run", "threads"], &variables).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (sent, taken) = (sender.seen(), receiver.seen());
    let run = taken.spans_named("run threads").next().unwrap();
    for line in 1..=2 {
        let sending = transaction(&sent, line);
        let success = sent.children(sending).find(|step| step.name == "success").unwrap();
        let dispatch = sent.children(success).next().unwrap();
        let id = format!("lines.jsonl:{line}/1");
        let taking = taken.spans_with("ergon.transaction.id", id).next().unwrap();
        assert_eq!(taking.trace_id, run.trace_id);
        assert_eq!(taking.links, [(dispatch.trace_id.clone(), dispatch.span_id.clone())]);
    }
}
