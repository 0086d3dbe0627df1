//! What is printed: lines and tables on stdout, messages on stderr.
//!
//! Names, labels and paths come from tokens and files, so no control character of theirs reaches
//! the terminal.

use serde::Serialize;
use std::io::{self, Write};

/// Prints one message on stderr: `keyward: WORD: TEXT`.
pub(crate) fn say(word: &str, text: &str) {
    // Nothing is left to tell it to where stderr is closed.
    let _ = writeln!(io::stderr().lock(), "keyward: {word}: {}", one_line(text));
}

/// The text without control characters, on one line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => line.push(' '),
            // Also those that turn the direction of what follows.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                line.extend(c.escape_default());
            }
            c => line.push(c),
        }
    }
    line
}

/// Prints text on stdout, as it is.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints one line on stdout, free of control characters.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    print(&format!("{}\n", one_line(text)))
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(print(&text)?)
}

/// Prints rows below a heading, in columns as wide as they need to be.
pub(crate) fn print_table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let rows: Vec<[String; N]> = std::iter::once(heading.map(ToOwned::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    print(&text)
}

/// Prints names and values below one another.
pub(crate) fn print_fields(fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().map(|(name, value)| format!("{name:width$}  {}\n", one_line(value)));
    print(&lines.collect::<String>())
}

/// `yes` or `no`.
pub(crate) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// `1 key`, `2 keys`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Prints secret text on stdout past the buffer of [`io::stdout`], which nobody wipes.
pub(crate) fn print_secret(text: &str) -> io::Result<()> {
    use std::os::fd::AsFd;
    let mut out = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_into_the_terminal() {
        assert_eq!(one_line("a\x1b[31m\r\nb\n"), "a\\u{1b}[31m\\r b");
        assert_eq!(one_line("Zürich\u{202e}"), "Zürich\\u{202e}");
    }
}
