//! Tests the requests that the server receives, and the responses that the caller gets.

use ergon::service::http::{Auth, Method};
use ergon_tests::web::{Certificate, Server, Step, answer, json};
use futures_util::StreamExt;
use serde_json::json;
use tempfile::TempDir;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Customer {
    name: String,
}

#[tokio::test]
async fn json_goes_out_and_comes_in() {
    let server = Server::start(|_, asked| json(&json!({"name": asked.body}))).await;
    let mut config = config(&server);
    config.base_url += "/api/";
    config.headers.insert("X-Tenant".into(), "north".into());
    let crm = config.build().unwrap();

    let request = crm.post("customers").segment("a/b").query("full", true).json(&json!([1]));
    let customer: Customer = request.idempotency_key("orders.xlsx:7").receive().await.unwrap();

    assert_eq!(customer, Customer { name: "[1]".into() });
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /api/customers/a%2Fb?full=true");
    let header = |name| asked.header(name).unwrap();
    assert_eq!((header("content-type"), header("accept")), ("application/json", "application/json"));
    assert_eq!((header("x-tenant"), header("idempotency-key")), ("north", "orders.xlsx:7"));
    assert_eq!(header("user-agent"), concat!("ergon/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn an_idempotency_key_may_have_any_character() {
    let server = Server::start(|_, _| json(&json!(1))).await;
    let request = service(&server).post("").idempotency_key("Aufträge 1!7\n");
    request.send().await.unwrap();
    assert_eq!(server.asked()[0].header("idempotency-key"), Some("Auftr%C3%A4ge+1%217%0A"));
}

#[tokio::test]
async fn each_way_to_authenticate_is_told_to_the_server() {
    let auth = [
        (json!("none"), None, None),
        (json!({"bearer": "t0ken"}), Some("Bearer t0ken"), None),
        (json!({"basic": {"username": "me", "password": "p:ß"}}), Some("Basic bWU6cDrDnw=="), None),
        (json!({"header": {"name": "X-Api-Key", "value": "k"}}), None, Some("k")),
    ];
    for (auth, authorization, key) in auth {
        let server = Server::start(|_, _| json(&json!(1))).await;
        let mut config = config(&server);
        config.auth = serde_json::from_value(auth).unwrap();
        config.build().unwrap().get("").send().await.unwrap();
        let asked = &server.asked()[0];
        assert_eq!((asked.header("authorization"), asked.header("x-api-key")), (authorization, key));
    }
}

#[tokio::test]
async fn forms_bytes_and_other_methods_are_sent() {
    let server = Server::start(|_, asked| answer("201 Created", "x-line: here", &asked.body)).await;
    let service = service(&server);
    let token = service.post("token").form([("grant", "a b"), ("key", "&")]).send().await.unwrap();
    assert_eq!((token.text().as_str(), token.status().as_u16()), ("grant=a+b&key=%26", 201));
    assert_eq!(token.header("x-line"), Some("here"));
    let report = service.request(Method::PUT, "r").body("text/csv", "a;b").header("Accept", "text/csv");
    assert_eq!(report.send().await.unwrap().bytes().as_ref(), b"a;b");
    let asked = &server.asked()[1];
    assert_eq!((asked.header("content-type"), asked.header("accept")), (Some("text/csv"), Some("text/csv")));
}

#[tokio::test]
async fn what_cannot_be_a_request_is_refused_before_it_is_sent() {
    let server = Server::start(|_, _| json(&json!(1))).await;
    let mut config = config(&server);
    config.base_url += "/api";
    let service = config.build().unwrap();
    let numbers = std::collections::BTreeMap::from([((1, 2), 3)]);
    let requests = [
        (service.get("../secret"), "it leads out of `base_url`"),
        (service.get("customers").segment(".."), "`..` cannot be a segment"),
        (service.get("a").header("no name", "1"), "`no name` is no name of a header"),
        (service.get("a").header("x", "1\n2"), "the header `x` has characters"),
        (service.post("a").json(&numbers), "its body is no JSON"),
        (service.post("a").json(&json_of(f64::NAN)), "its body is no JSON: its field `price` is NaN"),
        (
            service.post("a").json(&json_of(f64::INFINITY)),
            "its body is no JSON: its field `price` is infinity",
        ),
    ];
    for (request, why) in requests {
        let error = request.send().await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.category(), Category::Business, "trying again cannot help");
    }
    assert!(server.asked().is_empty());
}

fn json_of(price: f64) -> std::collections::BTreeMap<&'static str, f64> {
    [("price", price)].into()
}

#[tokio::test]
async fn digits_that_a_value_would_lose_are_refused_in_an_answer() {
    let server = Server::start(|_, _| answer("200 OK", "", "{\"price\": 18446744073709551616}")).await;
    let service = config(&server).build().unwrap();
    let answer = service.get("a").send().await.unwrap();
    let error = answer.json::<Value>().unwrap_err();
    assert!(error.to_string().contains("at `price`"), "{error}");
    assert_eq!(answer.json::<std::collections::BTreeMap<String, u128>>().unwrap()["price"], 1 << 64);
}

#[tokio::test]
async fn a_body_comes_piece_by_piece_whatever_its_size() {
    let piece = vec![b'x'; 64 * 1024];
    let size = 100 * piece.len();
    let server = Server::start(move |_, _| {
        let mut steps = answer("200 OK", "", vec![b'x'; size]);
        steps.truncate(1);
        steps.extend(vec![Step::Send(piece.clone()); 100]);
        steps
    })
    .await;
    let mut config = config(&server);
    config.max_response = "1KiB".parse().unwrap();
    let mut body = config.build().unwrap().get("export").stream().await.unwrap();
    assert_eq!(body.headers()["content-length"], size.to_string().as_str());
    let mut read = 0;
    while let Some(piece) = body.next().await {
        read += piece.unwrap().len();
    }
    assert_eq!(read, size);
}

#[tokio::test]
async fn a_redirect_to_the_same_host_is_followed() {
    let server = Server::start(|_, asked| match asked.line.as_str() {
        "GET /old" => answer("301 Moved Permanently", "location: /new?page=1", ""),
        "POST /old" => answer("308 Permanent Redirect", "location: /new", ""),
        "POST /jobs" => answer("303 See Other", "location: /jobs/7", ""),
        line => json(&json!(format!("{line} {} {:?}", asked.body, asked.header("authorization")))),
    })
    .await;
    let service = config(&server).with_auth(Auth::bearer("t")).build().unwrap();
    let seen = async |request: ergon::service::http::Request| request.receive::<String>().await.unwrap();
    assert_eq!(seen(service.get("old")).await, r#"GET /new?page=1  Some("Bearer t")"#);
    assert_eq!(seen(service.post("old").json(&1)).await, r#"POST /new 1 Some("Bearer t")"#);
    assert_eq!(seen(service.post("jobs").json(&1)).await, r#"GET /jobs/7  Some("Bearer t")"#);
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_the_settings_name_is_trusted() {
    let certificate = Certificate::of("localhost");
    let server = Server::encrypted(&certificate, |_, _| json(&json!("hello"))).await;
    let folder = TempDir::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate.pem()).unwrap();
    let mut config = config(&server);
    config.base_url = server.url().replace("127.0.0.1", "localhost");
    config.tls.ca_file = Some(ca_file.as_path().into());
    let hello: String = config.build().unwrap().get("").receive().await.unwrap();
    assert_eq!(hello, "hello");
}
