//! JSON, written as `msgspec` writes it.

/// Appends a text.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory can be written to");
}

/// Appends a number by the fewest digits that tell it from all others; null where it is not finite.
pub fn push_number(out: &mut Vec<u8>, number: f64) {
    let start = out.len();
    serde_json::to_writer(&mut *out, &number).expect("memory can be written to");
    // 1e+16 there is 1e16 here.
    if let Some(at) = out[start..].iter().position(|&byte| byte == b'+') {
        out.remove(start + at);
    }
}

/// Appends a whole number.
pub fn push_count(out: &mut Vec<u8>, count: usize) {
    serde_json::to_writer(out, &count).expect("memory can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> String {
        let mut out = Vec::new();
        push_number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_change_their_form_where_they_do_in_msgspec() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (1.5e16, "1.5e16"),
            (0.001_234, "0.001234"),
            (1.5e-5, "0.000015"),
            (1e-6, "1e-6"),
            (-1.5e-9, "-1.5e-9"),
            (f64::from(23.716_605_f32), "23.716604232788086"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn texts_have_what_json_cannot_hold_escaped() {
        let mut out = Vec::new();
        push_text(&mut out, "a\"\\/\u{1f}\n\u{7f}é\u{2028}");
        assert_eq!(out, "\"a\\\"\\\\/\\u001f\\n\u{7f}é\u{2028}\"".as_bytes());
        push_count(&mut out, 10);
        assert!(out.ends_with(b"10"));
    }
}
