//! Imitates a CRM: `GET /customers/{id}` with a bearer token. Every 20th request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

pub(crate) fn router() -> Router {
    Router::new().route("/customers/{id}", get(customer)).with_state(Arc::default())
}

async fn customer(
    State(requests): State<Arc<AtomicUsize>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    if headers.get("authorization").is_none_or(|token| token != "Bearer crm-token") {
        return Err((StatusCode::UNAUTHORIZED, "who are you?"));
    }
    if requests.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "out of memory"));
    }
    // A customer's id is two letters and a number: the CRM does not know one in twenty customers, and every third
    // customer is a good customer.
    let number: u32 = id.split('-').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if number % 100 == 40 {
        return Err((StatusCode::NOT_FOUND, "no such customer"));
    }
    let tier = if number.is_multiple_of(3) { "gold" } else { "standard" };
    Ok(Json(json!({ "id": id, "name": format!("Customer {id}"), "tier": tier })))
}
