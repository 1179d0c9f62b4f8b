//! Tests the OpenAI service against a server that speaks its protocol, correctly and incorrectly.

use std::time::Duration;

use ergon::prelude::*;
use ergon::service::openai::{OpenaiError, Prompt, Schema};
use ergon_tests::web::{Server, Step, answer, json};
use futures_util::StreamExt;
use schemars::JsonSchema;
use serde_json::json;
use tokio::time::Instant;

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Complaint {
    product: String,
    pieces: Option<u32>,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Line {
    is_urgent: bool,
}

fn service(server: &Server) -> OpenaiService {
    let mut config = OpenaiConfig::new("sk-s3cret", "small-model");
    config.base_url = format!("{}/v1", server.url());
    config.retry = RetryPolicy { backoff: Duration::ZERO, max_attempts: 3, ..config.retry };
    config.organization = Some("org-1".into());
    config.build().unwrap()
}

/// A chat's answer with this message, which ended for this reason.
fn completion(message: &Value, reason: &str) -> Vec<Step> {
    let mut message = message.clone();
    message["role"] = "assistant".into();
    let choice = json!({"index": 0, "message": message, "finish_reason": reason});
    json(&json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}))
}

fn told(text: &str) -> Vec<Step> {
    completion(&json!({"content": text}), "stop")
}

async fn telling(text: &'static str) -> Server {
    Server::start(move |_, _| told(text)).await
}

#[tokio::test]
async fn a_question_is_answered_by_the_configs_model() {
    let server = telling("Paris").await;
    let prompt = Prompt::new().system("One word.").user("The capital of France?").temperature(0.0);
    assert_eq!(service(&server).ask(prompt.max_tokens(5)).await.unwrap(), "Paris");
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/chat/completions");
    assert_eq!(asked.header("authorization"), Some("Bearer sk-s3cret"));
    assert_eq!(asked.header("openai-organization"), Some("org-1"));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["model"], "small-model");
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "One word."}));
    assert_eq!((&body["temperature"], &body["max_completion_tokens"]), (&json!(0.0), &json!(5)));
    service(&server).ask(Prompt::from("again").model("large-model")).await.unwrap();
    assert!(server.asked()[1].body.contains(r#""model":"large-model""#));
}

#[tokio::test]
async fn a_structured_answer_is_asked_for_by_its_schema_and_decoded() {
    let server = telling(r#"{"product": "desk", "pieces": null, "lines": [{"is_urgent": true}]}"#).await;
    let complaint: Complaint = service(&server).extract("?", Schema::of::<Complaint>()).await.unwrap();
    assert_eq!(complaint.lines, [Line { is_urgent: true }]);
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    let format = &body["response_format"];
    assert_eq!((&format["type"], &format["json_schema"]["strict"]), (&json!("json_schema"), &json!(true)));
    let schema = &format["json_schema"]["schema"];
    assert_eq!(schema["required"], json!(["product", "pieces", "lines"]));
    assert_eq!(schema["properties"]["pieces"]["type"], json!(["integer", "null"]));
    assert_eq!(schema["properties"]["pieces"].get("format"), None, "strict mode knows no `uint32`");
    for object in [schema, &schema["$defs"]["Line"]] {
        assert_eq!(object["additionalProperties"], json!(false));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_told_with_its_place() {
    let server = telling("{\"product\": \"desk\",\n \"pieces\": 1, \"lines\": [{}]}").await;
    let error = service(&server).extract::<Complaint>("?", Schema::of::<Complaint>()).await.unwrap_err();
    let start =
        "the answer does not fit the schema at `lines[0]`, line 2 column 26; it begins with: {\"product\"";
    assert!(error.to_string().starts_with(start), "{error}");
    assert_eq!(error.category(), Category::System);
    let server = telling("{\"is_urgent\": true}{\"is_urgent\": false} or so").await;
    let error = service(&server).extract::<Line>("?", Schema::of::<Line>()).await.unwrap_err();
    assert!(error.to_string().contains("the schema behind its end, line 1 column 20"), "{error}");
}

#[tokio::test]
async fn a_schema_that_the_protocol_refuses_is_not_sent() {
    let server = telling("1").await;
    for schema in [Schema::of::<Vec<u8>>(), Schema::new("a b", json!({"type": "object"}))] {
        let error = service(&server).extract::<Value>("?", schema).await.unwrap_err();
        assert!(matches!(error, OpenaiError::Schema { .. }), "{error}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_with_its_category() {
    let rows = [
        (
            completion(&json!({"refusal": "I will not."}), "stop"),
            "the model refused to answer: I will not.",
            Category::Business,
        ),
        (
            completion(&json!({"content": "Par"}), "length"),
            "the answer was cut off at the limit of tokens",
            Category::Business,
        ),
        (
            completion(&json!({"content": ""}), "content_filter"),
            "the answer was held back",
            Category::Business,
        ),
        (completion(&json!({}), "stop"), "the answer has no text", Category::System),
    ];
    for (steps, message, category) in rows {
        let server = Server::start(move |_, _| steps.clone()).await;
        let error = TransactionError::from(service(&server).ask("?").await.unwrap_err());
        assert!(error.message().starts_with(message), "{error}");
        assert_eq!(error.category(), category);
    }
}

#[tokio::test]
async fn embeddings_come_in_the_order_of_the_texts() {
    let server = Server::start(|_, _| {
        let one =
            |index: u32, value: f32| json!({"index": index, "object": "embedding", "embedding": [value]});
        let usage = json!({"prompt_tokens": 1, "total_tokens": 1});
        json(&json!({"object": "list", "model": "m", "data": [one(1, 0.5), one(0, 0.25)], "usage": usage}))
    })
    .await;
    assert_eq!(service(&server).embed(["a", "b"]).await.unwrap(), [[0.25], [0.5]]);
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!((&body["model"], &body["input"]), (&json!("text-embedding-3-small"), &json!(["a", "b"])));
    let error = service(&server).embed(["a"]).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer has no text", "one too many");
    let server = Server::start(|_, _| {
        let one = json!({"index": 0, "object": "embedding", "embedding": [0.5]});
        let usage = json!({"prompt_tokens": 1, "total_tokens": 1});
        json(&json!({"object": "list", "model": "m", "data": [one, one], "usage": usage}))
    })
    .await;
    assert!(service(&server).embed(["a", "b"]).await.is_err(), "one text twice, and one not at all");
}

#[tokio::test]
async fn a_limit_of_requests_is_waited_for_and_the_question_asked_again() {
    let server = Server::start(|before, _| match before {
        0 => answer("429 Too Many Requests", "retry-after: 1", r#"{"error": {"message": "slow down"}}"#),
        1 => answer("500 Internal Server Error", "", ""),
        _ => told("done"),
    })
    .await;
    let began = Instant::now();
    assert_eq!(service(&server).ask("?").await.unwrap(), "done");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_wrong_key_is_told_without_the_key() {
    let body = r#"{"error": {"message": "Incorrect API key provided: sk-s3cret."}}"#;
    let server = Server::start(move |_, _| answer("401 Unauthorized", "", body)).await;
    let service = service(&server);
    let error = service.ask("?").await.unwrap_err();
    assert!(error.to_string().contains("Incorrect API key provided: [secret]."), "{error}");
    assert_eq!((error.category(), server.asked().len()), (Category::Business, 1));
    let mut config = OpenaiConfig::new("sk-s3cret", "m");
    assert!(!format!("{error:?} {service:?} {config:?}").contains("s3cret"));
    config.api_key = "sk-s3cret\n".into();
    let error = config.build().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

/// The events of a streamed answer, as they go over the wire.
fn events(texts: &[&str]) -> String {
    let event = |text: &&str| {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
        let chunk = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    texts.iter().map(event).collect()
}

/// A streamed answer: the pieces that are sent, and the action after them.
async fn streaming(pieces: Vec<String>, then: Option<Step>) -> Server {
    Server::start(move |_, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let mut steps = vec![Step::Send(head.into())];
        steps.extend(pieces.iter().map(|piece| Step::Send(piece.clone().into_bytes())));
        steps.extend(then.clone());
        steps
    })
    .await
}

#[tokio::test]
async fn a_streamed_answer_comes_as_it_is_written() {
    // The answer never ends, so a client that waits for the end hangs.
    let server = streaming(vec![events(&["Hel", "lo"])], Some(Step::Hang)).await;
    let mut answer = service(&server).stream("?").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "Hel");
    assert_eq!(answer.next().await.unwrap().unwrap(), "lo");
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(body["stream"], json!(true));
}

#[tokio::test]
async fn a_streamed_answer_is_put_together_however_it_is_cut() {
    let whole = events(&["grü", "n ", "\u{1f333}"]) + ": a comment\n\ndata: [DONE]\n\n";
    let pieces = whole.split_inclusive(|c: char| "e\n".contains(c)).map(str::to_owned).collect();
    let server = streaming(pieces, None).await;
    let answer = service(&server).stream("?").await.unwrap();
    assert_eq!(answer.whole().await.unwrap(), "grün \u{1f333}");
}

#[tokio::test]
async fn a_streamed_answer_that_breaks_off_is_an_error() {
    let rows = [
        (vec![events(&["Hel"])], None, "broke off: the connection was closed before its end"),
        (vec![events(&["Hel"])], Some(Step::Reset), "the connection was lost"),
        (
            vec!["data: {\"error\": {\"message\": \"overloaded\"}}\n\n".to_owned()],
            None,
            "broke off: overloaded",
        ),
        (vec!["data: <html>\n\n".to_owned()], None, "broke off: <html>"),
    ];
    for (pieces, then, message) in rows {
        let server = streaming(pieces, then).await;
        let error = service(&server).stream("?").await.unwrap().whole().await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.category(), Category::System);
    }
}

#[tokio::test]
async fn a_streamed_answer_without_end_runs_into_the_limit() {
    let server = streaming(vec!["data: ".to_owned() + &"x".repeat(4096)], Some(Step::Hang)).await;
    let mut config = OpenaiConfig::new("k", "m");
    (config.base_url, config.max_response) = (server.url(), "1KiB".parse().unwrap());
    config.timeout = Duration::from_secs(5);
    let answer = config.build().unwrap().stream("?").await.unwrap();
    let error = answer.whole().await.unwrap_err();
    assert!(error.to_string().ends_with("larger than max_response = 1KiB"), "{error}");
}

#[tokio::test]
async fn whatever_else_the_provider_offers_is_asked_by_its_path() {
    let server = Server::start(|_, _| json(&json!({"data": []}))).await;
    let models: Value = service(&server).http().get("models").receive().await.unwrap();
    assert_eq!((models, server.asked()[0].line.as_str()), (json!({"data": []}), "GET /v1/models"));
}
