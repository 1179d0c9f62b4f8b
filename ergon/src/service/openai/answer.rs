//! Streamed answers: the text of a model, piece by piece, as the model writes it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_openai::types::chat::CreateChatCompletionStreamResponse;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::{OpenaiError, beginning};
use crate::service::http::{Body, HttpError};

/// An answer that arrives piece by piece: a stream of texts, which together are the whole answer.
///
/// The stream ends without an error only if the model has finished its answer.
///
/// ```
/// use ergon::prelude::*;
/// use futures_util::StreamExt;
///
/// async fn print(openai: &OpenaiService) -> Result<()> {
///     let mut answer = openai.stream("A poem of two lines on queues, please.").await?;
///     while let Some(piece) = answer.next().await {
///         print!("{}", piece?);
///     }
///     Ok(())
/// }
/// ```
pub struct Answer {
    events: BoxStream<'static, Result<Event, EventStreamError<HttpError>>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    /// The model has finished, or the stream has reported an error.
    Over,
}

impl Answer {
    pub(super) fn new(body: Body) -> Self {
        Self { events: body.eventsource().boxed(), state: State::Going }
    }

    /// Waits for the remaining pieces and joins them.
    ///
    /// # Errors
    /// The reason why the answer is incomplete.
    pub async fn whole(mut self) -> Result<String, OpenaiError> {
        let mut whole = String::new();
        while let Some(piece) = self.next().await {
            whole.push_str(&piece?);
        }
        Ok(whole)
    }

    /// Reads an event: a text, nothing, or the end.
    fn read(
        &mut self,
        event: Option<Result<Event, EventStreamError<HttpError>>>,
    ) -> Result<Option<String>, OpenaiError> {
        let broken = |why: &str| OpenaiError::BrokenOff { why: why.to_owned() };
        let data = match event {
            None => return Err(broken("the connection was closed before its end")),
            Some(Err(EventStreamError::Transport(error))) => return Err(error.into()),
            Some(Err(EventStreamError::Utf8(_))) => return Err(broken("what came is no UTF-8")),
            Some(Err(EventStreamError::Parser(_))) => return Err(broken("what came is no stream of events")),
            Some(Ok(event)) => event.data,
        };
        if data == "[DONE]" {
            self.state = State::Over;
            return Ok(None);
        }
        let Ok(chunk) = serde_json::from_str::<CreateChatCompletionStreamResponse>(&data) else {
            let told = serde_json::from_str::<Value>(&data).ok();
            let told = told.as_ref().and_then(|told| told.pointer("/error/message")?.as_str());
            return Err(broken(&beginning(told.unwrap_or(&data))));
        };
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(None) };
        super::check_end(choice.finish_reason, choice.delta.refusal.as_deref())?;
        Ok(choice.delta.content)
    }
}

impl Stream for Answer {
    type Item = Result<String, OpenaiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.state == State::Going {
            let Poll::Ready(event) = self.events.poll_next_unpin(context) else { return Poll::Pending };
            match self.read(event) {
                Ok(Some(text)) if !text.is_empty() => return Poll::Ready(Some(Ok(text))),
                Ok(_) => {}
                Err(error) => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
