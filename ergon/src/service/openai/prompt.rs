//! Prompts: the messages to a model, and the options of its answer.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage,
    ChatCompletionRequestUserMessage, CreateChatCompletionRequest,
};

/// The question to a model: messages, and options for the answer. A text alone is one message of the user.
///
/// For every other option of the protocol, pass a [`CreateChatCompletionRequest`], which converts into a prompt.
///
/// ```
/// use ergon::service::openai::Prompt;
///
/// let prompt = Prompt::new().system("Answer with one word.").user("What is the capital of France?").temperature(0.0);
/// let request = prompt.into_request();
/// assert_eq!(request.messages.len(), 2);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Prompt(CreateChatCompletionRequest);

impl Prompt {
    /// Makes a prompt without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an instruction of the system.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestSystemMessage::from(text.into()))
    }

    /// Adds a message of the user.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestUserMessage::from(text.into()))
    }

    /// Adds an earlier answer of the model.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestAssistantMessage::from(text.into()))
    }

    /// Sets the model, in place of the config's.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.0.model = model.into();
        self
    }

    /// Sets the temperature, from 0 (least random) to 2. Default: the model's.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.0.temperature = Some(temperature);
        self
    }

    /// Sets the limit of the answer in tokens. Default: the model's.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.0.max_completion_tokens = Some(tokens);
        self
    }

    /// Converts the prompt into the protocol's request.
    pub fn into_request(self) -> CreateChatCompletionRequest {
        self.0
    }

    fn message(mut self, message: impl Into<ChatCompletionRequestMessage>) -> Self {
        self.0.messages.push(message.into());
        self
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::new().user(text)
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::new().user(text)
    }
}

impl From<CreateChatCompletionRequest> for Prompt {
    fn from(request: CreateChatCompletionRequest) -> Self {
        Self(request)
    }
}
