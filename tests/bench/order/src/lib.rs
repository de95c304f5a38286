//! The typed order plugin of the benchmarks, one crate for both targets: a guest, and a native
//! function that the floor and the ceiling call.
//!
//! A web shop's order becomes an XDM `ExperienceEvent` (`schema.json`, 688 bytes for two lines); a
//! cart that is only parked is filtered. [`workload`] makes the records from their numbers.

mod shop;
pub mod workload;
mod xdm;

use xylem_kit::{Outcome, Payload, Plugin, Record, Source, event, reject};

use self::shop::Cart;
use self::xdm::{
    Commerce, Event, Identity, IdentityMap, Measure, Order, Payment, ProductListItem, Store,
};

/// The plugin; it has no settings.
pub struct Orders;

impl Plugin for Orders {
    fn init(_configuration: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn transform(&self, _source: &Source, record: &Record) -> Outcome {
        let mapped = match &record.payload {
            Some(Payload::Text(text)) => map(text),
            Some(Payload::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => map(text),
                Err(error) => return reject("not-utf8", error.to_string()),
            },
            None => return Outcome::Filter("tombstone".to_owned()),
        };
        match mapped {
            Ok(Some(body)) => Outcome::Emit(vec![event(body)]),
            Ok(None) => Outcome::Filter("parked".to_owned()),
            Err(error) => reject("not-an-order", error.to_string()),
        }
    }
}

xylem_kit::export!(Orders);

/// Maps an order to its event; none for a parked cart. The error says what is wrong with the
/// document, and where.
pub fn map(json: &str) -> Result<Option<String>, serde_json::Error> {
    let order: Cart<'_> = serde_json::from_str(json)?;
    if order.status == "parked" {
        return Ok(None);
    }
    let currency = order.currency.as_ref();
    let items = order.lines.iter().map(|line| ProductListItem {
        sku: &line.sku,
        name: &line.name,
        quantity: line.quantity,
        price_total: cents(f64::from(line.quantity) * line.unit_price),
        currency_code: currency,
    });
    let event = Event {
        id: &order.order_id,
        timestamp: &order.placed_at,
        kind: "commerce.purchases",
        identity_map: IdentityMap {
            crm_id: [Identity { id: &order.customer.id, primary: true }],
            email: [Identity { id: &order.customer.email, primary: false }],
        },
        product_list_items: items.collect(),
        commerce: Commerce {
            order: Order {
                purchase_id: &order.order_id,
                created_date: &order.placed_at,
                kind: "checkout",
                currency_code: currency,
                price_total: order.total,
                payments: [Payment {
                    transaction_id: &order.order_id,
                    amount: order.total,
                    currency_code: currency,
                }],
            },
            purchases: Measure { value: 1 },
        },
        store: Store { store_id: &order.store },
    };
    serde_json::to_string(&event).map(Some)
}

/// An amount with the noise of the multiplication taken off.
fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"orderId":"O-1","status":"placed","placedAt":"2026-03-01T10:15:00.000Z",
        "customer":{"id":"C-7","email":"ana@shop.example"},"store":"S-3","currency":"EUR","total":93.1,
        "lines":[{"sku":"A-1","name":"Tea, \"green\"","quantity":2,"unitPrice":26.55},
                 {"sku":"A-2","name":"Pot","quantity":1,"unitPrice":40}]}"#;

    #[test]
    fn an_order_becomes_its_event() {
        let expected = serde_json::json!({
            "_id": "O-1",
            "timestamp": "2026-03-01T10:15:00.000Z",
            "eventType": "commerce.purchases",
            "identityMap": {
                "CRMID": [{"id": "C-7", "primary": true}],
                "Email": [{"id": "ana@shop.example"}]
            },
            "productListItems": [
                {"SKU": "A-1", "name": "Tea, \"green\"", "quantity": 2, "priceTotal": 53.1, "currencyCode": "EUR"},
                {"SKU": "A-2", "name": "Pot", "quantity": 1, "priceTotal": 40.0, "currencyCode": "EUR"}
            ],
            "commerce": {
                "order": {
                    "purchaseID": "O-1", "createdDate": "2026-03-01T10:15:00.000Z",
                    "orderType": "checkout", "currencyCode": "EUR", "priceTotal": 93.1,
                    "payments": [{"transactionID": "O-1", "paymentAmount": 93.1, "currencyCode": "EUR"}]
                },
                "purchases": {"value": 1}
            },
            "store": {"storeID": "S-3"}
        });
        let body = map(ORDER).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
    }

    #[test]
    fn every_workload_fits_the_schema() {
        let schema = serde_json::from_str(include_str!("../schema.json")).unwrap();
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&schema).unwrap();
        for number in [0, 1, 99, 12_345, 9_999_999_999] {
            for record in [workload::order(number), workload::order1k(number)] {
                let body = map(&record).unwrap().unwrap();
                let event = serde_json::from_str(&body).unwrap();
                let errors: Vec<_> = validator.iter_errors(&event).map(|e| e.to_string()).collect();
                assert_eq!(errors, [""; 0], "{body}");
            }
        }
    }

    #[test]
    fn the_schema_is_closed() {
        let schema = serde_json::from_str(include_str!("../schema.json")).unwrap();
        let body = map(&workload::order(1)).unwrap().unwrap();
        let mut event: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(jsonschema::is_valid(&schema, &event));
        event["commerce"]["order"]["unknown"] = 1.into();
        assert!(!jsonschema::is_valid(&schema, &event));
    }

    #[test]
    fn a_parked_cart_is_filtered_and_a_torn_one_rejected() {
        assert_eq!(map(&ORDER.replace("placed\"", "parked\"")).unwrap(), None);
        let torn = map(ORDER.split_once("EUR").unwrap().0).unwrap_err().to_string();
        assert!(torn.contains("line 2"), "{torn}");
    }
}
