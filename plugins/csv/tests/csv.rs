//! The csv plugin from the outside, as the host calls it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say that it skips"
)]

use serde_json::{Value, json};
use xylem_kit::{Outcome, Payload, Plugin, Record, Source};
use xylem_plugin_csv::Csv;

/// A plugin whose one event holds these columns as they are.
fn plugin(columns: &[&str], settings: Value) -> Csv {
    let fields: serde_json::Map<String, Value> =
        columns.iter().map(|name| ((*name).to_owned(), json!(format!(".[\"{name}\"]")))).collect();
    with_mapping(json!({"unmapped": "ignore", "events": [{"fields": fields}]}), settings)
}

fn with_mapping(mapping: Value, mut settings: Value) -> Csv {
    settings["mapping"] = mapping;
    Csv::init(&settings.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(settings: &Value) -> String {
    let mut settings = settings.clone();
    settings["mapping"] = json!({"events": [{"fields": {"a": ".a"}}]});
    Csv::init(&settings.to_string()).err().unwrap()
}

fn run(plugin: &Csv, bytes: &[u8]) -> Outcome {
    let source = Source { pipeline: "p".to_owned(), topic: "t".to_owned(), partition: 0 };
    let record = Record {
        offset: 0,
        timestamp_ms: None,
        key: None,
        payload: Some(Payload::Bytes(bytes.to_vec())),
        headers: Vec::new(),
    };
    plugin.transform(&source, &record)
}

fn rows(plugin: &Csv, bytes: &[u8]) -> Vec<Value> {
    match run(plugin, bytes) {
        Outcome::Emit(events) => {
            events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Code, message and path.
fn rejected(plugin: &Csv, bytes: &[u8]) -> (String, String, String) {
    match run(plugin, bytes) {
        Outcome::Reject(rejection) => {
            (rejection.code, rejection.message, rejection.path.unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_with_a_header() {
    let plugin = plugin(&["a", "b", "__row"], json!({}));
    assert_eq!(
        rows(&plugin, b"a,b\r\n1,\"x,\"\"y\"\"\nz\"\r\n\r\n007,\r\n"),
        [json!({"a": "1", "b": "x,\"y\"\nz", "__row": 2}), json!({"a": "007", "__row": 3})]
    );
    for blank in [&b""[..], b"\n\n", b"a,b", b"a,b\n", b"\xef\xbb\xbf"] {
        assert!(
            matches!(run(&plugin, blank), Outcome::Filter(reason) if reason.contains("no rows")),
            "{blank:?}"
        );
    }
}

/// The fenced blocks of a language in this plugin's page.
fn blocks(language: &str) -> Vec<&'static str> {
    let fences = include_str!("../README.md").split("```").skip(1).step_by(2);
    fences.filter_map(|block| block.strip_prefix(language)).collect()
}

#[test]
fn the_page_says_what_is_true() {
    let table = serde_saphyr::from_str(blocks("yaml\n")[1]).unwrap();
    let plugin = with_mapping(table, json!({"delimiter": ";", "decimal": "comma"}));
    let expected =
        blocks("json\n")[0].lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(rows(&plugin, blocks("csv\n")[0].as_bytes()), expected.collect::<Vec<_>>());
}

#[test]
fn a_record_is_one_row_where_columns_are_given() {
    let plugin = plugin(&["a", "b"], json!({"columns": ["a", "b"]}));
    assert_eq!(rows(&plugin, b"1,2\n"), [json!({"a": "1", "b": "2"})]);
    assert_eq!(rejected(&plugin, b"1,2\n3,4").0, "rows");
    assert_eq!(rejected(&plugin, b"1").2, "row 1");
    assert!(matches!(run(&plugin, b""), Outcome::Filter(_)));
}

#[test]
fn ragged_rows_and_open_quotes_name_their_row() {
    let plugin = plugin(&["a", "b"], json!({}));
    let (code, message, path) = rejected(&plugin, b"a,b\n1,2\n3\n");
    assert_eq!(
        (code.as_str(), message.as_str(), path.as_str()),
        ("ragged-row", "row 3 has 1 fields where 2 are named", "row 3")
    );
    assert_eq!(rejected(&plugin, b"a,b\n1,2,3").0, "ragged-row");
    assert_eq!(rejected(&plugin, b"a,b\n1,\"2").2, "row 2");
    assert_eq!(rejected(&plugin, b"a,b\n1,\"2\"x").0, "malformed-csv");
}

#[test]
fn encodings() {
    let latin = plugin(&["a"], json!({"encoding": "windows-1252"}));
    let utf8 = plugin(&["a"], json!({}));
    let expected = [json!({"a": "señor €"})];
    assert_eq!(rows(&latin, b"a\nse\xf1or \x80"), expected);
    assert_eq!(rows(&utf8, "a\nseñor €".as_bytes()), expected);
    assert_eq!(rows(&latin, "\u{feff}a\nseñor €".as_bytes()), expected);
    let utf16: Vec<u8> = "\u{feff}a\nseñor €".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_big: Vec<u8> =
        "\u{feff}a\nseñor €".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(rows(&utf8, &utf16), expected);
    assert_eq!(rows(&latin, &utf16_big), expected);
    let (code, message, _) = rejected(&utf8, b"a\nse\xf1or");
    assert_eq!(code, "undecodable");
    assert!(message.contains("UTF-8"), "{message}");
}

#[test]
fn dialects_and_blanks() {
    let bang = plugin(&["a", "b"], json!({"delimiter": "!", "quote": "'", "trim": true}));
    assert_eq!(rows(&bang, b" a !b\n x, !'y!'"), [json!({"a": "x,", "b": "y!"})]);
    let tabs = plugin(&["a", "b"], json!({"delimiter": "tab", "quote": ""}));
    assert_eq!(rows(&tabs, b"a\tb\n\"x\t y"), [json!({"a": "\"x", "b": " y"})]);
    assert!(refused(&json!({"delimiter": ",,"})).contains("one ASCII character"));
    assert!(refused(&json!({"quote": ","})).contains("same character"));
    assert!(refused(&json!({"encoding": "klingon"})).contains("no encoding"));
    assert!(refused(&json!({"separator": ","})).contains("unknown field `separator`"));
}

#[test]
fn decimal_signs_are_stated() {
    let mapping = || json!({"events": [{"fields": {"a": {"from": ".a", "type": "number"}, "n": {"from": ".n", "type": "integer"}}}]});
    let comma = with_mapping(mapping(), json!({"decimal": "comma", "delimiter": ";"}));
    assert_eq!(rows(&comma, b"a;n\n1.234,50;1 000")[0].to_string(), r#"{"a":1234.5,"n":1000}"#);
    assert_eq!(rejected(&comma, b"a;n\n1,234.50;1").2, "row 2: .a");
    let point = with_mapping(mapping(), json!({"decimal": "point", "delimiter": ";"}));
    assert_eq!(rows(&point, b"a;n\n1,234.50;1,000")[0].to_string(), r#"{"a":1234.5,"n":1000}"#);
    let unstated = with_mapping(mapping(), json!({"delimiter": ";"}));
    assert_eq!(rejected(&unstated, b"a;n\n1,234;1").0, "mismatch");
}

#[test]
fn equal_names_in_a_header() {
    let document = b"t,x,t\n1,2,3";
    assert_eq!(rejected(&plugin(&["t"], json!({})), document).0, "header");
    assert_eq!(
        rows(&plugin(&["t"], json!({"duplicates": "first"})), document),
        [json!({"t": "1"})]
    );
    assert_eq!(rows(&plugin(&["t"], json!({"duplicates": "last"})), document), [json!({"t": "3"})]);
    assert_eq!(
        rows(&plugin(&["t", "t_2"], json!({"duplicates": "number"})), document),
        [json!({"t": "1", "t_2": "3"})]
    );
    assert!(
        refused(&json!({"columns": ["a", "a"]}))
            .contains("column 2 has the name of an earlier column")
    );
    assert!(refused(&json!({"columns": ["__row"]})).contains("row's number"));
}

#[test]
fn a_column_that_is_not_read_can_be_refused() {
    let strict = with_mapping(
        json!({"unmapped": "reject", "drop": {".c": "not of use"}, "events": [{"fields": {"a": ".a"}}]}),
        json!({}),
    );
    assert_eq!(rows(&strict, b"a,c\n1,2"), [json!({"a": "1"})]);
    assert_eq!(rejected(&strict, b"a,b\n1,\n2,x"), (
        "unmapped".to_owned(),
        "row 3: the mapping neither reads nor drops `.b`; add them to `fields` or, with a reason, to `drop`".to_owned(),
        "row 3: .b".to_owned(),
    ));
}

/// The files of csv-spectrum with their expected rows, where the samples are.
#[test]
fn the_spectrum_of_others() {
    let Some(root) = std::env::var_os("XYLEM_SAMPLES") else {
        eprintln!("skipped: XYLEM_SAMPLES is not set, so csv-edge is not here");
        return;
    };
    let folder = std::path::Path::new(&root).join("samples/csv-edge");
    for name in [
        "comma_in_quotes",
        "empty",
        "empty_crlf",
        "escaped_quotes",
        "json",
        "newlines",
        "simple",
        "simple_crlf",
        "utf8",
    ] {
        let bytes = std::fs::read(folder.join(format!("{name}.csv"))).unwrap();
        let expected: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(
            &std::fs::read(folder.join(format!("{name}.expected.json"))).unwrap(),
        )
        .unwrap();
        let columns: Vec<&str> = expected[0].keys().map(String::as_str).collect();
        // An empty field is never emitted, so it is not in the event either.
        let expected: Vec<Value> = expected
            .iter()
            .map(|row| {
                Value::Object(
                    row.iter()
                        .filter(|(_, field)| **field != json!(""))
                        .map(|(k, v)| (k.clone(), v.clone()))
                        .collect(),
                )
            })
            .collect();
        assert_eq!(rows(&plugin(&columns, json!({})), &bytes), expected, "{name}");
    }
}

#[test]
fn files_of_others() {
    let Some(root) = std::env::var_os("XYLEM_SAMPLES") else {
        eprintln!("skipped: XYLEM_SAMPLES is not set, so these files are not here");
        return;
    };
    let read =
        |name: &str| std::fs::read(std::path::Path::new(&root).join("samples").join(name)).unwrap();
    let sales = with_mapping(
        json!({"unmapped": "ignore", "events": [{"fields": {
            "date": {"from": ".date", "type": "date", "format": "%m/%d/%y"},
            "sales": {"from": ".weeklySales", "type": "number"},
            "holiday": {"from": ".isHoliday", "type": "boolean"},
        }}]}),
        json!({}),
    );
    let sales = rows(&sales, &read("csv-edge/adobe-dsw-retail-mdy-dates.csv"));
    assert_eq!(sales[0], json!({"date": "2010-02-05", "sales": 1_643_690.9, "holiday": false}));
    for name in [
        "crm/salesforce-dataloader-csvtext_BOM_UTF8.csv",
        "crm/salesforce-dataloader-csvtext_BOM_UTF16LE.csv",
    ] {
        let any = with_mapping(
            json!({"unmapped": "ignore", "events": [{"fields": {"row": "del(.__row)", "n": ".__row"}}]}),
            json!({}),
        );
        let rows = rows(&any, &read(name));
        assert!(rows.iter().all(|row| !row["row"].to_string().contains('\u{feff}')), "{name}");
        assert_eq!(rows[0]["n"], json!(2), "{name}");
    }
}
