//! What a child writes, line by line.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex};

/// The lines of one of a child's streams, growing while it lives.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Reads a stream to its end on a thread of its own.
    pub(crate) fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.0.lock().unwrap().push(text);
                line.clear();
            }
        });
        lines
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}
