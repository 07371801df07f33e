//! JSON or HTML: what `?format=` says, else what the Accept header prefers (RFC 9110, 12.5.1). Pure.
//!
//! Machines often send `*/*` or nothing, and browsers name text/html, so JSON is the answer unless HTML is preferred.

use hyper::header::{ACCEPT, HeaderMap};

use crate::web::reply::Refusal;

/// How the status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Html,
}

impl Form {
    pub(super) fn wanted(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Refusal> {
        let asked = query
            .unwrap_or_default()
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("format="));
        match asked {
            Some("json") => Ok(Self::Json),
            Some("html") => Ok(Self::Html),
            Some(_) => Err(Refusal::UnknownFormat),
            None => Ok(Self::preferred(headers)),
        }
    }

    fn preferred(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(ACCEPT).iter();
        let lines: Vec<&str> = accept.filter_map(|line| line.to_str().ok()).collect();
        let ranges: Vec<Range<'_>> = lines
            .iter()
            .flat_map(|line| line.split(','))
            .filter_map(Range::read)
            .collect();
        if weight(&ranges, "text", "html") > weight(&ranges, "application", "json") {
            Self::Html
        } else {
            Self::Json
        }
    }
}

/// One member of the header: `text/*;q=0.5`.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Of a thousand.
    weight: u16,
}

impl<'a> Range<'a> {
    fn read(member: &'a str) -> Option<Self> {
        let mut parts = member.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some(Self {
            kind,
            subtype,
            weight: weight.map_or(Some(1000), thousandths)?,
        })
    }

    /// How closely it names a media type; None: not at all.
    fn closeness(&self, kind: &str, subtype: &str) -> Option<u8> {
        let same_kind = self.kind.eq_ignore_ascii_case(kind);
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (_, "*") if same_kind => Some(1),
            (_, named) if same_kind && named.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

/// The weight of the range that names a type most closely.
fn weight(ranges: &[Range<'_>], kind: &str, subtype: &str) -> u16 {
    ranges
        .iter()
        .filter_map(|range| Some((range.closeness(kind, subtype)?, range.weight)))
        .max()
        .map_or(0, |(_, weight)| weight)
}

/// `0.8` is 800; RFC 9110 allows three digits.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn html_is_for_those_who_prefer_it() {
        for (name, accept, want) in [
            ("nothing", vec![], Form::Json),
            ("curl", vec!["*/*"], Form::Json),
            (
                "a browser",
                vec!["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"],
                Form::Html,
            ),
            (
                "Prometheus",
                vec![
                    "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                Form::Json,
            ),
            (
                "both alike",
                vec!["text/html, application/json"],
                Form::Json,
            ),
            (
                "JSON less",
                vec!["application/json;q=0.5, text/html"],
                Form::Html,
            ),
            (
                "JSON more",
                vec!["text/html;q=0.4, application/json;q=0.45"],
                Form::Json,
            ),
            ("any text", vec!["text/*"], Form::Html),
            ("HTML refused", vec!["text/html;q=0, */*"], Form::Json),
            (
                "in two lines",
                vec!["application/json;q=0.1", "text/html;level=1;q=0.2"],
                Form::Html,
            ),
            ("in capitals", vec!["TEXT/HTML"], Form::Html),
            ("an unreadable weight", vec!["text/html;q=2"], Form::Json),
            ("no media type", vec!["html", ";;,,"], Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(Form::wanted(None, &headers), Ok(want), "{name}");
        }
    }

    #[test]
    fn the_query_outweighs_the_header() {
        let mut browser = HeaderMap::new();
        browser.insert(ACCEPT, HeaderValue::from_static("text/html"));
        for (query, want) in [
            ("format=json", Ok(Form::Json)),
            ("x=1&format=html", Ok(Form::Html)),
            ("formats=json", Ok(Form::Html)),
            ("", Ok(Form::Html)),
            ("format=", Err(Refusal::UnknownFormat)),
            ("format=xml", Err(Refusal::UnknownFormat)),
        ] {
            assert_eq!(Form::wanted(Some(query), &browser), want, "{query}");
        }
    }
}
