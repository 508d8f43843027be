//! Numbers as tar headers and PAX records have them.

use skiff_tree::Mtime;

/// The number in a header's field: octal digits, or binary where the first bit says so (star's and GNU's base-256). None for
/// anything else; a blank field is 0.
pub(crate) fn field(field: &[u8]) -> Option<i128> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => Some(base_256(field)),
        _ => octal(field),
    }
}

/// A decimal number without sign, as PAX records have sizes and owners.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    // `parse` alone would take a sign too.
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// A time in seconds since 1970, with or without a fraction, negative before. What is finer than nanoseconds is cut off,
/// towards the past, as GNU tar does.
pub(crate) fn time(text: &[u8]) -> Option<Mtime> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (kept, cut) = fraction.split_at(fraction.len().min(9));
    let nanoseconds: i128 = format!("{kept:0<9}").parse().ok()?;
    let magnitude = whole.parse::<i128>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?;
    let beyond = i128::from(negative && cut.bytes().any(|digit| digit != b'0'));
    let total = if negative { -magnitude - beyond } else { magnitude };
    let seconds = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
    Mtime::new(seconds, u32::try_from(total.rem_euclid(1_000_000_000)).ok()?)
}

/// Two's complement, most significant byte first, but for the first bit, which only marks it. Fields have at most 12 bytes.
fn base_256(field: &[u8]) -> i128 {
    let sign: i128 = if field[0] & 0x40 != 0 { -1 } else { 0 };
    let first = (sign << 6) | i128::from(field[0] & 0x3f);
    field[1..].iter().fold(first, |number, &byte| number << 8 | i128::from(byte))
}

fn octal(field: &[u8]) -> Option<i128> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(is_blank) {
        return None;
    }
    digits[..end].iter().try_fold(0, |number: i128, &digit| {
        matches!(digit, b'0'..=b'7').then(|| number << 3 | i128::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b""), Some(0));
        assert_eq!(field(b"0008"), None);
        assert_eq!(field(b"12\x003"), None);
        assert_eq!(field(b"-1"), None);
        assert_eq!(field(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(&[&[0xff; 11][..], &[0xfb]].concat()), Some(-5));
        assert_eq!(field(&[&[0x80][..], &[0xff; 11]].concat()), Some((1 << 88) - 1));
    }

    #[test]
    fn times() {
        let mtime = |seconds, nanoseconds| Mtime::new(seconds, nanoseconds);
        assert_eq!(time(b"1350244992.023960108"), mtime(1_350_244_992, 23_960_108));
        assert_eq!(time(b"5"), mtime(5, 0));
        assert_eq!(time(b"5."), mtime(5, 0));
        assert_eq!(time(b"5.1"), mtime(5, 100_000_000));
        assert_eq!(time(b"5.1234567899"), mtime(5, 123_456_789));
        assert_eq!(time(b"-1.5"), mtime(-2, 500_000_000));
        assert_eq!(time(b"-0.5"), mtime(-1, 500_000_000));
        assert_eq!(time(b"-0.0000000001"), mtime(-1, 999_999_999));
        assert_eq!(time(b"-9223372036854775808"), mtime(i64::MIN, 0));
        for bad in ["", "-", ".5", "+5", "1e5", "5.-1", "--5", "9223372036854775808", " 5", "5 "] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(time(&[b'9'; 100]), None);
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+5", "-5", "18446744073709551616", "5 ", "0x5"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
