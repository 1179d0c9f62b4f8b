// errors: 2
use ergon::prelude::*;

#[derive(Deserialize)]
struct Settings {
    orders: CsvConfig,
    more: Option<Vec<CsvConfig>>,
}

fn main() {
    let _: fn(&Settings) -> usize = |settings| settings.more.iter().count() + settings.orders.path.len();
}
