//! Turns a transaction into a row of a table, for the sinks of CSV files and workbooks: its cells by name, and in the
//! order of the columns.

use serde_json::{Map, Value};

use crate::connector::ConnectorError;
use crate::transaction::{Content, Transaction};

/// Returns the cells of a transaction, by name.
///
/// ```
/// use ergon::Transaction;
/// use ergon::connector::kit::file::{cells, in_order};
///
/// let order = Transaction::new("order-1", &serde_json::json!({"sku": "A-1", "quantity": 2}))?;
/// let row = in_order(cells(&order)?, &["quantity".to_owned(), "sku".to_owned()], &order)?;
/// assert_eq!(row, [serde_json::json!(2), serde_json::json!("A-1")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The payload is not a map of names to values.
pub fn cells(transaction: &Transaction) -> Result<Map<String, Value>, ConnectorError> {
    let refused = |why: &str| {
        ConnectorError::permanent(format!("transaction `{}` is no row: {why}", transaction.id()))
            .with_hint("a row is a map of names to values")
    };
    match transaction.payload().content() {
        Content::Record(record) => Ok(record.names().iter().cloned().zip(record.values()).collect()),
        Content::Value(Value::Object(map)) => Ok(map.clone()),
        Content::Body(..) => match transaction.decode::<Value>() {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(refused("its payload is no map")),
            Err(error) => Err(refused(error.message())),
        },
        _ => Err(refused("its payload is no map")),
    }
}

/// Refuses names that no header can have, because no source could read the file.
///
/// # Errors
/// There is no name, or a blank name.
pub fn named(names: &[String], transaction: &Transaction) -> Result<(), ConnectorError> {
    let wrong = match names {
        [] => "has no names",
        names if names.iter().any(|name| name.trim().is_empty()) => "has a blank name",
        _ => return Ok(()),
    };
    let message =
        format!("transaction `{}` {wrong}, and would make the header of the file", transaction.id());
    Err(ConnectorError::permanent(message)
        .with_hint("the first transaction decides on the columns; name each of them"))
}

/// Puts the cells in the order of the columns; refuses a name that no column has. The function [`cells`] has an
/// example.
///
/// # Errors
/// A cell has a name that no column has.
pub fn in_order(
    mut cells: Map<String, Value>,
    names: &[String],
    transaction: &Transaction,
) -> Result<Vec<Value>, ConnectorError> {
    // Most transactions of a task have the same names, in the same order.
    if cells.len() == names.len() && cells.keys().zip(names).all(|(key, name)| key == name) {
        return Ok(cells.into_iter().map(|(_, value)| value).collect());
    }
    let row = names.iter().map(|name| cells.remove(name).unwrap_or(Value::Null)).collect();
    let Some((key, _)) = cells.iter().next() else { return Ok(row) };
    let message = format!("transaction `{}` has `{key}`, for which there is no column", transaction.id());
    Err(ConnectorError::permanent(message)
        .with_hint("the first transaction decides on the columns; give every one the same names"))
}
