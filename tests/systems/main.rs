//! What is promised of what lies outside: files, servers, collectors and brokers.
//!
//! What needs a broker that runs already is run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`; what needs one
//! of its own, where `rabbitmq-server` is found.
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
