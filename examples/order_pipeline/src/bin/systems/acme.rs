//! Imitates ACME: `POST /v1/orders` with an idempotency key, and `GET /v1/orders?after=…&limit=…`. Both need ACME's own
//! API key. After 40 requests, ACME asks for a pause of one second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// The orders that ACME has booked.
#[derive(Default)]
struct Books {
    requests: usize,
    orders: Vec<Value>,
    /// The position of the order with each idempotency key.
    keys: HashMap<String, usize>,
}

type Shared = State<Arc<Mutex<Books>>>;

#[derive(Deserialize)]
struct Page {
    after: usize,
    limit: usize,
}

pub(crate) fn router() -> Router {
    Router::new().route("/v1/orders", get(list).post(place)).with_state(Arc::default())
}

async fn list(State(books): Shared, Query(page): Query<Page>, headers: HeaderMap) -> Response {
    let books = match admitted(&books, &headers) {
        Ok(books) => books,
        Err(refused) => return refused.into_response(),
    };
    let numbered = books.orders.iter().enumerate().skip(page.after).take(page.limit.min(100));
    let bookings: Vec<_> =
        numbered.map(|(index, order)| json!({"number": index + 1, "order": order})).collect();
    let read = page.after + bookings.len();
    let next = (read < books.orders.len()).then_some(read);
    Json(json!({ "bookings": bookings, "next": next })).into_response()
}

async fn place(State(books): Shared, headers: HeaderMap, Json(order): Json<Value>) -> Response {
    let mut books = match admitted(&books, &headers) {
        Ok(books) => books,
        Err(refused) => return refused.into_response(),
    };
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "no idempotency key").into_response();
    };
    let index = match books.keys.get(key) {
        Some(index) => *index,
        None => {
            books.orders.push(order);
            let index = books.orders.len() - 1;
            books.keys.insert(key.to_owned(), index);
            index
        }
    };
    (StatusCode::CREATED, Json(json!({ "number": index + 1 }))).into_response()
}

/// A status, a header and a body.
type Refused = (StatusCode, [(&'static str, &'static str); 1], &'static str);

fn admitted<'b>(books: &'b Mutex<Books>, headers: &HeaderMap) -> Result<MutexGuard<'b, Books>, Refused> {
    if headers.get("x-acme-key").is_none_or(|key| key != "acme-key") {
        return Err((StatusCode::UNAUTHORIZED, [("www-authenticate", "X-Acme-Key")], "who are you?"));
    }
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    books.requests += 1;
    if books.requests.is_multiple_of(40) {
        return Err((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "slow down"));
    }
    Ok(books)
}
