// errors: 2
use ergon::prelude::*;

#[ergon::task(connectors(input), services(openai, stock: HttpService))]
struct Orders;

impl Consumer for Orders {
    type Payload = String;
    type Output = String;

    async fn process_transaction(&self, order: &Transaction<String>) -> Result<String> {
        let stock: String = self.stock_service.get("stock").receive().await?;
        self.openai_service.complete(format!("{stock} {}", order.payload())).await.system()
    }
}

fn main() {}
