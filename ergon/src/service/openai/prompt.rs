//! What a model is asked.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage,
    ChatCompletionRequestUserMessage, CreateChatCompletionRequest,
};

/// What a model is asked: messages, and how it is to answer. A text alone is one message of the user.
///
/// Whatever the protocol has beside can be set in a [`CreateChatCompletionRequest`], which is a prompt too.
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
    /// Makes one without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the model is told beforehand.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestSystemMessage::from(text.into()))
    }

    /// Adds what the user says.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestUserMessage::from(text.into()))
    }

    /// Adds what the model said before.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(ChatCompletionRequestAssistantMessage::from(text.into()))
    }

    /// Names another model than the config does.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.0.model = model.into();
        self
    }

    /// Sets how freely the model chooses, from 0 to 2. Default: the model's.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.0.temperature = Some(temperature);
        self
    }

    /// Sets how many tokens the answer may have. Default: the model's.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.0.max_completion_tokens = Some(tokens);
        self
    }

    /// The request as the protocol has it.
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
