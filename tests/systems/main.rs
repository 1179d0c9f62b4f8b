//! Tests the promises about external systems: files, servers, collectors and brokers.
//!
//! Some tests need a running broker: `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1` names it. Other tests start
//! their own broker, and need `rabbitmq-server`.
#![cfg(test)]

mod broker;
mod dead_letters;
mod files;
mod http_service;
mod openai_service;
mod order_pipeline;
mod otlp;
mod rabbitmq;
mod rabbitmq_chaos;
mod rabbitmq_guide;
mod rabbitmq_kills;
mod sqlite;
