//! Tests the errors of the HTTP service and their messages.

use ergon::service::http::HttpErrorKind as Kind;
use ergon_tests::web::{Certificate, Server, Step, answer, json};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

#[derive(Debug, Deserialize)]
struct Order {
    #[expect(dead_code, reason = "it is never made")]
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[expect(dead_code, reason = "it is never made")]
    cents: u64,
}

#[tokio::test]
async fn a_status_is_told_with_method_url_and_the_beginning_of_the_body() {
    let body = format!("{{\"error\":\n \"no such \x1b[31m customer\"}}{}", "x".repeat(10_000));
    let server = Server::start(move |_, _| answer("404 Not Found", "", &body)).await;
    let error = service(&server).get("customers/7?token=s3cret").send().await.unwrap_err();
    let start = format!(
        r#"GET {}/customers/7?token=… answered 404 Not Found: {{"error":\n "no such \u{{1b}}[31m customer"}}xxx"#,
        server.url()
    );
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(error.to_string().len() < start.len() + 300 && error.to_string().ends_with('…'), "{error}");
    assert_eq!((error.kind(), error.status().unwrap().as_u16()), (Kind::Status(404), 404));
    assert_eq!(error.body().len(), 8 * 1024);
    assert_eq!(error.hint(), Some("see whether `base_url` and the path are right"));
}

#[tokio::test]
async fn each_status_has_its_category() {
    let rows = [
        ("400 Bad Request", Category::Business),
        ("401 Unauthorized", Category::Business),
        ("408 Request Timeout", Category::Timeout),
        ("422 Unprocessable Entity", Category::Business),
        ("425 Too Early", Category::System),
        ("429 Too Many Requests", Category::System),
        ("500 Internal Server Error", Category::System),
        ("503 Service Unavailable", Category::System),
        ("304 Not Modified", Category::System),
    ];
    for (status, category) in rows {
        let server = Server::start(move |_, _| answer(status, "", "")).await;
        let error = TransactionError::from(service(&server).get("").send().await.unwrap_err());
        assert_eq!(error.category(), category, "{error}");
        assert!(error.message().ends_with(&format!("/ answered {status}")), "{error}");
    }
}

#[tokio::test]
async fn json_that_does_not_fit_is_told_with_its_place() {
    let server = Server::start(|_, asked| match asked.line.as_str() {
        "GET /wrong" => answer("200 OK", "", "{\"lines\": [{\"cents\": 1},\n {\"cents\": \"two\"}]}"),
        "GET /cut" => answer("200 OK", "", "{\"lines\": ["),
        "GET /more" => answer("200 OK", "", "{\"lines\": []} {}"),
        _ => answer("200 OK", "content-type: text/html", "<html>\n We are down"),
    })
    .await;
    let service = service(&server);
    let rows = [
        (
            "wrong",
            "JSON that does not fit at `lines[1].cents`, line 2 column 16",
            r#"{"lines": [{"cents": 1},\n"#,
        ),
        ("cut", "what is no JSON at `lines`, line 1 column 11", r#"{"lines": ["#),
        ("more", "what is no JSON, line 1 column 15", r#"{"lines": []} {}"#),
        ("html", "what is no JSON, line 1 column 1", r"<html>\n We are down"),
    ];
    for (path, what, begins) in rows {
        let error = service.get(path).receive::<Order>().await.unwrap_err();
        let expected = format!("GET {}/{path} answered {what}; it begins with: {begins}", server.url());
        assert!(error.to_string().starts_with(&expected), "{error}\n{expected}");
        assert_eq!((error.kind(), error.category()), (Kind::Decode, Category::System));
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    // Neither body ever ends, so a client that waits for the end reaches the time limit.
    let server = Server::start(|_, asked| match asked.line.as_str() {
        "GET /announced" => {
            vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n".to_vec()), Step::Hang]
        }
        _ => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
            Step::Send([b"800\r\n".as_slice(), &[b'x'; 2048], b"\r\n"].concat()),
            Step::Hang,
        ],
    })
    .await;
    let mut config = config(&server);
    config.max_response = "1KiB".parse().unwrap();
    config.timeout = Duration::from_secs(5);
    let service = config.build().unwrap();
    for (path, size) in [("announced", " of 4KiB"), ("chunked", "")] {
        let error = service.get(path).send().await.unwrap_err();
        let expected = format!("answered with a body{size} larger than max_response = 1KiB");
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!((error.kind(), error.category()), (Kind::TooLarge, Category::Business));
    }
    assert_eq!(server.asked().len(), 2, "trying again cannot help");
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_read() {
    let server = Server::start(|_, _| answer("200 OK", "", [b'x'; 1024])).await;
    let mut config = config(&server);
    config.max_response = "1KiB".parse().unwrap();
    assert_eq!(config.build().unwrap().get("").send().await.unwrap().bytes().len(), 1024);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_runs_into_the_limit() {
    let server = Server::start(|_, _| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()), Step::Hang]
    })
    .await;
    let mut config = config(&server);
    config.timeout = Duration::from_millis(200);
    config.retry.max_attempts = 1;
    let service = config.build().unwrap();
    let error = service.get("slow").send().await.unwrap_err();
    assert_eq!(error.to_string(), format!("GET {}/slow took longer than its limit of 200ms", server.url()));
    assert_eq!((error.kind(), error.category()), (Kind::Timeout, Category::Timeout));

    let mut body = service.get("slow").stream().await.unwrap();
    assert_eq!(futures_util::StreamExt::next(&mut body).await.unwrap().unwrap(), "abc");
    let error = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(futures_util::StreamExt::next(&mut body).await.is_none(), "it ends with its error");
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told() {
    // The port of a closed listener.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = HttpConfig::new(format!("http://{address}"));
    config.retry = RetryPolicy { backoff: Duration::ZERO, ..config.retry };
    let error = config.build().unwrap().post("orders").send().await.unwrap_err();
    assert_eq!(error.to_string(), format!("POST http://{address}/orders: cannot connect"));
    assert_eq!((error.kind(), error.category()), (Kind::Connect, Category::System));
    assert!(told(&error).contains("Connection refused"), "{}", told(&error));
}

#[tokio::test]
async fn a_connection_that_breaks_is_told() {
    let server = Server::start(|_, asked| match asked.line.as_str() {
        "POST /reset" => vec![Step::Reset],
        "POST /closed" => vec![],
        _ => vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec())],
    })
    .await;
    for path in ["reset", "closed", "cut"] {
        let error = service(&server).post(path).send().await.unwrap_err();
        assert_eq!(error.to_string(), format!("POST {}/{path}: the connection was lost", server.url()));
        assert_eq!((error.kind(), error.category()), (Kind::Interrupted, Category::System));
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused_at_once() {
    let server = Server::encrypted(&Certificate::of("localhost"), |_, _| json(&json!(1))).await;
    let mut config = config(&server);
    config.base_url = server.url().replace("127.0.0.1", "localhost");
    config.retry = RetryPolicy { backoff: Duration::from_secs(20), ..config.retry };
    let began = tokio::time::Instant::now();
    let error = config.build().unwrap().get("").send().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for another attempt");
    assert_eq!(error.kind(), Kind::Connect);
    assert!(told(&error).contains("invalid peer certificate"), "{}", told(&error));
    assert!(told(&error).contains("`tls.ca_file`"), "{}", told(&error));
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    let certificate = Certificate::of("crm.example");
    let server = Server::encrypted(&certificate, |_, _| json(&json!(1))).await;
    let folder = tempfile::TempDir::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate.pem()).unwrap();
    let mut config = config(&server);
    config.tls.ca_file = Some(ca_file.as_path().into());
    let error = config.build().unwrap().get("").send().await.unwrap_err();
    assert!(told(&error).contains("not valid for name"), "{}", told(&error));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let server = Server::start(|_, _| answer("302 Found", "location: /again", "")).await;
    let error = service(&server).get("again").send().await.unwrap_err();
    assert!(error.to_string().ends_with("/again redirects more than 5 times"), "{error}");
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_that_would_lose_the_body_is_refused() {
    let server = Server::start(|_, _| answer("302 Found", "location: /orders/", "")).await;
    let error = service(&server).post("orders").json(&1).send().await.unwrap_err();
    assert!(
        error.to_string().ends_with("/orders redirects with 302 Found, which would lose the body"),
        "{error}"
    );
    assert_eq!((error.kind(), server.asked().len()), (Kind::Redirect, 1));
}

#[tokio::test]
async fn a_redirect_of_what_has_no_body_loses_none() {
    let server = Server::start(|_, _| answer("301 Moved Permanently", "location: /b", "")).await;
    let error = service(&server).post("a").send().await.unwrap_err();
    assert!(error.to_string().ends_with("301 Moved Permanently, which would make it a GET"), "{error}");
}

#[tokio::test]
async fn a_head_has_no_body_that_could_be_too_large() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n";
    let server = Server::start(|_, _| vec![Step::Send(head.to_vec())]).await;
    let answer = service(&server).request("HEAD".parse().unwrap(), "large").send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], "999999999");
}

#[tokio::test]
async fn a_status_whose_body_does_not_come_is_that_status_all_the_same() {
    let refused = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 100\r\n\r\nslow";
    let server = Server::start(|_, _| vec![Step::Send(refused.to_vec()), Step::Hang]).await;
    let mut config = HttpConfig::new(server.url());
    config.timeout = Duration::from_secs(2);
    let error = config.build().unwrap().get("a").send().await.unwrap_err();
    assert_eq!((error.kind(), server.asked().len()), (Kind::Status(429), 1), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(error.to_string().ends_with("answered 429 Too Many Requests: slow"), "{error}");
}

#[test]
fn a_config_that_can_never_work_is_named() {
    let refused = |change: fn(&mut HttpConfig)| {
        let mut config = HttpConfig::new("https://crm.example");
        change(&mut config);
        let error = config.build().unwrap_err();
        format!("{error}")
    };
    assert!(refused(|config| config.base_url = "crm".into()).starts_with("`base_url`: no URL"));
    assert_eq!(refused(|config| config.retry.max_attempts = 0), "`retry`: `max_attempts` must be at least 1");
    assert_eq!(
        refused(|config| config.retry.timeout = Some(Duration::from_secs(1))),
        "`retry.timeout` is set"
    );
    assert_eq!(
        refused(|config| config.tls.cert_file = Some("a.pem".into())),
        "one of `tls.cert_file` and `tls.key_file` is not set"
    );
    assert_eq!(
        refused(|config| config.tls.ca_file = Some("missing.pem".into())),
        "`tls.ca_file`: missing.pem cannot be read as a PEM file"
    );
    assert_eq!(
        refused(|config| config.auth = ergon::service::http::Auth::bearer("a\n")),
        "`auth.bearer`: it has characters that a header cannot have"
    );
}

#[test]
fn an_unknown_key_is_refused() {
    for config in
        ["{\"base_url\": \"http://a\", \"url\": 1}", "{\"base_url\": \"http://a\", \"auth\": {\"token\": 1}}"]
    {
        let error = serde_json::from_str::<HttpConfig>(config).unwrap_err();
        assert!(error.to_string().contains("unknown"), "{error}");
    }
}
