//! The rules of the pos plugin, one document each.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;

use serde_json::{Value, json};
use xylem_kit::Plugin;
use xylem_mapping::golden;
use xylem_plugin_pos::Pos;

/// Settings that reject what does not add up and what would be lost.
fn settings(more: &Value) -> String {
    let mut settings = json!({
        "tenant": "_acme", "time_zone": "Europe/Berlin", "totals": "reject", "unmapped": "reject"
    });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings.to_string()
}

/// A transaction around the inner parts of a `RetailTransaction`.
fn transaction(inner: &str) -> String {
    format!(
        "<POSLog><Transaction><RetailStoreID>1</RetailStoreID><WorkstationID>2</WorkstationID>\
         <SequenceNumber>3</SequenceNumber><BusinessDayDate>2026-05-01</BusinessDayDate>\
         <EndDateTime>2026-05-01T12:00:00</EndDateTime><CurrencyCode>EUR</CurrencyCode>\
         <RetailTransaction>{inner}</RetailTransaction></Transaction></POSLog>"
    )
}

/// A line of goods.
fn sale(number: u32, id: &str, amount: &str, quantity: &str, attributes: &str) -> String {
    format!(
        "<LineItem {attributes}><SequenceNumber>{number}</SequenceNumber><Sale>\
         <ItemID>{id}</ItemID><ExtendedAmount>{amount}</ExtendedAmount>\
         <Quantity>{quantity}</Quantity></Sale></LineItem>"
    )
}

/// A payment in cash.
fn cash(amount: &str, more: &str) -> String {
    format!(
        "<LineItem><Tender TenderType=\"Cash\"><Amount>{amount}</Amount>{more}</Tender></LineItem>"
    )
}

/// The grand total.
fn grand(amount: &str) -> String {
    format!("<Total TotalType=\"TransactionGrandAmount\">{amount}</Total>")
}

/// What becomes of a document.
fn outcome(more: &Value, document: &str) -> Value {
    let pos = Pos::init(&settings(more)).unwrap();
    golden::outcome(&pos, document.as_bytes().to_vec()).unwrap()
}

/// The only event of a document.
fn event(document: &str) -> Value {
    let outcome = outcome(&json!({}), document);
    assert_eq!(outcome["events"].as_array().map(Vec::len), Some(1), "{outcome}");
    outcome["events"][0]["event"].clone()
}

/// The article numbers of an event.
fn skus(event: &Value) -> Vec<&str> {
    let items = event["productListItems"].as_array().unwrap();
    items.iter().map(|item| item["SKU"].as_str().unwrap()).collect()
}

#[test]
fn void_lines_in_all_three_forms() {
    let kept = sale(1, "A", "4.00", "1", "");
    let voided = sale(2, "B", "3.00", "1", "");
    let end = cash("4.00", "") + &grand("4.00");
    let with_signs = sale(3, "B", "-3.00", "-1", "VoidFlag=\"true\"");
    let with_link = with_signs
        .replace("-3.00", "3.00")
        .replace("<Quantity>-1", "<ItemLink>2</ItemLink><Quantity>1");
    let on_the_line = sale(2, "B", "3.00", "1", "VoidFlag=\"true\"");
    for lines in [
        kept.clone() + &voided + &with_signs,
        kept.clone() + &voided + &with_link,
        kept.clone() + &on_the_line,
    ] {
        assert_eq!(skus(&event(&transaction(&(lines + &end)))), ["A"]);
    }
    // A part of a line is voided: with the negative line the total holds.
    let three = sale(1, "C", "9.00", "3", "");
    let part = sale(2, "C", "-3.00", "-1", "VoidFlag=\"true\"");
    let event = event(&transaction(&(three + &part + &cash("6.00", "") + &grand("6.00"))));
    assert_eq!(skus(&event), ["C", "C"]);
    assert_eq!(event["productListItems"][1]["priceTotal"], json!(-3));
}

#[test]
fn of_two_equal_lines_the_later_one_is_voided() {
    let lines = sale(1, "B", "3.00", "1", "")
        + &sale(2, "B", "3.00", "1", "")
        + &sale(3, "B", "-3.00", "-1", "VoidFlag=\"true\"");
    let event = event(&transaction(&(lines + &cash("3.00", "") + &grand("3.00"))));
    assert_eq!(event["productListItems"].as_array().unwrap().len(), 1);
    assert_eq!(event["productListItems"][0]["_id"], "1");
}

#[test]
fn change_in_all_forms_is_taken_off() {
    let goods = sale(1, "A", "7.50", "1", "");
    let inside = cash("10.00", "<TenderChange><Amount>2.50</Amount></TenderChange>");
    let own_line =
        cash("10.00", "") + &cash("-2.50", "<TenderChange><Amount>-2.50</Amount></TenderChange>");
    let by_code =
        cash("10.00", "") + &cash("2.50", "").replace("<Tender ", "<Tender TypeCode=\"Change\" ");
    let by_flag =
        cash("10.00", "") + &cash("2.50", "").replace("<Tender ", "<Tender ChangeFlag=\"true\" ");
    let voided = cash("7.50", "")
        + &cash("20.00", "")
        + &cash("-20.00", "").replace("<LineItem", "<LineItem VoidFlag=\"true\"");
    for payments in [inside, own_line, by_code, by_flag, voided] {
        let event = event(&transaction(&(goods.clone() + &payments + &grand("7.50"))));
        let expected =
            json!([{"paymentAmount": 7.5, "paymentType": "cash", "currencyCode": "EUR"}]);
        assert_eq!(event["commerce"]["order"]["payments"], expected);
    }
}

#[test]
fn a_way_to_pay_that_xdm_does_not_name_is_kept() {
    let payment = cash("7.50", "").replace("\"Cash\"", "\"Bitcoin\"");
    let event = event(&transaction(&(sale(1, "A", "7.50", "1", "") + &payment + &grand("7.50"))));
    let entry = &event["commerce"]["order"]["payments"][0];
    assert_eq!(
        (&entry["paymentType"], &entry["_acme"]["tenderType"]),
        (&json!("other"), &json!("Bitcoin"))
    );
}

#[test]
fn weights_need_a_place() {
    let goods = sale(1, "A", "0.96", "0.11", "");
    let document = transaction(&(goods + &cash("0.96", "") + &grand("0.96")));
    let item = event(&document)["productListItems"][0].clone();
    assert_eq!((&item["quantity"], &item["_acme"]["weight"]), (&json!(1), &json!(0.11)));
    let mut without: Value = serde_json::from_str(&settings(&json!({}))).unwrap();
    without.as_object_mut().unwrap().remove("tenant");
    let pos = Pos::init(&without.to_string()).unwrap();
    let outcome = golden::outcome(&pos, document.into_bytes()).unwrap();
    assert_eq!(outcome["fault"]["code"], "unmapped-field");
    assert!(outcome["fault"]["message"].as_str().unwrap().contains("Sale.Quantity"), "{outcome}");
}

#[test]
fn gross_amounts_lose_their_discount() {
    let goods = sale(1, "A", "10.00", "1", "")
        .replace("<Quantity>", "<ExtendedDiscountAmount>1.50</ExtendedDiscountAmount><Quantity>");
    let document = transaction(&(goods + &cash("8.50", "") + &grand("8.50")));
    let gross = outcome(&json!({"extended_amount": "gross"}), &document);
    let item = &gross["events"][0]["event"]["productListItems"][0];
    assert_eq!((&item["priceTotal"], &item["discountAmount"]), (&json!(8.5), &json!(1.5)));
    let net = outcome(&json!({}), &document);
    assert_eq!(net["fault"]["code"], "totals-differ");
}

#[test]
fn a_refund_adds_up() {
    let line = sale(1, "A", "-10.00", "-1", "").replace("Sale>", "Return>");
    let document = transaction(&(line + &cash("-10.00", "") + &grand("-10.00")));
    let event = event(&document);
    let order = &event["commerce"]["order"];
    // T3: the total, the payments and the goods are one amount, without a sign.
    assert_eq!(order["refundTotal"], json!(10));
    assert_eq!(order["refunds"][0]["refundAmount"], json!(10));
    assert_eq!(event["productListItems"][0]["refundAmount"], json!(10));
    assert!(event["commerce"].get("purchases").is_none());
}

#[test]
fn nothing_happened_on_a_receipt_without_goods() {
    let lines = sale(1, "A", "3.00", "1", "") + &sale(2, "A", "-3.00", "-1", "VoidFlag=\"true\"");
    let outcome = outcome(&json!({}), &transaction(&(lines + &grand("0.00"))));
    assert_eq!(outcome["reason"], "no sale in the POSLog document: 1 transaction without goods");
}

#[test]
fn an_unknown_field_is_named() {
    let goods = sale(1, "A", "3.00", "1", "").replace("<Sale>", "<Sale><Surprise>1</Surprise>");
    let document = transaction(&(goods + &cash("3.00", "") + &grand("3.00")));
    let outcome = outcome(&json!({}), &document);
    assert_eq!(outcome["fault"]["path"], "Transaction.RetailTransaction.LineItem.Sale.Surprise");
}

#[test]
fn local_times_at_a_change_of_clocks() {
    for (time, expected) in [
        // The clocks go back at three: half past two comes twice, the first is meant.
        ("2026-10-25T02:30:00", "2026-10-25T02:30:00+02:00"),
        // They go forward at two: half past two does not come.
        ("2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00"),
        ("2026-05-01T12:00:00.250Z", "2026-05-01T12:00:00.25Z"),
    ] {
        let document = transaction(&(sale(1, "A", "1.00", "1", "") + &grand("1.00")));
        let document = document.replace("2026-05-01T12:00:00", "TIME").replace("TIME", time);
        assert_eq!(event(&document)["timestamp"], expected);
    }
}

#[test]
fn the_same_document_in_another_encoding_gives_the_same_events() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let settings = std::fs::read_to_string(golden.join("settings.json")).unwrap();
    let pos = Pos::init(&settings).unwrap();
    let latin = std::fs::read(golden.join("de-exchange.input.xml")).unwrap();
    let text: String = latin.iter().map(|byte| char::from(*byte)).collect();
    let text = text.replace("encoding=\"ISO-8859-1\"", "");
    let marked: Vec<u8> =
        format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let expected = golden::outcome(&pos, latin).unwrap();
    assert_eq!(expected["outcome"], "emit");
    assert_eq!(golden::outcome(&pos, text.replace('\n', "\r\n").into_bytes()).unwrap(), expected);
    assert_eq!(golden::outcome(&pos, marked).unwrap(), expected);
}
