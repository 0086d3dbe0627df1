//! The text of a policy file: its statements, and lines and columns of places in it.
//!
//! Cedar says at which offset of what it was given something is wrong, and not where policies that are
//! right stand. This finds both.

use super::Policies;

/// One statement of a file, from its first word to its semicolon.
pub(super) struct Statement<'t> {
    pub(super) offset: usize,
    pub(super) text: &'t str,
    /// Where the word `has` stands, if it does.
    pub(super) has: Option<usize>,
}

/// Deeper brackets than anybody writes.
const MAX_DEPTH: usize = 32;
/// More operators than anybody writes. Cedar's parser and checker recurse into brackets and chains
/// alike, without a look at how much of the stack is left; [`STACK`](super::load::STACK) is enough for these.
const MAX_OPERATORS: usize = 512;

/// The statements of a text, by the rules that Cedar has for strings, comments and semicolons; what
/// follows the last semicolon, if anything but comments does, is one as well. Fails with an offset and
/// what is wrong there.
pub(super) fn statements(text: &str) -> Result<Vec<Statement<'_>>, (usize, String)> {
    let mut statements = Vec::new();
    let mut start = None;
    let mut has = None;
    let mut depth = 0_usize;
    let mut operators = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = match c {
            _ if c.is_whitespace() || rest.starts_with("//") => {
                at += if c.is_whitespace() { c.len_utf8() } else { comment_len(rest) };
                continue;
            }
            '"' => string_len(rest),
            'a'..='z' | 'A'..='Z' | '_' => word_len(rest),
            _ if rest.starts_with("&&") || rest.starts_with("||") => 2,
            _ => c.len_utf8(),
        };
        let begin = *start.get_or_insert(at);
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            'h' if &rest[..len] == "has" => has = has.or(Some(at)),
            _ => {}
        }
        if "&|+-*!.([{".contains(c) || &rest[..len] == "if" {
            operators += 1;
        }
        if depth > MAX_DEPTH {
            return Err((at, format!("brackets are nested more than {MAX_DEPTH} deep")));
        }
        if operators > MAX_OPERATORS {
            return Err((at, format!("a policy has more than {MAX_OPERATORS} operators and brackets")));
        }
        at += len;
        if c == ';' {
            statements.push(Statement { offset: begin, text: &text[begin..at], has });
            (start, has, depth, operators) = (None, None, 0, 0);
        }
    }
    if let Some(begin) = start {
        statements.push(Statement { offset: begin, text: &text[begin..], has });
    }
    match statements.iter().find(|statement| statement.text.len() > Policies::MAX_POLICY_LEN) {
        Some(long) => Err((long.offset, format!("a policy is longer than {} KiB", Policies::MAX_POLICY_LEN >> 10))),
        None => Ok(statements),
    }
}

/// The length of the comment that `text` begins with, without the end of its line.
fn comment_len(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

/// The length of the string that `text` begins with, both quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Line and column of a place in a text, both counted from 1; columns are characters.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_are_no_text() {
        let text = "// a; comment\n@id(\"a;\\\"b\") permit(x);\u{a0}forbid(y) // ;\r when { has };\n// end";
        let found = statements(text).unwrap();
        let texts: Vec<_> = found.iter().map(|statement| statement.text).collect();
        assert_eq!(texts, ["@id(\"a;\\\"b\") permit(x);", "forbid(y) // ;\r when { has };"]);
        assert_eq!(found[0].has, None);
        assert_eq!(found[1].has, text.find("has"));
        assert_eq!(place(text, found[1].offset), (2, 25));
    }

    #[test]
    fn what_has_no_semicolon_is_a_statement_too() {
        for text in ["permit", "permit(\"", "permit ;forbid // x", "permit; f // x\n"] {
            let last = statements(text).unwrap().pop().unwrap();
            assert!(!last.text.is_empty() && !last.text.starts_with(' '), "{text}");
        }
        assert!(statements(" // nothing\n").unwrap().is_empty());
    }

    #[test]
    fn limits_are_told_with_their_place() {
        let deep = format!("permit; permit{}", "(".repeat(MAX_DEPTH + 1));
        assert_eq!(statements(&deep).err().unwrap().0, deep.len() - 1);
        let chain = format!("permit;{}true", "true && ".repeat(MAX_OPERATORS + 1));
        assert_eq!(statements(&chain).err().unwrap().0, chain.len() - "&& true".len());
        assert!(statements(&format!("{};", chain.replacen("true && ", "", 1)).repeat(2)).is_ok());
        let long = format!("permit; {}", "x".repeat(Policies::MAX_POLICY_LEN + 1));
        assert_eq!(statements(&long).err().unwrap().0, 8);
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(place("a\né;x", 4), (2, 2));
        assert_eq!(place("a\n", 9), (2, 1));
        assert_eq!(place("é", 1), (1, 1));
    }
}
