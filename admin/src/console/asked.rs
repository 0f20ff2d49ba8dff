//! What filters of a page ask for, and addresses that ask the same.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::problem::Problem;

/// What a field says; nothing where it is empty.
pub(super) fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A field that is of a kind; nothing where it is empty.
pub(super) fn parsed<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<Option<T>, Problem> {
    let Some(text) = given(text) else { return Ok(None) };
    let read = serde_json::from_value(Value::String(text));
    read.map(Some).map_err(|error| Problem::Field { field, fix: error.to_string() })
}

/// The address that asks for these fields of a page, without those that are empty.
pub(super) fn address(path: &str, fields: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (name, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
        out.push(if out.len() == path.len() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        let Ok(text) = askama::filters::urlencode_strict(text);
        out.push_str(&text.to_string());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_asks_for_what_is_there() {
        assert_eq!(address("/a", &[("b", ""), ("c", "x y&=")]), "/a?c=x%20y%26%3D");
        assert_eq!(address("/a", &[("b", "1"), ("c", "2")]), "/a?b=1&c=2");
        assert_eq!(address("/a", &[("b", "")]), "/a");
        assert_eq!(parsed::<u8>("n", " ").unwrap(), None);
        assert!(matches!(parsed::<u8>("n", "x"), Err(Problem::Field { field: "n", .. })));
    }
}
