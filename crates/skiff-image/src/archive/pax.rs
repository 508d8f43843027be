//! The records of PAX extended headers: `LENGTH KEY=VALUE\n`, where the length counts the whole record.
//!
//! The tar crate splits records at newlines, which values of extended attributes may contain, and takes a size it cannot
//! read for none; hence a parser of our own.

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Goes through records; an error is what is wrong with the first that is not one.
pub(crate) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn split_first(bytes: &'a [u8]) -> Result<(Record<'a>, &'a [u8]), &'static str> {
        let space =
            bytes.iter().take(21).position(|&byte| byte == b' ').ok_or("a PAX record has no length")?;
        let length =
            super::number::decimal(&bytes[..space]).ok_or("a PAX record's length is not a number")?;
        let length = usize::try_from(length).ok().filter(|&length| length <= bytes.len());
        let length = length.ok_or("a PAX record is longer than its header")?;
        let (record, rest) = bytes.split_at(length);
        let body = record.get(space + 1..).and_then(|body| body.strip_suffix(b"\n"));
        let body = body.ok_or("a PAX record does not end where its length says")?;
        let equals = body.iter().position(|&byte| byte == b'=').ok_or("a PAX record has no \"=\"")?;
        if equals == 0 {
            return Err("a PAX record has no key");
        }
        Ok(((&body[..equals], &body[equals + 1..]), rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some(match Self::split_first(self.0) {
            Ok((record, rest)) => {
                self.0 = rest;
                Ok(record)
            }
            Err(what) => {
                self.0 = &[];
                Err(what)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_and_equal_signs_belong_to_values() {
        let bytes = b"16 a=\nb=\n=\0\xff...\n6 c=d\n";
        let records: Result<Vec<_>, _> = Records::new(bytes).collect();
        assert_eq!(records, Ok(vec![(&b"a"[..], &b"\nb=\n=\0\xff..."[..]), (b"c", b"d")]));
        assert_eq!(Records::new(b"").count(), 0);
        assert_eq!(Records::new(b"5 a=\n").next(), Some(Ok((&b"a"[..], &b""[..]))));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bad in [
            "6 a=bb\n",
            "7 a=b\n",
            "5 a=b\n",
            "6 ab\nc\n",
            "4 =\n",
            "0 a=b\n",
            "1 a=b\n",
            "2 a=b\n",
            "-6 a=b\n",
            "+6 a=b\n",
            " 6 a=b\n",
            "a=b\n",
            "6",
            "6 ",
            "99999999999999999999999 a=b\n",
            "18446744073709551615 a=b\n",
            "\n",
            "\0\0",
        ] {
            let last = Records::new(bad.as_bytes()).last();
            assert!(matches!(last, Some(Err(_))), "{bad:?}: {last:?}");
        }
    }
}
