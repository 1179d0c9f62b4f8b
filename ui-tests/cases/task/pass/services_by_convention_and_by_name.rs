#![deny(warnings, missing_docs, clippy::pedantic)]
//! Services of each kind, as `Arc`s.

use std::sync::Arc;

use ergon::prelude::*;
use ergon::service::Service;

/// By convention.
#[derive(Service)]
pub struct OpenaiService {
    key: String,
}

mod acme {
    /// By name.
    #[derive(super::Service)]
    pub struct Crm;
}

/// Returns rates.
pub trait Rates: Send + Sync {
    /// The rate.
    fn rate(&self) -> f64;
}

/// Asks.
#[ergon::task(connectors(input), services(openai, crm: acme::Crm, rates: dyn Rates))]
pub struct Ask;

impl Consumer for Ask {
    type Payload = String;
    type Output = f64;

    async fn process_transaction(&self, _question: &Transaction<String>) -> Result<f64> {
        let (openai, _crm): (&Arc<OpenaiService>, &Arc<acme::Crm>) = (&self.openai_service, &self.crm_service);
        let rates: &Arc<dyn Rates> = &self.rates_service;
        if openai.key.is_empty() { Err(TransactionError::business("no key")) } else { Ok(rates.rate()) }
    }
}

fn main() {}
