//! How numbers in `scopes` are spelled: as JavaScript does, but integers of 64 bits stay exact.

use super::{NO_JSON, outcome, service};

const SPELLINGS: &[(&str, &str)] = &[
    ("0", "0"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("0.0", "0"),
    ("0e5", "0"),
    ("-0e-5", "0"),
    ("1", "1"),
    ("-1", "-1"),
    ("2.0", "2"),
    ("2e0", "2"),
    ("20E-1", "2"),
    ("-2.00", "-2"),
    ("1e3", "1000"),
    ("1E+3", "1000"),
    ("100e-2", "1"),
    ("0.5e1", "5"),
    ("9007199254740991", "9007199254740991"),
    ("9007199254740993", "9007199254740993"),
    ("9007199254740993.0", "9007199254740992"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("-9223372036854775809", "-9223372036854776000"),
    ("18446744073709551615", "18446744073709551615"),
    ("18446744073709551616", "18446744073709552000"),
    ("1e19", "10000000000000000000"),
    ("1e20", "100000000000000000000"),
    ("123456789012345680000", "123456789012345680000"),
    ("999999999999999900000", "999999999999999900000"),
    ("1e21", "1e+21"),
    ("-1e21", "-1e+21"),
    ("1234e20", "1.234e+23"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("1.5", "1.5"),
    ("-1.50", "-1.5"),
    ("0.1", "0.1"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("4.35", "4.35"),
    ("123456.789e-2", "1234.56789"),
    ("0.000001", "0.000001"),
    ("1e-6", "0.000001"),
    ("1e-7", "1e-7"),
    ("123e-20", "1.23e-18"),
    ("5e-324", "5e-324"),
    ("2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("1e-400", "0"),
    ("-1e-400", "0"),
    ("3.14159265358979323846", "3.141592653589793"),
];

#[test]
fn numbers_are_spelled_as_javascript_does() {
    let service = service();
    for (given, signed) in SPELLINGS {
        for (place, scopes, want) in [
            (
                "member",
                format!(r#"{{"n":{given}}}"#),
                format!(r#"{{"n":{signed}}}"#),
            ),
            (
                "list",
                format!(r#"{{"n":[{given},{given}]}}"#),
                format!(r#"{{"n":[{signed},{signed}]}}"#),
            ),
            (
                "deeper",
                format!(r#"{{"n":{{"n":{given}}}}}"#),
                format!(r#"{{"n":{{"n":{signed}}}}}"#),
            ),
        ] {
            let answer = service.post(format!(r#"{{"sender":"a","scopes":{scopes}}}"#));
            assert_eq!(
                answer.status,
                200,
                "{given} in a {place}: {}",
                answer.text()
            );
            let token = crate::harness::Token::split(answer.json()["token"].as_str().unwrap());
            assert_eq!(token.scopes(), want, "{given} in a {place}");
        }
    }
}

#[test]
fn a_number_that_overflows_is_refused() {
    let service = service();
    for number in [
        "1e309",
        "1e400",
        "-1e400",
        "1.8e308",
        &"9".repeat(400),
        "1e99999999999999999999",
        "123456789e400",
    ] {
        for scopes in [
            format!(r#"{{"n":{number}}}"#),
            format!(r#"{{"n":[[{number}]]}}"#),
        ] {
            let got = outcome(&service.post(format!(r#"{{"sender":"a","scopes":{scopes}}}"#)));
            assert_eq!(got, NO_JSON, "{scopes:.60}");
        }
    }
}

#[test]
fn what_is_no_json_number_is_refused() {
    let service = service();
    for number in [
        "01",
        "-01",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "1_0",
        "1e1.5",
        "- 1",
        "0b1",
        "1n",
    ] {
        let body = format!(r#"{{"sender":"a","scopes":{{"n":{number}}}}}"#);
        assert_eq!(outcome(&service.post(body)), NO_JSON, "{number}");
    }
}
