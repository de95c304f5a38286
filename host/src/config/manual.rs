//! The manual, written from the types: `host/docs/config.md` and the JSON Schema for editors.
//!
//! The tests fail when either is stale; `UPDATE_EXPECT=1 cargo test` rewrites them.

use schemars::schema_for;
use serde_json::Value as Json;

use super::Config;
use crate::manual::{current, tables};

const HEAD: &str = "\
# The configuration

One YAML file, strict: an unknown key, a wrong type or a name that does not exist is an error, and
`xylem check -c FILE` shows all of them at once. Paths are relative to the folder of the file. For
completion in an editor, put this line at the top of the file:

```yaml
# yaml-language-server: $schema=PATH/host/docs/config.schema.json
```

Values marked *reference* may hold `${NAME}` (a variable of the environment) and `${file:PATH}` (the
text of a file, without a line break at its end); `$${` stands for a literal `${`. Nothing else may,
least of all a plugin's `settings` or a mapping: no secret reaches a plugin. Inside `{…}` and `[…]`
a reference stands in quotes. Values marked *secret* are references too and never shown.

This page is written from the types in `host/src/config` by a test.
";

#[test]
fn the_manual_is_current() {
    current("config.md", &tables(HEAD, &Json::from(schema_for!(Config)), true));
}

#[test]
fn the_schema_for_editors_is_current() {
    current("config.schema.json", &format!("{:#}\n", Json::from(schema_for!(Config))));
}
