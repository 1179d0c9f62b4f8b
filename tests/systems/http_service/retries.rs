//! Tests which requests are repeated, and when.

use ergon::connector::ConnectorError;
use ergon::service::http::{HttpErrorKind as Kind, Request};
use ergon_tests::web::{Server, Step, answer, json};
use serde_json::json;
use tokio::time::Instant;

use super::*;

/// A server that fails once in this way, and then answers.
async fn failing_once(failure: Vec<Step>) -> Server {
    Server::start(move |before, _| if before == 0 { failure.clone() } else { json(&json!("done")) }).await
}

/// The number of requests, and whether the last request got a response.
async fn tried(failure: Vec<Step>, request: impl Fn(&HttpService) -> Request) -> (usize, bool) {
    let server = failing_once(failure).await;
    let mut config = config(&server);
    config.timeout = Duration::from_millis(300);
    let done = request(&config.build().unwrap()).send().await.is_ok();
    (server.asked().len(), done)
}

#[tokio::test]
async fn a_get_is_tried_again_whatever_failed() {
    for status in
        ["408 Request Timeout", "429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway"]
    {
        assert_eq!(tried(answer(status, "", ""), |http| http.get("")).await, (2, true), "{status}");
    }
    for failure in [Step::Hang, Step::Reset] {
        assert_eq!(tried(vec![failure.clone()], |http| http.get("")).await, (2, true), "{failure:?}");
    }
    let cut = vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()), Step::Reset];
    assert_eq!(tried(cut, |http| http.get("")).await, (2, true), "in the middle of the body");
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_twice() {
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout", "408 Request Timeout"]
    {
        assert_eq!(tried(answer(status, "", ""), |http| http.post("")).await, (1, false), "{status}");
    }
    for failure in [Step::Hang, Step::Reset] {
        assert_eq!(tried(vec![failure.clone()], |http| http.post("")).await, (1, false), "{failure:?}");
    }
}

#[tokio::test]
async fn a_post_that_the_other_side_did_not_take_is_sent_again() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        assert_eq!(tried(answer(status, "", ""), |http| http.post("").json(&1)).await, (2, true), "{status}");
    }
}

#[tokio::test]
async fn a_post_with_an_idempotency_key_is_sent_again_with_the_same_key_and_body() {
    for failure in [answer("500 Internal Server Error", "", ""), vec![Step::Hang], vec![Step::Reset]] {
        let server = failing_once(failure).await;
        let mut config = config(&server);
        config.timeout = Duration::from_millis(300);
        let service = config.build().unwrap();
        service.post("orders").json(&json!({"a": 1})).idempotency_key("order-1").send().await.unwrap();
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        for asked in asked {
            assert_eq!(
                (asked.header("idempotency-key"), asked.body.as_str()),
                (Some("order-1"), r#"{"a":1}"#)
            );
        }
    }
}

#[tokio::test]
async fn what_is_wrong_for_good_is_not_tried_again() {
    for status in ["400 Bad Request", "404 Not Found", "409 Conflict", "501 Not Implemented"] {
        assert_eq!(tried(answer(status, "", ""), |http| http.get("")).await, (1, false), "{status}");
    }
}

#[tokio::test]
async fn attempts_end_with_the_last_error() {
    let server = Server::start(|before, _| answer("500 Internal Server Error", "", before.to_string())).await;
    let error = service(&server).get("").send().await.unwrap_err();
    assert!(error.to_string().ends_with(" answered 500 Internal Server Error: 2"), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_stream_is_tried_again_until_it_begins() {
    let server = failing_once(answer("503 Service Unavailable", "", "")).await;
    let mut body = service(&server).get("").stream().await.unwrap();
    assert_eq!(futures_util::StreamExt::next(&mut body).await.unwrap().unwrap(), "\"done\"");
    assert_eq!(server.asked().len(), 2);
}

/// The time that the service waited because of `Retry-After`. Its own backoff would be zero.
async fn waited(headers: &'static str) -> Duration {
    let server = failing_once(answer("429 Too Many Requests", headers, "")).await;
    let began = Instant::now();
    service(&server).get("").send().await.unwrap();
    began.elapsed()
}

#[tokio::test]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    assert!(waited("").await < Duration::from_millis(900));
    assert!(waited("retry-after: 1").await >= Duration::from_secs(1));
    let dates = "date: Tue, 15 Nov 1994 08:12:30 GMT\nretry-after: Tue, 15 Nov 1994 08:12:31 GMT";
    assert!(waited(dates).await >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_beyond_the_longest_is_left_to_the_caller() {
    let server = failing_once(answer("503 Service Unavailable", "retry-after: 31", "")).await;
    let error = service(&server).get("").send().await.unwrap_err();
    assert_eq!((error.kind(), server.asked().len()), (Kind::Status(503), 1));
    let error = TransactionError::from(error);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(31)));
}

#[tokio::test]
async fn what_never_arrived_is_sent_again_whatever_the_method() {
    // No process listens yet on the port of the first attempt.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut config = HttpConfig::new(format!("http://{address}"));
    config.retry = RetryPolicy { max_attempts: 500, backoff: Duration::from_millis(20), ..config.retry };
    config.retry.backoff_cap = Some(Duration::from_millis(20));
    let service = config.build().unwrap();
    let asking = tokio::spawn(async move { service.post("").json(&1).send().await });
    let failed = TransactionError::from(
        HttpConfig::new(format!("http://{address}")).build().unwrap().post("").send().await.unwrap_err(),
    );
    assert!(failed.message().ends_with("cannot connect"));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, reply).await.unwrap();
    assert!(asking.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_connector_is_told_what_became_of_its_request() {
    use ergon::connector::ItemOutcome;
    let fate = async |failure: Vec<Step>| {
        let server = Server::start(move |_, _| failure.clone()).await;
        let error = ConnectorError::from(service(&server).post("").send().await.unwrap_err());
        (error.is_permanent(), error.outcome(0))
    };
    assert_eq!(fate(vec![Step::Reset]).await, (false, ItemOutcome::Unknown));
    assert_eq!(fate(answer("422 Unprocessable Entity", "", "")).await, (true, ItemOutcome::NotDone));
    assert_eq!(fate(answer("429 Too Many Requests", "", "")).await, (false, ItemOutcome::NotDone));
}
