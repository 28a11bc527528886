//! Server-sent events, as much of them as chat completions use: the data of each event.

/// The longest event that is read.
const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// Puts the bytes of a response together to events, however they were split on the way.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
}

impl Events {
    /// Takes more bytes and hands the data of every event that they complete to `event`.
    ///
    /// # Errors
    /// What `event` returns, or an event that is too long or not UTF-8.
    pub(super) fn feed<E: From<String>>(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let held = self.line.len() + self.data.as_ref().map_or(0, Vec::len);
            if held + part.len() > MAX_EVENT_BYTES {
                return Err(format!("an event of more than {MAX_EVENT_BYTES} bytes").into());
            }
            self.line.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                break;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    let data =
                        String::from_utf8(data).map_err(|_| "an event that is not UTF-8".to_owned())?;
                    event(&data)?;
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match &mut self.data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => self.data = Some(value.to_vec()),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    const STREAM: &str = ": comment\r\ndata: {\"a\":\"ä\"}\r\n\r\nevent: x\ndata:one\ndata: two\n\n\n\ndata: [DONE]\n\ndata: cut";

    #[test]
    fn events_are_the_same_however_the_bytes_are_split() {
        for size in 1..STREAM.len() {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for bytes in STREAM.as_bytes().chunks(size) {
                let took = events.feed(bytes, |data| {
                    seen.push(data.to_owned());
                    Ok::<_, String>(())
                });
                took.unwrap();
            }
            assert_eq!(seen, ["{\"a\":\"ä\"}", "one\ntwo", "[DONE]"], "split by {size}");
        }
    }

    #[test]
    fn an_event_that_is_not_utf8_is_an_error() {
        let error = Events::default().feed(b"data: \xff\n\n", |_| Ok::<_, String>(())).unwrap_err();
        assert!(error.contains("UTF-8"), "{error}");
    }
}
