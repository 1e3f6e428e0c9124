//! A plain GET request in the bytes of a connection.
//!
//! What this takes, every parser of HTTP/1.1 reads the same way: one whole request and nothing behind it, a target without
//! escapes, one header to a line, and no header that changes how a request is framed. All else is left to a general parser.

/// What changes how a request is read or answered.
const OF_OTHERS: [&[u8]; 7] =
    [b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection", b"trailer", b"te"];

/// A GET without a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// What of the path stands behind the prefix.
    pub subject: &'a str,
    /// What stands behind the question mark.
    pub query: &'a str,
    /// Names in lower case, and values without the spaces before them.
    pub headers: Vec<(String, &'a str)>,
}

/// The request in `data`, if it is a plain one for a path with this prefix.
pub fn read_get<'a>(data: &'a [u8], prefix: &str) -> Option<Get<'a>> {
    let text = std::str::from_utf8(data).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let target = lines.next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let subject = path.strip_prefix(prefix)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=?".contains(&byte);
    if subject.is_empty() || !target.bytes().all(is_plain) {
        return None;
    }
    let headers = lines.map(read_header).collect::<Option<Vec<_>>>()?;
    Some(Get { subject, query, headers })
}

fn read_header(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_start_matches(' ');
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let well =
        !name.is_empty() && name.bytes().all(is_of_names) && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !well || value.is_empty() || value.ends_with(' ') {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let is_other =
        OF_OTHERS.contains(&name.as_bytes()) || (name == "connection" && !value.eq_ignore_ascii_case("keep-alive"));
    (!is_other).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Option<Get<'_>> {
        read_get(data.as_bytes(), "/of/")
    }

    #[test]
    fn a_plain_request_is_read() {
        let found =
            read("GET /of/u-1?n=10&x=a,b HTTP/1.1\r\nHost:  a:80\r\nX-Of: b c\r\nconnection: Keep-Alive\r\n\r\n")
                .unwrap();
        assert_eq!((found.subject, found.query), ("u-1", "n=10&x=a,b"));
        let headers: Vec<_> = found.headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(headers, [("host", "a:80"), ("x-of", "b c"), ("connection", "Keep-Alive")]);
        assert_eq!(read("GET /of/u HTTP/1.1\r\n\r\n"), Some(Get { subject: "u", query: "", headers: Vec::new() }));
    }

    #[test]
    fn all_else_is_left_to_others() {
        for data in [
            "",
            "GET /of/u HTTP/1.1\r\n",
            "GET /of/u HTTP/1.0\r\n\r\n",
            "POST /of/u HTTP/1.1\r\n\r\n",
            "GET /of/ HTTP/1.1\r\n\r\n",
            "GET /to/u HTTP/1.1\r\n\r\n",
            "GET /of/%75 HTTP/1.1\r\n\r\n",
            "GET /of/u#a HTTP/1.1\r\n\r\n",
            "GET /of/u v HTTP/1.1\r\n\r\n",
            "GET /of/ü HTTP/1.1\r\n\r\n",
            "GET /of/u HTTP/1.1\r\n\r\nGET /of/u HTTP/1.1\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na: b\n\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na: b\r\n c\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na : b\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na: b \r\n\r\n",
            "GET /of/u HTTP/1.1\r\na: \tb\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na:\r\n\r\n",
            "GET /of/u HTTP/1.1\r\na\r\n\r\n",
            "GET /of/u HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET /of/u HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /of/u HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /of/u HTTP/1.1\r\nConnection: close\r\n\r\n",
            "GET /of/u HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        ] {
            assert_eq!(read(data), None, "{data:?}");
        }
    }
}
