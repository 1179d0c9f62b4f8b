//! Does the same work with bare `lapin`: the floors that the connector is compared with.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::Consumer;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;

use crate::tasks::Order;
use crate::{IN_FLIGHT, MESSAGES, OUTSTANDING, broker};

async fn subscribe(channel: &lapin::Channel) -> Consumer {
    channel.basic_qos(IN_FLIGHT, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    channel.basic_consume(broker::IN.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

/// Consumes, decodes, and acknowledges a fixed number of messages together.
pub(crate) async fn consume(together: u64) -> Duration {
    broker::filled().await;
    let (connection, channel) = broker::connect().await;
    let mut consumer = subscribe(&channel).await;
    let (mut acks, mut done) = (FuturesUnordered::new(), 0);
    while done < MESSAGES as u64 {
        tokio::select! {
            biased;
            Some(acked) = acks.next(), if !acks.is_empty() => { let () = acked; }
            Some(delivery) = consumer.next() => {
                crate::handled();
                let delivery = delivery.unwrap();
                let order: Order = serde_json::from_slice(&delivery.data).unwrap();
                std::hint::black_box(order);
                done += 1;
                if done % together == 0 || done == MESSAGES as u64 {
                    let options = BasicAckOptions { multiple: together > 1 };
                    let (channel, tag) = (channel.clone(), delivery.delivery_tag);
                    acks.push(async move { channel.basic_ack(tag, options).await.unwrap() });
                }
            }
        }
    }
    while acks.next().await.is_some() {}
    let took = crate::took();
    connection.close(200, "bye".into()).await.unwrap();
    took
}

/// Consumes, publishes, and acknowledges in the order of delivery, every 64 together.
pub(crate) async fn pipe() -> Duration {
    broker::filled().await;
    let (connection, channel) = broker::connect().await;
    let (publishing, out) = broker::connect().await;
    out.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut consumer = subscribe(&channel).await;
    let (mut in_flight, mut done) = (FuturesUnordered::new(), 0);
    // Tags in the order of delivery, each with whether its message is published.
    let mut tags: VecDeque<(u64, bool)> = VecDeque::new();
    let (mut finished, mut unacked) = (None, 0);
    while done < MESSAGES {
        tokio::select! {
            biased;
            Some(tag) = in_flight.next(), if !in_flight.is_empty() => {
                let first = tags[0].0;
                tags[usize::try_from(tag - first).unwrap()].1 = true;
                while tags.front().is_some_and(|(_, published)| *published) {
                    finished = tags.pop_front().map(|(tag, _)| tag);
                    (done, unacked) = (done + 1, unacked + 1);
                }
                if unacked >= 64 || done == MESSAGES {
                    channel.basic_ack(finished.unwrap(), BasicAckOptions { multiple: true }).await.unwrap();
                    unacked = 0;
                }
            }
            Some(delivery) = consumer.next() => {
                crate::handled();
                let delivery = delivery.unwrap();
                let order: Order = serde_json::from_slice(&delivery.data).unwrap();
                tags.push_back((delivery.delivery_tag, false));
                let out = &out;
                in_flight.push(async move {
                    let body = serde_json::to_vec(&order).unwrap();
                    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                    let properties = delivery.properties.clone();
                    let sent = out.basic_publish("".into(), broker::OUT.into(), options, &body, properties).await;
                    assert!(sent.unwrap().await.unwrap().is_ack());
                    delivery.delivery_tag
                });
            }
        }
    }
    drop(in_flight);
    let took = crate::took();
    connection.close(200, "bye".into()).await.unwrap();
    publishing.close(200, "bye".into()).await.unwrap();
    took
}

/// Publishes with this many outstanding confirms.
pub(crate) async fn publish() -> Duration {
    broker::fill(0).await;
    let (connection, channel) = broker::connect().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut in_flight = FuturesUnordered::new();
    for number in 0..MESSAGES {
        if in_flight.len() == OUTSTANDING {
            in_flight.next().await;
        }
        let channel = &channel;
        crate::handled();
        in_flight.push(async move {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let order = Order::new(number);
            let body = serde_json::to_vec(&order).unwrap();
            let properties = broker::properties(number);
            let sent = channel.basic_publish("".into(), broker::OUT.into(), options, &body, properties).await;
            assert!(sent.unwrap().await.unwrap().is_ack());
        });
    }
    while in_flight.next().await.is_some() {}
    drop(in_flight);
    let took = crate::took();
    connection.close(200, "bye".into()).await.unwrap();
    took
}
