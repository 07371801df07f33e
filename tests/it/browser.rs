//! The status page in a real browser: on a wide screen and on phones, light and dark. What is asked of it is measured by a
//! script of the driver; the page itself has none.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::service::PATIENCE;
use crate::harness::{Browser, KeyPair, Launch, Scheme, Service, SoftHsm, until};

/// A desktop, a tablet, a phone, and the smallest phone.
const WIDTHS: [u32; 4] = [1200, 768, 390, 320];
const HEIGHT: u32 = 1000;

/// A key of ours as it would have been made and labelled then: (made, signs from), in minutes from now.
fn make_key(hsm: &SoftHsm, made: i64, signs_from: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let instant = time::OffsetDateTime::from_unix_timestamp(now + signs_from * 60).unwrap();
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let millis = (now + made * 60) * 1000;
    // UUIDv7 (RFC 9562, 5.7).
    let id = format!("{millis:012x}70008000{:012x}", signs_from.unsigned_abs());
    hsm.make(&KeyPair {
        label: &format!("macp-jwt-{}", instant.format(form).unwrap()),
        id: &id,
        ..KeyPair::EC
    });
}

/// One key retired, one that signs, one that comes next.
fn in_the_middle_of_a_rotation(hsm: &SoftHsm) {
    make_key(hsm, -27 * 60, -26 * 60);
    make_key(hsm, -60, -40);
    make_key(hsm, -5, 90);
}

fn page_of(service: &Service) -> String {
    format!("http://127.0.0.1:{}/status", service.admin_port())
}

fn load(browser: &Browser, service: &Service, width: u32, scheme: Scheme) {
    browser.resize(width, HEIGHT);
    browser.prefer(scheme);
    browser.load(&page_of(service));
}

/// Everything that holds of every page on every screen.
fn must_be_readable(browser: &Browser, service: &Service) {
    for width in WIDTHS {
        for scheme in [Scheme::Light, Scheme::Dark] {
            load(browser, service, width, scheme);
            let found = browser.run(MEASURE);
            assert_eq!(found["width"], width, "the page is as wide as the screen");
            let dark = scheme == Scheme::Dark;
            assert_eq!(found["dark"], dark, "the page follows the scheme");
            for fault in ["overflowing", "faint", "colliding", "fetched"] {
                let list = found[fault].as_array().unwrap();
                assert!(
                    list.is_empty(),
                    "{fault} at {width} px, {scheme:?}: {list:#?}"
                );
            }
            assert!(
                found["texts"].as_u64().unwrap() > 20,
                "little was measured: {found}"
            );
        }
    }
    assert_eq!(browser.log(), Vec::<Value>::new(), "the browser complains");
}

/// Lists what is wrong. Contrast as WCAG 2 has it.
const MEASURE: &str = r#"
const rgb = text => { const m = text.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
const light = ([r, g, b]) => { const c = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
const behind = element => { for (let e = element; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c; }
  return [255, 255, 255, 1]; };
const name = e => e.tagName + '.' + (e.getAttribute('class') || '') + ' "' + e.textContent.trim().slice(0, 50) + '"';
const seen = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
const root = document.documentElement, overflowing = [], faint = [], colliding = [];
let texts = 0;
if (root.scrollWidth > root.clientWidth) overflowing.push('the page: ' + root.scrollWidth + ' > ' + root.clientWidth);
for (const e of document.body.querySelectorAll('*')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!seen(e) || !own || e.closest('thead') && getComputedStyle(e.closest('thead')).position === 'absolute' || e.tagName === 'title') continue;
  texts += 1;
  const style = getComputedStyle(e), svg = e.ownerSVGElement;
  const word = svg && e.classList.contains('word') ? e.parentElement.querySelector('rect.' + e.classList[1]) : null;
  const ground = word ? rgb(getComputedStyle(word).fill) : behind(svg || e);
  const ratio = contrast(rgb(svg ? style.fill : style.color), ground);
  if (ratio < 4.5) faint.push(name(e) + ' ' + ratio.toFixed(2));
  const box = e.getBoundingClientRect();
  const within = (word || svg || e.parentElement).getBoundingClientRect();
  if (box.left < within.left - 1 || box.right > within.right + 1 || !svg && e.scrollWidth > e.clientWidth + 1 && style.display !== 'inline')
    overflowing.push(name(e) + ' ' + [box.left, box.right, within.left, within.right].map(Math.round));
}
const labels = [...document.querySelectorAll('.timeline text')].filter(seen).map(e => [e, e.getBoundingClientRect()]);
for (const [a, x] of labels) for (const [b, y] of labels)
  if (a !== b && !a.contains(b) && x.left < y.right && y.left < x.right && x.top + 3 < y.bottom - 3 && y.top + 3 < x.bottom - 3) colliding.push(name(a) + ' ' + name(b));
for (const line of document.querySelectorAll('line.now')) for (const [e, x] of labels) {
  const at = line.getBoundingClientRect();
  if (e.classList.contains('word') && at.top < x.bottom && x.top < at.bottom && x.left < at.left && at.left < x.right) colliding.push(name(e) + ' and now'); }
return { width: root.clientWidth, texts, overflowing, faint, colliding, dark: light(behind(document.body)) < 0.2,
  fetched: performance.getEntriesByType('resource').map(e => e.name) };
"#;

#[test]
fn the_page_shows_a_rotation_on_every_screen() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let hsm = SoftHsm::new();
    in_the_middle_of_a_rotation(&hsm);
    let service = hsm.launch().with_admin().start();
    service.wait_ready();
    assert_eq!(service.jwks().keys.len(), 3);

    must_be_readable(&browser, &service);

    load(&browser, &service, 1200, Scheme::Light);
    let rows = browser.run(
        "return [...document.querySelectorAll('.timeline .row')].map(row => [row.querySelector('.name').textContent,
            ...[...row.querySelectorAll('.span')].map(span => { const box = span.getBoundingClientRect();
                return [span.textContent.split(' ')[0], Math.round(box.width), Math.round(box.height)]; })]);",
    );
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, (says, phases)) in rows.iter().zip([
        ("comes next", vec!["PREPARED", "ACTIVE"]),
        (
            "signs now",
            vec!["PREPARED", "ACTIVE", "RETIRED", "EXPIRED"],
        ),
        ("retired", vec!["ACTIVE", "RETIRED", "EXPIRED"]),
    ]) {
        assert!(row[0].as_str().unwrap().contains(says), "{row}");
        let spans = &row.as_array().unwrap()[1..];
        let named: Vec<&str> = spans.iter().map(|span| span[0].as_str().unwrap()).collect();
        assert_eq!(named, phases, "{row}");
        assert!(
            spans
                .iter()
                .all(|span| span[1].as_u64() > Some(2) && span[2].as_u64() > Some(15)),
            "{row}"
        );
    }
    for (name, width, scheme) in [
        ("status", 1000, Scheme::Light),
        ("status-dark", 1000, Scheme::Dark),
        ("status-phone", 390, Scheme::Light),
    ] {
        load(&browser, &service, width, scheme);
        keep_picture(&browser, name, width);
    }
}

#[test]
fn the_page_says_first_what_is_wrong_and_foreign_names_stay_text() {
    const LABEL: &str = "<b onclick=alert(1)>\"'&amp;</b>";
    let Some(browser) = Browser::open() else {
        return;
    };
    let hsm = SoftHsm::without_token();
    hsm.make_token(LABEL);
    let service = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_TOKEN_LABEL", LABEL)
        .with_admin()
        .start();

    must_be_readable(&browser, &service);

    load(&browser, &service, 390, Scheme::Light);
    keep_picture(&browser, "status-trouble", 390);
    let text = browser.run("return document.querySelector('h1').textContent");
    assert!(text.as_str().unwrap().contains("Does not sign"), "{text}");
    let first = browser.run("return document.querySelector('main section').textContent");
    assert!(first.as_str().unwrap().contains(LABEL), "{first}");
    assert_eq!(
        browser.run("return document.querySelectorAll('[onclick]').length"),
        0
    );
}

#[test]
fn the_page_renews_itself() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let service = Launch::ephemeral("ES256").with_admin().start();
    load(&browser, &service, 1200, Scheme::Light);
    browser.run("window.before = true");

    until("a new load", PATIENCE + Duration::from_secs(10), || {
        (browser.run("return window.before === undefined") == true).then_some(())
    });
}

/// Beside the build; docs/images/status.png is such a picture.
fn keep_picture(browser: &Browser, name: &str, width: u32) {
    let height = browser.run("return document.documentElement.scrollHeight");
    browser.resize(width, height.as_u64().unwrap().try_into().unwrap());
    let picture = browser.picture();
    assert!(
        picture.starts_with(b"\x89PNG") && picture.len() > 10_000,
        "no picture"
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
    fs::write(file, picture).unwrap();
}
