//! What a request says its body is (RFC 9110, 8.3 and 8.4): only unencoded `application/json` in UTF-8 is read.

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

/// Whether the body is for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    /// Missing, malformed, or another type: its body stays unread, as if there were none.
    Other,
}

/// JSON in a form that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnsupportedForm {
    #[error("the charset is not utf-8")]
    Charset,
    #[error("the content encoding is not identity")]
    Encoding,
}

/// Reads `Content-Type` and `Content-Encoding`.
pub(super) fn declared(headers: &HeaderMap) -> Result<MediaType, UnsupportedForm> {
    let Some(Ok(declared)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return Ok(MediaType::Other);
    };
    let (essence, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    if !essence
        .trim_matches(BLANKS)
        .eq_ignore_ascii_case("application/json")
    {
        return Ok(MediaType::Other);
    }
    if charset(parameters).is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return Err(UnsupportedForm::Charset);
    }
    let encoded = headers.get_all(CONTENT_ENCODING).iter().any(|encoding| {
        let encoding = encoding.as_bytes().trim_ascii();
        !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity")
    });
    if encoded {
        return Err(UnsupportedForm::Encoding);
    }
    Ok(MediaType::Json)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first `charset` among `; name=value; name="quoted; value"`.
fn charset(parameters: &str) -> Option<String> {
    let mut rest = parameters;
    while !rest.is_empty() {
        let (name, after) = match rest.find(['=', ';']) {
            Some(at) => rest.split_at(at),
            None => return None,
        };
        let Some(after) = after.strip_prefix('=') else {
            rest = after.strip_prefix(';').unwrap_or_default();
            continue;
        };
        let (value, after) = parameter_value(after);
        if name.trim_matches(BLANKS).eq_ignore_ascii_case("charset") {
            return Some(value);
        }
        rest = after.split_once(';').map_or("", |(_, next)| next);
    }
    None
}

/// A token, or a quoted-string without its quotes and escapes (RFC 9110, 5.6.4); and what follows.
fn parameter_value(text: &str) -> (String, &str) {
    let text = text.trim_start_matches(BLANKS);
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (value.trim_matches(BLANKS).to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(rows: &[(HeaderName, &str)]) -> HeaderMap {
        rows.iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        use MediaType::{Json, Other};
        for (content_type, want) in [
            ("application/json", Ok(Json)),
            ("Application/JSON", Ok(Json)),
            (" application/json ", Ok(Json)),
            ("application/json;", Ok(Json)),
            ("application/json; charset=utf-8", Ok(Json)),
            ("application/json;charset=UTF-8", Ok(Json)),
            ("application/json; Charset=\"Utf-8\"", Ok(Json)),
            ("application/json; charset=\"u\\tf-8\"", Ok(Json)),
            ("application/json ; charset = utf-8", Ok(Json)),
            ("application/json; foo", Ok(Json)),
            (
                "application/json; foo; x=y; v=\"a;charset=latin1\"",
                Ok(Json),
            ),
            (
                "application/json; charset=latin1",
                Err(UnsupportedForm::Charset),
            ),
            (
                "application/json; charset=utf8",
                Err(UnsupportedForm::Charset),
            ),
            ("application/json; charset=", Err(UnsupportedForm::Charset)),
            (
                "application/json; v=\"a;b\"; charset=utf-16",
                Err(UnsupportedForm::Charset),
            ),
            ("", Ok(Other)),
            ("text/plain", Ok(Other)),
            ("text/plain; charset=latin1", Ok(Other)),
            ("application/jsonp", Ok(Other)),
            ("application/vnd.api+json", Ok(Other)),
            ("application/x-www-form-urlencoded", Ok(Other)),
            ("json", Ok(Other)),
        ] {
            assert_eq!(
                declared(&headers(&[(CONTENT_TYPE, content_type)])),
                want,
                "{content_type}"
            );
        }
        assert_eq!(declared(&HeaderMap::new()), Ok(Other), "none");
    }

    #[test]
    fn an_encoding_counts_only_where_the_body_would_be_read() {
        for (content_type, encoding, want) in [
            ("application/json", "gzip", Err(UnsupportedForm::Encoding)),
            (
                "application/json",
                "br, gzip",
                Err(UnsupportedForm::Encoding),
            ),
            ("application/json", "Identity", Ok(MediaType::Json)),
            ("application/json", "", Ok(MediaType::Json)),
            ("text/plain", "gzip", Ok(MediaType::Other)),
        ] {
            let headers = headers(&[(CONTENT_TYPE, content_type), (CONTENT_ENCODING, encoding)]);
            assert_eq!(declared(&headers), want, "{content_type} {encoding}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "application/json;[ -~\t]{0,60}") {
            let _outcome = declared(&headers(&[(CONTENT_TYPE, &value)]));
        }
    }
}
