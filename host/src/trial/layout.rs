//! JSON text laid out anew: on one line for programs, on many for people. Only white space changes: order,
//! numbers and escapes stay as the plugin wrote them.

/// The text without white space between its tokens.
pub(super) fn compact(json: &str) -> String {
    lay_out(json, None)
}

/// The text with a line for each member and item, two blanks deeper each, after `margin` blanks.
pub(super) fn pretty(json: &str, margin: usize) -> String {
    lay_out(json, Some(margin))
}

/// What the walk over a text remembers.
struct Layout {
    text: String,
    /// Blanks before the outermost line; none for a single line.
    margin: Option<usize>,
    depth: usize,
    /// An object or array has just been opened and nothing written into it.
    is_empty: bool,
}

impl Layout {
    fn new_line(&mut self) {
        if let Some(margin) = self.margin {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', margin + 2 * self.depth));
        }
    }

    /// Before anything that stands inside an object or array.
    fn begin(&mut self) {
        if std::mem::take(&mut self.is_empty) {
            self.new_line();
        }
    }
}

fn lay_out(json: &str, margin: Option<usize>) -> String {
    let text = " ".repeat(margin.unwrap_or_default());
    let mut out = Layout { text, margin, depth: 0, is_empty: false };
    let (mut in_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            out.text.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.begin();
                out.text.push(character);
                out.depth += 1;
                out.is_empty = true;
            }
            '}' | ']' => {
                out.depth = out.depth.saturating_sub(1);
                if !std::mem::take(&mut out.is_empty) {
                    out.new_line();
                }
                out.text.push(character);
            }
            ',' => {
                out.text.push(character);
                out.new_line();
            }
            ':' => out.text.push_str(if margin.is_some() { ": " } else { ":" }),
            other => {
                out.begin();
                out.text.push(other);
                in_string = other == '"';
            }
        }
    }
    out.text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TEXT: &str =
        " {\"b\" : [1.0, -0,\n 1E2 , {} ,[ ]], \"a\":\"x \\\" { , \\\\\" ,\"c\":{\"d\":null}}\n";

    #[test]
    fn one_line_for_programs() {
        assert_eq!(compact(TEXT), r#"{"b":[1.0,-0,1E2,{},[]],"a":"x \" { , \\","c":{"d":null}}"#);
    }

    #[test]
    fn many_lines_for_people() {
        let lines = [
            "  {",
            "    \"b\": [",
            "      1.0,",
            "      -0,",
            "      1E2,",
            "      {},",
            "      []",
            "    ],",
            "    \"a\": \"x \\\" { , \\\\\",",
            "    \"c\": {",
            "      \"d\": null",
            "    }",
            "  }",
        ];
        assert_eq!(pretty(TEXT, 2), lines.join("\n"));
    }

    #[test]
    fn looks_as_serde_json_writes_it() {
        let value = json!({"a": [1, [], {}, [{"b": "ü\n\t\\"}]], "": {"c": [true, null]}, "d": ""});
        let wide = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(pretty(&value.to_string(), 0), wide);
        assert_eq!(compact(&wide), value.to_string());
        assert_eq!(
            serde_json::from_str::<Value>(&pretty(TEXT, 7)).unwrap(),
            serde_json::from_str::<Value>(TEXT).unwrap()
        );
    }
}
