//! The names that the file of a task needs: `use ergon::prelude::*;`.
//!
//! ```
//! use ergon::prelude::*;
//!
//! #[ergon::task(connectors(input, output))]
//! struct CopyOrders;
//!
//! impl Consumer for CopyOrders {
//!     type Payload = Value;
//!     type Output = ();
//!
//!     async fn process_transaction(&self, order: &Transaction<Value>) -> Result<()> {
//!         self.output_connector.dispatch(order.forward()).await
//!     }
//! }
//! ```

pub use bytes::Bytes;
pub use ergon_macros::TransactionError;
pub use futures_util::Stream;
pub use serde::{Deserialize, Serialize};
pub use serde_json::Value;

#[allow(unused_imports, deprecated, reason = "a stand-in names its feature")]
pub use crate::connector::configs::*;
pub use crate::connector::{Disposition, Duplex, Input, Output, Sink, Source};
pub use crate::engine::{Execute, Run};
pub use crate::policy::{ConsumerPolicy, ProducerPolicy, RetryPolicy};
pub use crate::service::ServiceConfig;
#[cfg(feature = "http")]
pub use crate::service::http::{HttpConfig, HttpError, HttpService, HttpServiceConfig};
#[cfg(feature = "openai")]
pub use crate::service::openai::{OpenaiConfig, OpenaiService, OpenaiServiceConfig};
pub use crate::task::{BlockingConsumer, BlockingProducer, Consumer, Producer, TaskConfig};
pub use crate::transaction::{Category, ContentType, Result, ResultExt, Transaction, TransactionError};
// Stand-ins for the types of features that are off; each names its feature.
#[doc(hidden)]
#[allow(unused_imports, unreachable_pub, deprecated, reason = "there may be none")]
pub use crate::__private::off::*;
