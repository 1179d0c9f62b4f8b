//! Language models that speak OpenAI's protocol: chat, structured answers, embeddings and streams.
//!
//! The protocol's types are those of the crate `async-openai`. The requests go through an [`HttpService`], so its
//! limits, retries and rules for secrets apply. Every request is [repeatable](super::http::Request::repeatable): if an
//! answer is lost on its way, the service asks again, and the provider charges twice.
//!
//! ```
//! use ergon::prelude::*;
//! use ergon::service::openai::{Prompt, Schema};
//!
//! #[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
//! struct Complaint { product: String, is_urgent: bool }
//!
//! #[ergon::task(connectors(input, output), services(openai))]
//! struct SortMail;
//!
//! impl Consumer for SortMail {
//!     type Payload = String;
//!     type Output = Complaint;
//!
//!     async fn process_transaction(&self, mail: &Transaction<String>) -> Result<Complaint> {
//!         let prompt = Prompt::new().system("What does this customer complain about?").user(mail.payload());
//!         Ok(self.openai_service.extract(prompt, Schema::of::<Complaint>()).await?)
//!     }
//! }
//! ```

mod answer;
mod config;
mod error;
mod prompt;
mod schema;

use std::sync::Arc;

use async_openai::types::chat::{
    ChatChoice, CreateChatCompletionRequest, CreateChatCompletionResponse, FinishReason,
};
use async_openai::types::embeddings::{CreateEmbeddingRequest, CreateEmbeddingResponse, EmbeddingInput};
use serde::de::DeserializeOwned;

use super::http::HttpService;
use super::{Service, ServiceError};
use crate::transaction::json::{self, Located};

pub use answer::Answer;
/// The protocol's own types.
pub use async_openai::types;
pub use config::{OpenaiConfig, OpenaiServiceConfig};
pub use error::OpenaiError;
pub use prompt::Prompt;
pub use schema::Schema;

/// Limit of an answer's excerpt in an error, in characters.
const SHOWN: usize = 300;

/// The client of one provider of language models.
///
/// It works without a task too:
///
/// ```no_run
/// use ergon::prelude::*;
///
/// # async fn script() -> Result<(), Box<dyn std::error::Error>> {
/// let openai = OpenaiConfig::new("sk-…", "gpt-4.1-mini").build()?;
/// let poem = openai.ask("A poem of two lines on queues, please.").await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct OpenaiService {
    http: HttpService,
    model: String,
    embedding_model: String,
}

impl OpenaiService {
    /// Asks, and returns the protocol's whole answer.
    ///
    /// # Errors
    /// The error of the last attempt.
    ///
    /// # Cancel safety
    /// A dropped future ends the current attempt. The provider may charge for it. This holds for every method.
    pub async fn chat(&self, prompt: impl Into<Prompt>) -> Result<CreateChatCompletionResponse, OpenaiError> {
        let request = self.completed(prompt.into());
        Ok(self.http.post("chat/completions").json(&request).repeatable().receive().await?)
    }

    /// Asks, and returns the text of the answer.
    ///
    /// # Errors
    /// The error of the last attempt, or an answer that is refused, cut off, filtered or without a text.
    pub async fn ask(&self, prompt: impl Into<Prompt>) -> Result<String, OpenaiError> {
        let response = self.chat(prompt).await?;
        response.choices.into_iter().next().ok_or(OpenaiError::Empty).and_then(text)
    }

    /// Asks for an answer that fits the schema, and decodes it.
    ///
    /// # Errors
    /// The errors of [`ask`](Self::ask), and [`OpenaiError::Mismatch`] for an answer that is not a `T`.
    pub async fn extract<T: DeserializeOwned>(
        &self,
        prompt: impl Into<Prompt>,
        schema: Schema,
    ) -> Result<T, OpenaiError> {
        let mut request = prompt.into().into_request();
        request.response_format = Some(schema.into_format()?);
        decoded(&self.ask(request).await?)
    }

    /// Asks, and returns the answer piece by piece. Retries end when the answer starts.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn stream(&self, prompt: impl Into<Prompt>) -> Result<Answer, OpenaiError> {
        let mut request = self.completed(prompt.into());
        request.stream = Some(true);
        let request = self.http.post("chat/completions").json(&request).repeatable();
        let body = request.header("accept", "text/event-stream").stream().await?;
        Ok(Answer::new(body.at_most(self.http.max_response())?))
    }

    /// Makes an embedding of each text, in the order of the texts.
    ///
    /// # Errors
    /// The error of the last attempt, and [`OpenaiError::Empty`] if the answer does not have exactly one embedding for
    /// each text.
    pub async fn embed<S: Into<String>>(
        &self,
        texts: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Vec<f32>>, OpenaiError> {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        let wanted = texts.len();
        let (model, input) = (self.embedding_model.clone(), EmbeddingInput::StringArray(texts));
        let request = CreateEmbeddingRequest { model, input, ..CreateEmbeddingRequest::default() };
        let request = self.http.post("embeddings").json(&request).repeatable();
        let CreateEmbeddingResponse { mut data, .. } = request.receive().await?;
        data.sort_by_key(|embedding| embedding.index);
        let in_order = data.iter().map(|embedding| embedding.index as usize).eq(0..wanted);
        if !in_order {
            return Err(OpenaiError::Empty);
        }
        Ok(data.into_iter().map(|embedding| embedding.embedding).collect())
    }

    /// The HTTP client, for the provider's other endpoints. Its paths are below `base_url`.
    pub fn http(&self) -> &HttpService {
        &self.http
    }

    fn completed(&self, prompt: Prompt) -> CreateChatCompletionRequest {
        let mut request = prompt.into_request();
        if request.model.is_empty() {
            request.model.clone_from(&self.model);
        }
        request
    }
}

/// `check` is that of the [`HttpService`], and costs nothing.
impl Service for OpenaiService {
    async fn check(&self) -> Result<(), ServiceError> {
        self.http.check().await
    }
}

/// The text of a finished answer.
fn text(choice: ChatChoice) -> Result<String, OpenaiError> {
    check_end(choice.finish_reason, choice.message.refusal.as_deref())?;
    choice.message.content.filter(|text| !text.is_empty()).ok_or(OpenaiError::Empty)
}

/// Checks that the model finished its answer.
fn check_end(reason: Option<FinishReason>, refusal: Option<&str>) -> Result<(), OpenaiError> {
    if let Some(refusal) = refusal.filter(|refusal| !refusal.is_empty()) {
        return Err(OpenaiError::Refused { reason: beginning(refusal) });
    }
    match reason {
        Some(FinishReason::Length) => Err(OpenaiError::CutOff),
        Some(FinishReason::ContentFilter) => Err(OpenaiError::Filtered),
        _ => Ok(()),
    }
}

fn decoded<T: DeserializeOwned>(text: &str) -> Result<T, OpenaiError> {
    json::from_slice_located(text.as_bytes()).map_err(|Located { field, error }| {
        let place = field.map_or_else(|| "behind its end".to_owned(), |field| format!("at `{field}`"));
        let place = format!("{place}, line {} column {}", error.line(), error.column());
        OpenaiError::Mismatch { place, begins: beginning(text), source: Arc::new(error) }
    })
}

/// The beginning of a text, on one line.
fn beginning(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
