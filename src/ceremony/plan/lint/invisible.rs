//! What stands in a plan and is not seen on paper: who reads the plan aloud reads something else than the program.

use super::Finding;

/// Lines with a character that has no width or turns the direction of text, comments included.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(c) = line.chars().find(|c| is_invisible(*c)) {
            let message = format!("a character that is not seen, U+{:04X}, stands there", u32::from(c));
            findings.push(Finding { place: format!("line {}", at + 1), message });
        }
    }
    findings
}

/// Whether a character has no width, turns the direction of text, or is a blank that is none: what Unicode calls format
/// characters, default ignorable or fillers.
pub(in crate::ceremony) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_are_visible() {
        assert!("Zoë Ørsted 李明 Ольга עדה مها ñ–… €".chars().all(|c| !is_invisible(c)));
        assert!("\u{202e}\u{2066}\u{200b}\u{200d}\u{feff}\u{ad}\u{e0041}".chars().all(is_invisible));
    }
}
