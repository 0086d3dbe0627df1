//! A share on the screen, for one custodian alone.

use super::{Terminal, nobody};
use keyward::Result;
use keyward::ceremony::Handout;
use zeroize::Zeroizing;

/// How many groups stand on a line.
const ON_A_LINE: usize = 4;
/// More than the text of any share takes on the screen, so that it never moves to a larger place and leaves a copy.
const ROOM: usize = 4096;

impl Terminal {
    pub(super) fn hand_share_out(&self, handout: &Handout<'_>) -> Result<()> {
        let Handout { custodian, token, share, shares, .. } = handout;
        let which = format!("share {} of {shares} of the PIN of '{token}'", share.index());
        self.write(2, &format!("{custodian} comes to the screen. EVERYBODY ELSE LOOKS AWAY, and no camera sees it."))?;
        let ready = format!("{custodian}, press Enter when you alone see the screen: ");
        self.tty.ask(&ready)?.ok_or_else(nobody)?;

        let mut text = Zeroizing::new(String::with_capacity(ROOM));
        let mut lines = vec![format!("{custodian}: {which}; {} of them open it.", share.threshold())];
        if handout.rehearsal {
            lines.push("THIS IS A REHEARSAL: it opens nothing that is worth anything.".into());
        }
        lines.push("Write down what it is of, and all groups. The number before a group is not part of it.".into());
        for line in lines {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
        push_groups(&mut text, &share.to_text());
        let shown = self.tty.show_alone(&text)?;
        drop(text);
        let written = self.tty.ask("  Press Enter once it is written down. It is not shown again: ")?;
        drop(shown);
        written.ok_or_else(nobody)?;
        self.write(2, &format!("{custodian} has written it down, and it is gone from the screen."))
    }
}

/// The groups of a share, each with its number.
fn push_groups(text: &mut String, share: &str) {
    for (at, group) in share.split('-').enumerate() {
        text.push_str(if at % ON_A_LINE == 0 { "\n\n    " } else { "      " });
        // The number alone: what `format!` makes nobody wipes.
        text.push_str(&format!("{:>2}: ", at + 1));
        text.push_str(group);
    }
    text.push_str("\n\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbered_so_that_a_wrong_one_is_found() {
        let mut text = String::with_capacity(ROOM);
        push_groups(&mut text, "AAAA-BBBB-CCCC-DDDD-EEEE");
        assert_eq!(text, "\n\n     1: AAAA       2: BBBB       3: CCCC       4: DDDD\n\n     5: EEEE\n\n\n");
        // The longest: a PIN of 32.
        let mut text = String::with_capacity(ROOM);
        push_groups(&mut text, &"0123-".repeat(16));
        assert_eq!(text.capacity(), ROOM);
    }
}
